"""The daemon and vfwarden-spawn as processes of a test, and what a test does with processes."""

import ctypes
import functools
import os
import re
import select
import signal
import socket
import subprocess
import sys

from gi.repository import GLib

from vfwarden_bus import DEADLINE, wait_until

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)

PRELOAD = "libumockdev-preload.so.0"
SANITIZER_REPORT = re.compile(
    r"(AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:|"
    r"umockdev.*(overflow|abort))")


@functools.lru_cache(None)
def sanitizer_library(binary):
    """The address sanitizer's run-time if `binary` needs one. It must come first of all libraries,
    so it has to be preloaded before umockdev's."""
    listing = subprocess.run(["ldd", binary], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             text=True, check=False).stdout
    match = re.search(r"lib(?:clang_rt\.)?asan\S* => (\S+)", listing)
    return match.group(1) if match else None


def process(pid):
    """Name and parent of a process, in one read, or None: others come and go meanwhile."""
    try:
        # Not `stat`: that waits for a process in the middle of execve(), of which a test has one.
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields["Name"], int(fields["PPid"])


def blocks(pid, number):
    """Whether a process has a signal blocked; true also if it has gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            mask = next(line for line in file if line.startswith("SigBlk:"))
    except (FileNotFoundError, ProcessLookupError):
        return True
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


def descriptors(pid):
    """What a process has open, by number; what it closes meanwhile is left out."""
    directory, found = f"/proc/{pid}/fd", {}
    for name in os.listdir(directory):
        try:
            found[int(name)] = os.readlink(f"{directory}/{name}")
        except FileNotFoundError:
            pass
    return found


def read_text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return " ".join(file.read().split())


def children(parent, name):
    """Process ids of a process's children of that name."""
    return [int(pid) for pid in os.listdir("/proc")
            if pid.isdigit() and process(pid) == (name, parent)]


def adopt_orphans(test):
    """For the rest of the test: processes whose parent ends become the test's children, so that they stay in /proc until
    the test waits for them."""
    def set_subreaper(on):
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, on, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")

    set_subreaper(1)
    test.addCleanup(set_subreaper, 0)


def wait_for_end(pidfd, deadline=DEADLINE, what="the process's end"):
    """Waits for the end of the process behind a pidfd; the main loop runs meanwhile."""
    ended = []

    def on_end(*_):
        ended.append(True)
        return GLib.SOURCE_CONTINUE

    source = GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, pidfd, GLib.IOCondition.IN, on_end)
    try:
        wait_until(lambda: ended, deadline, what)
    finally:
        GLib.source_remove(source)


def kill_and_wait(pid):
    """Returns when it has ended; a process that was killed still takes what is sent to it for a moment."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return      # by itself
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        wait_for_end(pidfd)
    finally:
        os.close(pidfd)


class Faults:
    """What fault.c reads: which calls of the daemon fail, on which paths, with which errno."""

    def __init__(self, path):
        self.path = path

    def set(self, *faults):
        """Each is a triple of call, errno and pattern. They take effect all at once."""
        with open(self.path + ".new", "w", encoding="ascii") as file:
            file.writelines(f"{call} {number} {pattern}\n" for call, number, pattern in faults)
        os.rename(self.path + ".new", self.path)

    def clear(self):
        os.unlink(self.path)


class NotifySocket:
    """Where sd_notify() of the daemon goes; `messages` are dicts in order. Keeps descriptors as systemd does
    (FDSTORE=1), in `store`: pairs of name and descriptor, the newest first. Closes what exceeds `max`, and tells nobody."""

    def __init__(self, path):
        self.path = path
        self.messages = []
        self.store = []
        self.max = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(path)
        self._source = GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, self._socket.fileno(),
                                             GLib.IOCondition.IN, self._on_ready)

    def _on_ready(self, *_):
        try:
            data, ancillary, _flags, _address = socket.recv_fds(self._socket, 65536, 16)
        except BlockingIOError:
            return GLib.SOURCE_CONTINUE
        message = dict(line.split("=", 1) for line in data.decode().splitlines() if "=" in line)
        self.messages.append(message)
        for fd in ancillary:
            if "FDSTORE" in message and (self.max is None or len(self.store) < self.max):
                self.store.insert(0, (message.get("FDNAME", "stored"), fd))
            else:
                os.close(fd)
        if "FDSTOREREMOVE" in message:
            self._forget(lambda name, _fd: name == message["FDNAME"])
        return GLib.SOURCE_CONTINUE

    def _forget(self, match):
        for pair in [pair for pair in self.store if match(*pair)]:
            self.store.remove(pair)
            os.close(pair[1])

    def forget_hung_up(self):
        """What systemd does at once with a stored pipe that nobody has the other end of."""
        def hung_up(_name, fd):
            poll = select.poll()
            poll.register(fd, 0)
            return bool(poll.poll(0))
        self._forget(hung_up)

    def having(self, key, mark=0):
        return [m for m in self.messages[mark:] if key in m]

    def close(self):
        self._forget(lambda *_: True)
        GLib.source_remove(self._source)
        self._socket.close()


# Takes over descriptors as systemd hands them over: from 3 on, named in the environment.
_WITH_DESCRIPTORS = """
import fcntl, os, sys
preload, names, numbers, *argv = sys.argv[1:]
high = [fcntl.fcntl(int(n), fcntl.F_DUPFD, 100) for n in numbers.split(",")]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.environ.update(LD_PRELOAD=preload, LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)),
                  LISTEN_FDNAMES=names)
os.execvp(argv[0], argv)
"""


class Daemon:
    """One run of vfwardend."""

    def __init__(self, argv, environment, stored=()):
        self.status = None
        if stored:
            environment = dict(environment)
            argv = [sys.executable, "-c", _WITH_DESCRIPTORS, environment.pop("LD_PRELOAD", ""),
                    ":".join(name for name, _ in stored), ",".join(str(fd) for _, fd in stored), *argv]
        self._buffer = b""
        read, write = os.pipe()
        os.set_blocking(read, False)
        self._process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL,
                                         stdout=write, stderr=write,
                                         pass_fds=[fd for _, fd in stored])
        os.close(write)
        self.pid = self._process.pid
        self._read = read
        self._reader = GLib.unix_fd_add_full(
            GLib.PRIORITY_DEFAULT, read, GLib.IOCondition.IN | GLib.IOCondition.HUP, self._on_output)
        self._pidfd = os.pidfd_open(self.pid)
        self._watch = GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, self._pidfd,
                                            GLib.IOCondition.IN, self._on_exit)

    def _take_output(self):
        """What is in the pipe: all that it said before whatever else is known of it. Returns whether more may come."""
        try:
            while data := os.read(self._read, 65536):
                self._buffer += data
        except BlockingIOError:
            return True
        return False

    def _output(self):
        if self._reader:
            self._take_output()
        return self._buffer

    def _on_output(self, *_):
        if self._take_output():
            return GLib.SOURCE_CONTINUE
        self._reader = 0
        return GLib.SOURCE_REMOVE

    def _on_exit(self, *_):
        self.status = self._process.wait()
        self._watch = 0
        return GLib.SOURCE_REMOVE

    @property
    def running(self):
        return self.status is None

    @property
    def log(self):
        """All it said so far, as text."""
        return self._output().decode(errors="replace")

    def lines(self, pattern, since=0):
        """Log lines from byte offset `since` on that match."""
        text = self._output()[since:].decode(errors="replace")
        return [line for line in text.splitlines() if re.search(pattern, line)]

    def log_mark(self):
        return len(self._output())

    def wait_log(self, pattern, since=0, deadline=None):
        return wait_until(lambda: self.lines(pattern, since), deadline, f"the log line {pattern!r}")[0]

    def judged(self, since=0):
        """The numbers of functions that were judged in one turn of the loop each."""
        return [int(line.split(": ")[2].split()[0]) for line in self.lines(r"debug: \d+ functions are judged", since)]

    def kill(self, number):
        os.kill(self.pid, number)

    def wait_exit(self, deadline=None):
        """The exit status; negative is a signal's number."""
        wait_until(lambda: self.status is not None and not self._reader, deadline,
                   lambda: f"the daemon's end; status {self.status}, its output is open in {self._who_has_output()}")
        return self.status

    def _who_has_output(self):
        """Each process that can still write to the log, with what it waits for in the kernel."""
        pipe, found = f"pipe:[{os.fstat(self._read).st_ino}]", []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if int(pid) != os.getpid() and pipe in descriptors(pid).values():
                    found.append(" ".join([pid, *(read_text(f"/proc/{pid}/{name}") for name in ("comm", "wchan", "stack"))]))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                pass
        return found

    def _kill_children(self):
        """Those that hang in what the test made hang, and would for ever; the kernel has made them init's."""
        mark = next(word for word in self._process.args if word.startswith("--state-dir="))
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if mark.encode() in file.read().split(b"\0"):
                        os.kill(int(pid), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                pass

    def close(self, kill_children=True):
        """Children of another run look like this one's: a run that has a successor leaves them alone."""
        if self.running:
            self._process.kill()
            self._process.wait()
            self.status = self._process.returncode
        if kill_children:
            self._kill_children()
        for source in (self._reader, self._watch):
            if source:
                GLib.source_remove(source)
        self._reader = self._watch = 0
        os.close(self._pidfd)
        self._take_output()
        os.close(self._read)


class SpawnService(Daemon):
    """One run of vfwarden-spawn, on a socket as systemd makes it."""

    def __init__(self, path, options, environment):
        self.path = path
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listening.bind(path)
        os.chmod(path, 0o600)
        self.listening.listen()
        self._arguments = [os.environ["VFWARDEN_SPAWN"], *options]
        self._environment = environment
        self.run()

    def run(self):
        """Also again, after it has ended: systemd keeps the socket."""
        super().__init__(self._arguments, self._environment, [("spawn", self.listening.fileno())])

    def children(self):
        return [int(pid) for pid in filter(str.isdigit, os.listdir("/proc"))
                if (process(pid) or (None, 0))[1] == self.pid]

    def close(self, kill_children=True):
        for pid in self.children() if kill_children else ():
            os.kill(pid, signal.SIGKILL)
        super().close(kill_children=False)

    def end(self):
        """Returns what went wrong."""
        trouble = []
        if self.running:
            self.kill(signal.SIGCONT)
            # A test that ends at once finds it starting: until it has blocked the signal, that would kill it.
            wait_until(lambda: not self.running or blocks(self.pid, signal.SIGTERM), None, "that vfwarden-spawn has started")
            self.kill(signal.SIGTERM)
            if self.wait_exit(2 * DEADLINE) != 0:
                trouble.append(f"vfwarden-spawn ended with status {self.status}")
        self.close()
        self.listening.close()
        if SANITIZER_REPORT.search(self.log):
            trouble.append("a sanitizer reported something of vfwarden-spawn")
        return [f"{text}:\n{self.log}" for text in trouble]
