"""Runs what the host asks for and tells it each result as it happens.

Each scenario runs in a process of its own with a deadline. A process that cannot be killed (the
kernel holds it) ends the run: nothing that came after could be believed.
"""

import contextlib
import os
import select
import signal
import subprocess
import syslog
import time
import traceback

from guest import registry
from guest.channel import RESULTS, Port
from guest.check import Failed

REAP_SECONDS = 5
HOME = "/usr/lib/vfwarden-vm"


def mark(text):
    """A line in the journal that the host can find again."""
    syslog.syslog(syslog.LOG_NOTICE, text)


def describe(error):
    """The failure for a person: its message, and the scenario's line it came from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if "/scenarios/" in frame.filename]
    where = "".join(f"\n  at {os.path.basename(frame.filename)}:{frame.lineno}: {frame.line}"
                    for frame in frames)
    kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
    return f"{kind}{error}{where}"


def run_in_child(one, pipe):
    os.setsid()
    try:
        from guest.machine import Machine  # imported here: a broken framework fails the scenario
        with Machine() as machine:
            one.function(machine)
        message = b""
    except BaseException as error:  # pylint: disable=broad-except  # reported, whatever it is
        message = describe(error).encode() or b"failed without a word"
        traceback.print_exc()
    os.write(pipe, message[:60000])
    os._exit(1 if message else 0)


def wait_for(pid, pipe, seconds):
    """(status or None if the deadline passed, what the child wrote)."""
    deadline, text = time.monotonic() + seconds, b""
    while (left := deadline - time.monotonic()) > 0:
        if select.select([pipe], [], [], left)[0]:
            chunk = os.read(pipe, 65536)
            if not chunk:
                return os.waitpid(pid, 0)[1], text
            text += chunk
    return None, text


def stuck_processes():
    """Processes that wait in the kernel and cannot be interrupted, and where."""
    lines = subprocess.run(["ps", "-eo", "stat=,pid=,wchan:32=,args="], capture_output=True, text=True,
                           check=False).stdout.splitlines()
    return [line for line in lines if line.startswith("D")]


def run_one(one, deadline):
    """(ok, message, whether the machine can be used further)."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        run_in_child(one, writing)
    os.close(writing)
    try:
        status, text = wait_for(pid, reading, deadline)
        if status is not None:
            return status == 0, text.decode(errors="replace"), True
        # The whole session of the scenario, with whatever it started.
        os.killpg(pid, signal.SIGKILL)
        status, _ = wait_for(pid, reading, REAP_SECONDS)
        # What waits in the kernel where signals reach it is gone by now.
        stuck = "".join("\n  stuck: " + line for line in stuck_processes())
        return False, f"not finished after {deadline:.0f} s{stuck}", status is not None
    finally:
        os.close(reading)
        # What the scenario left behind; the group has its number as long as it has a member.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def run_scenarios(port, patterns, scale):
    """`scale`: how much slower than alone the host is, which cannot be seen here."""
    os.environ["VFWARDEN_DEADLINE_SCALE"] = str(scale * float(os.environ["VFWARDEN_DEADLINE_SCALE"]))
    try:
        chosen = registry.select(patterns)
    except Exception as error:  # pylint: disable=broad-except  # a broken scenario file, too
        port.send({"type": "error", "message": describe(error)})
        return
    port.send({"type": "plan", "scenarios": [[one.id, one.title, one.deadline] for one in chosen]})
    for one in chosen:
        mark(f"begin {one.id}")
        port.send({"type": "begin", "id": one.id})
        started = time.monotonic()
        ok, message, usable = run_one(one, one.deadline * scale)
        seconds = time.monotonic() - started
        mark(f"end {one.id}")
        if not ok:
            subprocess.run(["journalctl", "--sync"], check=False)
        port.send({"type": "result", "id": one.id, "ok": ok, "seconds": seconds, "message": message})
        if not usable:
            port.send({"type": "error", "message": "a process could not be killed; the rest is not run"})
            return
    subprocess.run(["journalctl", "--sync"], check=False)
    mark("end of run")
    port.send({"type": "done"})


def run_demo(port, options):
    with subprocess.Popen([f"{HOME}/demo", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, errors="replace") as demo:
        for line in demo.stdout:
            port.send({"type": "output", "text": line})
    port.send({"type": "exit", "status": demo.returncode})


def main():
    syslog.openlog("vfwarden-vm")
    port = Port(RESULTS)
    # What udev found at boot has its drivers before the first scenario looks.
    subprocess.run(["udevadm", "settle"], check=False)
    port.send({"type": "hello"})
    order = port.receive()
    if order["verb"] == "run":
        run_scenarios(port, order["scenarios"], order["scale"])
    elif order["verb"] == "demo":
        run_demo(port, order["options"])


if __name__ == "__main__":
    main()
