"""One run of the machine: starts QEMU, carries the channels between guest and host, ends it.

Channels, all virtio-serial ports:
  vfwarden.results   lines of JSON, the runner in the guest with the verb that started the machine
  vfwarden.outside   lines of JSON, requests of the guest to what is outside of it; see outside.py
  vfwarden.journal   the guest's journal as text, one way, written to a file as it happens
"""

import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time

import pace

from host import guestroot, initrd, inner, kernel as kernels, project, qemu as qemus, vfio_modules
from host.common import SOURCE_DIR, Failure, cache_dir, locked, remove_tree, say
from host.outside import Outside
from host.qmp import Qmp, connect

KEPT_LOGS = 10
CHANNELS = ("results", "outside")
# Each adds a folder of scenarios, and some of them hardware.
OPTIONS = ("bridges", "instructions", "long")
HARDWARE_OPTIONS = {"bridges": "BRIDGES", "instructions": "INSTRUCTIONS"}
# Where the scenarios of packages find them.
PACKAGES = "usr/lib/vfwarden-vm-packages"


class Lost(Exception):
    """The guest died, or said nothing until a deadline."""


def die_with_parent():
    """In the child before exec: no QEMU outlives us, however we end."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def lock_directory(path, how):
    """A descriptor that holds the lock, or None if somebody else does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def new_log_directory():
    """(path, lock): as long as the lock is held, no other run takes the directory for an old one."""
    logs = cache_dir() / "logs"
    logs.mkdir(exist_ok=True)
    with locked("logs"):
        for old in sorted(logs.iterdir())[:-KEPT_LOGS + 1]:
            lock = lock_directory(old, fcntl.LOCK_EX)
            if lock is not None:
                remove_tree(old)
                os.close(lock)
        directory = logs / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        directory.mkdir()
        return directory, lock_directory(directory, fcntl.LOCK_SH)


class Parts:
    """What must exist before a machine can start. The downloads run side by side. `inner`: an image with a QEMU for the
    guest, or None: of the suite `vmm`, else one that knows iommufd, where the kernel does."""

    def __init__(self, target, kernel_name, vfio, suite, vmm=None):
        self.target = target
        self.vfio = vfio
        self.vmm = vmm
        results, failures = {}, []

        def work(name, function):
            try:
                results[name] = function()
            except Exception as error:  # pylint: disable=broad-except  # told to the user below
                failures.append(error)

        threads = [threading.Thread(target=work, args=job) for job in (
            ("base", lambda: guestroot.base(target, suite)), ("kernel", lambda: kernels.get(target, kernel_name, vfio)),
            ("qemu", lambda: qemus.get(target)),
            ("inner", lambda: qemus.image(target, vmm) if vmm or vfio != "packaged" else None))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        self.base, self.kernel, self.qemu, self.inner = (results[name] for name in ("base", "kernel", "qemu", "inner"))


class Session:
    """A started machine. Use as a context manager: leaving it ends the machine."""

    def __init__(self, parts, iommu, options=(), console=False, with_project=True, packages=None, arguments=()):
        """`options`: those of OPTIONS that are wanted."""
        self.parts = parts
        # The hardware of another machine may not know these.
        self.options = {name: True for name in options if name in HARDWARE_OPTIONS}
        self.hardware = parts.target.hardware
        self.iommu = iommu
        self.console = console
        self.logs, self.logs_lock = new_log_directory()
        self.messages = queue.Queue()
        self.results = None
        self.process = None
        self.qmp = None
        self.terminal = None
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="vfwarden-vm-"))
        trees = [self.work / "guest"]
        builder = project.Builder(parts.target, parts.base)
        more_scenarios = vfio_modules.scenarios(parts.vfio)
        more_scenarios += [f"scenarios_{name}" for name in options]
        if packages:
            more_scenarios.append("scenarios_packages")
            shutil.copytree(packages, trees[0] / PACKAGES)
            shutil.copy(SOURCE_DIR / "debian/tests/service", trees[0] / PACKAGES)
        if parts.vmm:
            more_scenarios.append("scenarios_vmm")
            inner.install(parts.kernel, parts.base / "busybox", trees[0])
        builder.guest_files(trees[0], more_scenarios)
        if with_project:
            trees.insert(0, self.work / "project")
            builder.install(trees[0])
            if not parts.target.foreign:
                builder.example(trees[0])
        (self.work / "initrd").write_bytes(initrd.make(
            (parts.base / "busybox").read_bytes(), parts.kernel, kernels.unpacked_module, trees))
        for tree in trees:
            remove_tree(tree)
        # AppArmor reports by audit what it refuses.
        audit = [] if packages else ["audit=0"]
        self.kernel_arguments = [*self.hardware.kernel_command_line(iommu), *audit, *arguments]

    def command(self):
        words = [*self.parts.qemu.command, *self.hardware.arguments(self.iommu, **self.options),
                 *self.hardware.firmware_arguments(self.work)]
        words += ["-kernel", self.parts.kernel.image, "-initrd", self.work / "initrd",
                  "-append", " ".join(self.kernel_arguments),
                  "-drive", f"if=none,id=base,format=raw,snapshot=on,file={self.parts.base / 'base.img'}",
                  "-device", f"{self.hardware.DISK},drive=base",
                  "-drive", f"if=none,id=spare,format=raw,snapshot=on,file={self.parts.base / 'base.img'}",
                  "-device", f"{self.hardware.CHANNELS},id=channels",
                  "-chardev", f"file,id=journal,path={self.logs / 'journal'}",
                  "-device", "virtserialport,bus=channels.0,chardev=journal,name=vfwarden.journal",
                  "-qmp", f"unix:{self.work / 'qmp'},server=on,wait=off"]
        if self.parts.inner:
            words += ["-drive", f"if=none,id=inner,format=raw,readonly=on,file={self.parts.inner}",
                      "-device", f"{self.hardware.INNER_DISK},drive=inner"]
        if self.parts.vmm:
            words += self.hardware.vmm_arguments(self.work)
        for name in CHANNELS:
            words += ["-chardev", f"socket,id={name},path={self.work / name},server=on,wait=off",
                      "-device", f"virtserialport,bus=channels.0,chardev={name},name=vfwarden.{name}"]
        if self.console:
            words += ["-serial", "mon:stdio"]
        else:
            words += ["-serial", f"file:{self.logs / 'console'}"]
        return [str(word) for word in words]

    def __enter__(self):
        if self.console:
            self.terminal = termios.tcgetattr(sys.stdin)
        with open(self.logs / "qemu", "w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                self.command(), env=dict(self.parts.qemu.environment, TMPDIR=str(self.work)),
                stdin=None if self.console else subprocess.DEVNULL, stderr=errors,
                stdout=None if self.console else errors, preexec_fn=die_with_parent)
        try:
            self.qmp = Qmp(self.work / "qmp")
            outside = Outside(self.qmp, connect(self.work / "outside", 20), self.hardware)
            threading.Thread(target=outside.serve, daemon=True).start()
            self.results = connect(self.work / "results", 20).makefile("rw", encoding="utf-8", newline="\n")
            threading.Thread(target=self._read_results, daemon=True).start()
        except BaseException as error:
            self.__exit__()
            if isinstance(error, Failure):
                raise Failure(f"QEMU did not start:\n{(self.logs / 'qemu').read_text()}") from error
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.terminal is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self.terminal)
        remove_tree(self.work)

    def _read_results(self):
        with contextlib.suppress(OSError, ValueError):
            for line in self.results:
                self.messages.put(json.loads(line))
        self.messages.put(None)

    def send(self, message):
        self.results.write(json.dumps(message) + "\n")
        self.results.flush()

    def receive(self, seconds, while_what):
        """The guest's next message. Lost if none comes in time or none can come any more."""
        try:
            message = self.messages.get(timeout=seconds * pace.SCALE)
        except queue.Empty:
            raise Lost(f"no word from the guest for {seconds * pace.SCALE:.0f} s while {while_what}") from None
        if message is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            raise Lost(f"the machine ended while {while_what} (QEMU's status {self.process.poll()})")
        return message

    def wait_for_power_off(self, seconds):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds * pace.SCALE)

    def wait_until_left(self):
        """For a session on a terminal: until QEMU ends, by power-off or by its own keys."""
        return self.process.wait()

    def drop_logs(self):
        shutil.rmtree(self.logs, ignore_errors=True)

    def wait_for_journal(self, text, seconds=3):
        """The journal comes by a channel of its own and may lag behind the results."""
        deadline = time.monotonic() + seconds * pace.SCALE
        while time.monotonic() < deadline:
            if any(text in line for line in read_lines(self.logs / "journal")):
                return
            time.sleep(0.05)

    def split_daemon_log(self):
        lines = [line for line in read_lines(self.logs / "journal") if " vfwardend[" in line]
        (self.logs / "daemon").write_text("".join(line + "\n" for line in lines))

    def show_logs(self, journal_from=None, lines=40, console=True):
        """Shows the end of what was recorded; of the journal, what came after `journal_from`."""
        journal = read_lines(self.logs / "journal")
        if journal_from is not None:
            marks = [number for number, line in enumerate(journal) if journal_from in line]
            journal = journal[marks[-1]:] if marks else journal
        shown = [("journal", journal)]
        if console:
            shown.insert(0, ("console", read_lines(self.logs / "console")))
        for name, content in shown:
            if content:
                say(f"--- the end of the {name}:")
                for line in content[-lines:]:
                    say("    " + line)


def read_lines(path):
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
