"""A process that has functions open through VFIO and does what the scenario says; see holder/vfio-holder.c."""

import os
import re
import signal
import subprocess

from gi.repository import GLib

import vfwarden_bus as vb

PROGRAM = "/usr/local/bin/vfio-holder"


class Holder:
    """`words` are the program's options and addresses, `wrapper` what is put before it."""

    command = PROGRAM

    def __init__(self, machine, *words, wrapper=(), ready=True):
        self.lines = []
        self.buffer = b""
        self.process = subprocess.Popen([*wrapper, PROGRAM, *map(str, words)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.source = GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, self.process.stdout.fileno(),
                                            GLib.IOCondition.IN | GLib.IOCondition.HUP, self._on_readable)
        machine.closers.append(self.close)
        self.pid = self.process.pid
        if ready:
            self.wait_line("ready")

    def _on_readable(self, *_):
        data = self.process.stdout.read()
        if data == b"":
            self.source = 0
            return GLib.SOURCE_REMOVE
        *lines, self.buffer = (self.buffer + (data or b"")).split(b"\n")
        self.lines += [line.decode(errors="replace") for line in lines]
        return GLib.SOURCE_CONTINUE

    def wait_line(self, pattern, since=0):
        """The first line from `since` on that matches as a whole; one that says "failed" is a failure."""
        def found():
            for line in self.lines[since:]:
                if match := re.fullmatch(pattern, line):
                    return match
                if line.startswith("failed"):
                    raise vb.DeadlineMissed(f"the holder {line}")
            return None
        return vb.wait_until(found, None, lambda: f"the holder's line {pattern!r}, got {self.lines[since:]}")

    def order(self, order, answer):
        """Returns the answer's match."""
        mark = len(self.lines)
        self.process.stdin.write(order.encode() + b"\n")
        self.process.stdin.flush()
        return self.wait_line(answer, mark)

    def open(self, address):
        self.order(f"open {address}", rf"opened {re.escape(str(address))} \d+")

    def close_group(self):
        self.order("close-group", "group closed")

    def close_device(self):
        self.order("close-device", "closed .*")

    def reads(self):
        """How many reads of the device there were so far, with --io."""
        return int(self.order("io", r"io (\d+) .*")[1])

    def fork(self):
        """The child's pid; it has all that this one has, and outlives it."""
        return int(self.order("fork", r"child (\d+)")[1])

    def end(self):
        self.process.stdin.write(b"end\n")
        self.process.stdin.flush()
        self.process.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.kill()
        if self.source:
            GLib.source_remove(self.source)
        self.process.stdin.close()
        self.process.stdout.close()


def kill(pid):
    """Ends a process that is nobody's child any more."""
    os.kill(pid, signal.SIGKILL)
