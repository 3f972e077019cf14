"""Somebody at the bus who asks the daemon again and again, in a process of their own, and knows how long the slowest
answer took: whether one client's business holds up another's.

Run as a program, by Caller.
"""

import json
import select
import subprocess
import sys
import time

from gi.repository import GLib

import vfwarden_bus as vb

# Between calls: the machine has one processor, and it is not the caller's alone.
PAUSE = 0.01


class Caller:
    def __init__(self, machine, function):
        self.process = subprocess.Popen(
            ["setpriv", "--reuid=visitor", "--regid=visitor", "--clear-groups", sys.executable, "-B", "-m",
             "guest.caller", function.address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        machine.closers.append(self.close)
        self.process.stdout.readline()  # it calls from here on

    def lap(self, seconds=0):
        """(how many calls, seconds that the slowest took) since the last lap; with `seconds`, in that time from now."""
        if seconds:
            self._ask(0)
        return self._ask(seconds)

    def _ask(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return tuple(json.loads(self.process.stdout.readline()))

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def call_for(client, address, seconds, laps):
    """Calls until `seconds` are over, or for as long as nobody wants to know."""
    end = time.monotonic() + seconds
    while time.monotonic() < end or (seconds == 0 and not select.select([sys.stdin], [], [], PAUSE)[0]):
        started = time.monotonic()
        client.check(address, "open")
        client.list_functions()
        laps.append(time.monotonic() - started)
        GLib.usleep(int(PAUSE * 1e6))


def main():
    client, laps = vb.Client(), []
    client.ping()
    print("ready", flush=True)
    while True:
        call_for(client, sys.argv[1], 0, laps)
        line = sys.stdin.readline()
        if not line:
            return
        call_for(client, sys.argv[1], float(line) or -1, laps)
        print(json.dumps([len(laps), max(laps, default=0)]), flush=True)
        laps.clear()


if __name__ == "__main__":
    main()
