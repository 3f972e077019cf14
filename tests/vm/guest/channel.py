"""The two channels out of the machine: results (held by the runner) and requests to the outside."""

import fcntl
import json

RESULTS = "/dev/virtio-ports/vfwarden.results"
OUTSIDE = "/dev/virtio-ports/vfwarden.outside"
OUTSIDE_LOCK = "/run/vfwarden-vm-outside.lock"


class OutsideError(Exception):
    """What the outside said when it refused."""


class Port:
    """Lines of JSON over a virtio-serial port, which one process at a time may have open."""

    def __init__(self, path):
        self.file = open(path, "r+b", buffering=0)  # pylint: disable=consider-using-with

    def send(self, message):
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[self.file.write(data):]

    def receive(self):
        line = b""
        while not line.endswith(b"\n"):
            # One request, one answer: no byte of a next message can be read with this one.
            chunk = self.file.read(65536)
            if not chunk:
                raise OutsideError("the channel's other end is gone")
            line += chunk
        return json.loads(line)

    def close(self):
        self.file.close()


def outside(verb, **arguments):
    """Asks for something outside of the machine; see host/outside.py for the verbs."""
    with open(OUTSIDE_LOCK, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        port = Port(OUTSIDE)
        try:
            port.send({"verb": verb, **arguments})
            answer = port.receive()
        finally:
            port.close()
    if not answer["ok"]:
        raise OutsideError(answer["error"])
    return answer["value"]
