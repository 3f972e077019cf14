"""QEMU's control connection (QMP), for use by one thread at a time per command; events may be waited
for by any number of threads."""

import json
import socket
import threading
import time

import pace

from host.common import Failure


class QmpError(Exception):
    """QEMU answered a command with an error."""


class Qmp:
    def __init__(self, path, timeout=20):
        self.socket = connect(path, timeout)
        self.file = self.socket.makefile("rw", encoding="utf-8", newline="\n")
        self.lock = threading.Lock()          # one command at a time
        self.changed = threading.Condition()  # guards the three below
        self.answer = None
        self.events = []
        self.closed = False
        json.loads(self.file.readline())
        threading.Thread(target=self._read, daemon=True).start()
        self.command("qmp_capabilities")

    def _read(self):
        try:
            for line in self.file:
                message = json.loads(line)
                with self.changed:
                    if "event" in message:
                        self.events.append(message)
                    else:
                        self.answer = message
                    self.changed.notify_all()
        except (OSError, ValueError):
            pass
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def command(self, name, arguments=None, timeout=30):
        """The value that QEMU returns. QmpError with QEMU's words if it refuses."""
        request = {"execute": name}
        if arguments:
            request["arguments"] = arguments
        with self.lock, self.changed:
            self.answer = None
            self.file.write(json.dumps(request) + "\n")
            self.file.flush()
            if not self.changed.wait_for(lambda: self.answer or self.closed, timeout * pace.SCALE):
                raise Failure(f"QEMU did not answer {name} within {timeout} s")
            if self.answer is None:
                raise Failure("QEMU is gone")
            if "error" in self.answer:
                raise QmpError(self.answer["error"]["desc"])
            return self.answer.get("return")

    def mark(self):
        """A point in the stream of events; wait_event() looks only at what came after it."""
        with self.changed:
            return len(self.events)

    def wait_event(self, mark, matches, timeout):
        """The first event after `mark` for which `matches(name, data)` holds."""
        def find():
            for event in self.events[mark:]:
                if matches(event["event"], event.get("data", {})):
                    return event
            return None

        with self.changed:
            self.changed.wait_for(lambda: find() or self.closed, timeout * pace.SCALE)
            event = find()
        if event is None:
            raise QmpError(f"no such event within {timeout} s")
        return event


def connect(path, timeout):
    """Connects to a socket that QEMU is about to make."""
    deadline = time.monotonic() + timeout * pace.SCALE
    while True:
        attempt = socket.socket(socket.AF_UNIX)
        try:
            attempt.connect(str(path))
            return attempt
        except OSError:
            attempt.close()
            if time.monotonic() > deadline:
                raise Failure(f"QEMU did not open {path.name}") from None
            time.sleep(0.02)
