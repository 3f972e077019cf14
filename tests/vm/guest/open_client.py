"""A client without privilege that has functions opened for it, in a process of its own, and uses them as any program does
that was given a group.

Run as a program, by OpenClient; see json_client.py. Bytes are hexadecimal.
"""

import os

from gi.repository import GLib

import pace
from raw_client import RawClient
import vfwarden_bus as vb

from guest.descriptor_client import DescriptorClient, DescriptorServer
from guest.json_client import serve
from guest.vfio import open_device, region_place

BAR0 = 0
CONFIG = 7


class OpenClient(DescriptorClient):
    """The other end, for a scenario."""

    module = "guest.open_client"

    def open(self, function):
        """What Open() told, without descriptors. By the group, whatever else the kernel has; see device_client.py."""
        return self.ask("open", function.address)

    def open_and_do_not_read(self, function):
        self.ask("open-and-do-not-read", function.address)

    def device(self, function, token=None):
        """Opens the device through the group."""
        self.ask("device", function.address, token)

    def read(self, length=4):
        """The beginning of BAR 0 of the device."""
        return bytes.fromhex(self.ask("read", length))

    def token(self, function):
        return self.ask("token", function.address)


class Server(DescriptorServer):
    held = ("opened", "container", "descriptor")

    def __init__(self):
        super().__init__()
        self.client = vb.Client()
        self.raw = None

    def open(self, address):
        options = {"kind": GLib.Variant("s", "group")}
        call = self.client.bus.start_call(vb.function_path(address), vb.FUNCTION, "Open", "(a{sv})", (options,),
                                          with_fds=True)
        handle, facts = call.result(60)
        self.descriptor = call.fds[handle]
        os.close(call.fds[facts.pop("receipt")])    # as it is when a library frees the message
        return facts

    def open_and_do_not_read(self, address):
        self.raw = RawClient(timeout=60 * pace.SCALE)
        self.raw.open(address)

    def token(self, address):
        return self.client.bus.call(vb.function_path(address), vb.PHYSICAL, "GetVfToken")[0]

    def device(self, address, token):
        self.container, self.opened = open_device(self.descriptor, address, token)

    def read(self, length):
        place = region_place(self.opened, CONFIG)
        os.pwrite(self.opened, b"\2\0", place + 4)  # memory space
        return os.pread(self.opened, length, region_place(self.opened, BAR0)).hex()


if __name__ == "__main__":
    serve(Server())
