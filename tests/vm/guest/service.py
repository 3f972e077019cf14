"""The daemon as systemd runs it, its configuration, and the journal."""

import json
import os
import pathlib
import re
import select
import signal
import subprocess
import time

import pace

from guest.check import Failed

UNIT = "vfwardend.service"
SPAWN_UNIT = "vfwarden-spawn.service"
# Not enabled in the machine: most scenarios do what it refuses.
GUARD_UNIT = "vfwarden-guard.service"
PINS = pathlib.Path("/sys/fs/bpf/vfwarden")
BINARY = "/usr/libexec/vfwardend"
DROP_INS = pathlib.Path(f"/run/systemd/system/{UNIT}.d")
DEBUG_DROP_IN = DROP_INS / "10-debug.conf"
SCENARIO_DROP_IN = DROP_INS / "50-scenario.conf"
CONFIG = pathlib.Path("/etc/vfwarden")
STATE = pathlib.Path("/run/vfwarden")

# Message ids of the daemon, as its manual has them.
VIOLATION = "dca0ba79c7af46c2932d7c1e91533a99"
PF_WITH_VFS = "d7cbfc7ae73948fb9a9d474987a107d0"
LOCK = "8c1e677f77264f4f84c18770cd8263ab"
OVERRUN = "e7c92cb5479c4c9c9e75effeea6b3b8a"
CONFIG_REFUSED = "70d3ad9d727a45c5a8afcd4aec1bf177"
KERNEL_GUARD = "5c1f0e9a7b3d4c2e8f6a9d1b0e7c4a35"
EXTERNAL_REMOVAL = "e42835af91934633854dbe0d43d8b4a5"
OVERRIDE_LOST = "f652eac4d3da45bd9cd370fb4deb7e37"


def run(*words, check=True, **kwargs):
    """Runs a command; its result has all that it said in `stdout`."""
    result = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors="replace", check=False, **kwargs)
    if check and result.returncode != 0:
        raise Failed(f"`{' '.join(words)}` failed with {result.returncode}: {result.stdout.strip()}")
    return result


def systemctl(*words, **kwargs):
    return run("systemctl", "--no-ask-password", *words, **kwargs)


def exec_start(*options):
    """Lines of a drop-in that starts the daemon with other options."""
    return f"ExecStart=\nExecStart={' '.join([BINARY, '--log-level=debug', *options])}\n"


def wait_for_stop(pid):
    """Only its parent is notified of a stopped process; others must look."""
    deadline = time.monotonic() + pace.DEADLINE
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            if file.read().rpartition(")")[2].split()[0] == "T":
                return
        os.sched_yield()
    raise Failed(f"process {pid} did not stop")


class Service:
    def property(self, name, unit=UNIT):
        return systemctl("show", "--value", "-p", name, unit).stdout.strip()

    def pid(self):
        return int(self.property("MainPID"))

    def start(self):
        systemctl("start", UNIT)

    def stop(self):
        """Leaves no trace of being stopped by signals or of having failed, either."""
        pid = self.pid()
        if pid:
            os.kill(pid, signal.SIGCONT)
        systemctl("stop", UNIT)
        systemctl("reset-failed", UNIT)

    def drop_in(self, text):
        """Further lines of the unit's [Service], in force from the next start on."""
        SCENARIO_DROP_IN.write_text("[Service]\n" + text)
        systemctl("daemon-reload")

    def configure(self, text, name="vfwarden.conf.d/scenario.conf"):
        path = CONFIG / name
        path.write_text(text)
        return str(path)

    def kill(self, number, pid=None):
        """Sends a signal, and returns when it had its effect."""
        pid = pid or self.pid()
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, number)
            if number == signal.SIGSTOP:
                wait_for_stop(pid)
            elif number in (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT):
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                if not poll.poll(int(1000 * pace.DEADLINE)):
                    raise Failed(f"the daemon's process {pid} did not end")
        finally:
            os.close(descriptor)

    def holdings(self, pid=None):
        """What a daemon that leaks would have more of: descriptors, and inotify watches."""
        pid = pid or self.pid()
        watches = 0
        names = []
        for number in os.listdir(f"/proc/{pid}/fd"):
            try:
                name = os.readlink(f"/proc/{pid}/fd/{number}")
            except FileNotFoundError:
                continue
            names.append(re.sub(r"\d+", "N", name))
            if name == "anon_inode:inotify":
                with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as file:
                    watches += sum(line.startswith("inotify ") for line in file)
        # What is the most common thing comes last: a difference is to be seen at the beginning.
        return {"descriptors": sorted(names, key=lambda name: ("eventfd" in name, name)), "watches": watches}

    def children(self):
        """The names of its child processes."""
        pid = self.pid()
        names = []
        for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            try:
                names.append(pathlib.Path(f"/proc/{child}/comm").read_text().strip())
            except (FileNotFoundError, ProcessLookupError):
                continue
        return names

    def state(self):
        """What the daemon keeps for its next run."""
        try:
            return json.loads((STATE / "state.json").read_text())
        except FileNotFoundError:
            return {"files": [], "functions": []}


class Journal:
    """The journal from now on."""

    def __init__(self):
        self.cursor = None
        self.restart()

    def restart(self):
        run("journalctl", "--sync")
        output = run("journalctl", "-q", "-n", "1", "-o", "json", "--output-fields=__CURSOR").stdout
        self.cursor = json.loads(output)["__CURSOR"]

    def entries(self, **fields):
        """Entries as dicts, those whose fields have these values. Whatever was logged before the call is
        there."""
        run("journalctl", "--sync")
        # Without matches: with them, journalctl skips the first that matches after the cursor.
        output = run("journalctl", "-q", "-o", "json", f"--after-cursor={self.cursor}").stdout
        entries = [json.loads(line) for line in output.splitlines()]
        return [entry for entry in entries
                if all(entry.get(name) == value for name, value in fields.items())]

    def of_daemon(self, **fields):
        return self.entries(_COMM="vfwardend", **fields)

    def messages(self, message_id):
        """The texts that the daemon logged under a message id."""
        return [entry["MESSAGE"] for entry in self.of_daemon(MESSAGE_ID=message_id)]


def stop_guard():
    """Without the unit, too: what it refuses stays refused whatever became of its files."""
    systemctl("stop", GUARD_UNIT, check=False)
    for pin in PINS.glob("*"):
        pin.unlink()


def reset_files():
    """Configuration, drop-ins and state as after installation; the daemon must be stopped. Returns
    whether systemd must read its units again."""
    changed = not DEBUG_DROP_IN.exists() or SCENARIO_DROP_IN.exists()
    for path in [*(CONFIG / "vfwarden.conf.d").glob("*"), *STATE.glob("*")]:
        path.unlink()
    SCENARIO_DROP_IN.unlink(missing_ok=True)
    DROP_INS.mkdir(parents=True, exist_ok=True)
    DEBUG_DROP_IN.write_text("[Service]\n" + exec_start())
    return changed
