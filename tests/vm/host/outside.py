"""Answers what the guest asks of the world outside of it.

A request is a line of JSON {"verb": NAME, ...}; the answer is {"ok": true, "value": ...} or
{"ok": false, "error": TEXT}. Verbs:
  plug id                    puts an endpoint of the hardware's table back where it was, once QEMU has given it up
  unplug id                  asks the guest's kernel to give it up, as an operator's button does;
                             answers at once, or once the slot is stable after a `plug`
  wait_unplugged id seconds  answers when the guest gave it up after the last `plug` or `unplug`
  say text                   prints a line "# TEXT" among the results
  qmp command [arguments]    any other command
"""

import json
import time

from host.common import Failure
from host.qmp import QmpError

SETTLE_SECONDS = 30


class Outside:
    def __init__(self, qmp, channel, hardware):
        self.qmp = qmp
        self.hardware = hardware
        self.file = channel.makefile("rw", encoding="utf-8", newline="\n")
        self.marks = {}
        self.verbs = {"plug": self.plug, "unplug": self.unplug, "qmp": self.command, "say": self.say,
                      "wait_unplugged": self.wait_unplugged}

    def serve(self):
        """Until the machine is gone."""
        try:
            for line in self.file:
                self.file.write(json.dumps(self.answer(line)) + "\n")
                self.file.flush()
        except (OSError, ValueError):
            pass

    def answer(self, line):
        try:
            request = json.loads(line)
            return {"ok": True, "value": self.verbs[request.pop("verb")](**request)}
        except (QmpError, Failure) as error:
            return {"ok": False, "error": str(error)}
        except (KeyError, TypeError, ValueError) as error:
            return {"ok": False, "error": f"bad request: {error!r}"}

    def plug(self, id):
        self.marks[id] = self.qmp.mark()
        for device in self.hardware.devices(id):
            # The guest's kernel has released it, and QEMU is about to.
            self.settled("device_add", device, "Duplicate device ID")

    def unplug(self, id):
        self.marks[id] = self.qmp.mark()
        # The slot's indicator still blinks from the plug; nothing tells when it stops.
        return self.settled("device_del", {"id": id}, "guest is busy")

    def settled(self, command, arguments, busy):
        """The command's value, once it fails no more with an error that says `busy`."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            try:
                return self.qmp.command(command, arguments)
            except QmpError as error:
                if busy not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def wait_unplugged(self, id, seconds):
        self.qmp.wait_event(self.marks.get(id, 0), lambda name, data: name == "DEVICE_DELETED"
                            and data.get("device") == id, seconds)

    def say(self, text):
        print(f"# {text}", flush=True)

    def command(self, command, arguments=None):
        return self.qmp.command(command, arguments)
