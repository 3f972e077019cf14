"""What programs that have descriptors of a function share: a child that has them too, and their close.

See json_client.py for the two ends."""

import os

from gi.repository import GLib

from guest.json_client import JsonClient


class DescriptorClient(JsonClient):
    """The other end, for a scenario."""

    def fork(self):
        """The pid of a child that has all that this has, and ends when it is killed."""
        return self.ask("fork")

    def close_all(self):
        self.ask("close-all")


class DescriptorServer:
    """`held` names the attributes that are descriptors, or -1, in the order in which they are closed."""

    held = ()

    def __init__(self):
        for name in self.held:
            setattr(self, name, -1)

    @staticmethod
    def fork():
        ready, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ready)
            os.closerange(0, 3)
            os.close(told)
            GLib.MainLoop.new(GLib.MainContext.new(), False).run()
        os.close(told)
        os.read(ready, 1)
        os.close(ready)
        return pid

    def close_all(self):
        for name in self.held:
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
            setattr(self, name, -1)
