"""A program that uses a function by its own device node (/dev/vfio/devices/vfioN) and an iommufd, in a process of its own.
It opens the node itself, as root, or has it opened by the daemon.

Run as a program, by DeviceClient; see json_client.py. Bytes are hexadecimal.
"""

import array
import fcntl
import os
import select
import socket
import struct

from gi.repository import GLib

import vfwarden_bus as vb

from guest.descriptor_client import DescriptorClient, DescriptorServer
from guest.json_client import serve
from guest.vfio import IRQ_SET, SET_IRQS, device_node, region_place

# <linux/vfio.h>: _IO(';', 100 + N), and <linux/iommufd.h>: _IO(';', 0x80 + N)
BIND_IOMMUFD, ATTACH_IOMMUFD_PT = 0x3b76, 0x3b77
IOAS_ALLOC = 0x3b81
BAR0, CONFIG = 0, 7
DATA_EVENTFD_ACTION_TRIGGER, REQUEST_INDEX = 0x24, 4


class DeviceClient(DescriptorClient):
    """The other end, for a scenario."""

    module = "guest.device_client"
    command = "python3"

    def open(self, function, kind=None):
        """What Open() told, without descriptors."""
        return self.ask("open", function.address, kind)

    def open_node(self, function):
        self.ask("open-node", device_node(function))

    def bind(self):
        """To its iommufd, with an address space of its own."""
        self.ask("bind")

    def read(self, length=4):
        """The beginning of BAR 0 of the bound device."""
        return bytes.fromhex(self.ask("read", length))

    def arm(self):
        """The kernel's requests to release the device are to be heard."""
        self.ask("arm")

    def wait_request(self, seconds):
        return self.ask("wait-request", seconds)

    def park(self):
        """Leaves the device in a socket that nobody reads, and in no process."""
        self.ask("park")

    def unpark(self):
        self.ask("unpark")

    def close_device(self):
        self.ask("close-device")


class Server(DescriptorServer):
    held = ("device", "iommufd")

    def __init__(self):
        super().__init__()
        self.event = -1
        self.parked = None

    def open(self, address, kind):
        options = {"kind": GLib.Variant("s", kind)} if kind else {}
        call = vb.Client().bus.start_call(vb.function_path(address), vb.FUNCTION, "Open", "(a{sv})", (options,),
                                          with_fds=True)
        handle, facts = call.result(60)
        self.device = call.fds[handle]
        self.iommufd = call.fds[facts["iommufd"]] if "iommufd" in facts else -1
        os.close(call.fds[facts.pop("receipt")])
        return facts

    def open_node(self, path):
        self.device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.iommufd = os.open("/dev/iommu", os.O_RDWR | os.O_CLOEXEC)

    def bind(self):
        fcntl.ioctl(self.device, BIND_IOMMUFD, bytearray(struct.pack("=IIiI", 16, 0, self.iommufd, 0)))
        allocation = bytearray(struct.pack("=III", 12, 0, 0))
        fcntl.ioctl(self.iommufd, IOAS_ALLOC, allocation)
        _, _, address_space = struct.unpack("=III", allocation)
        fcntl.ioctl(self.device, ATTACH_IOMMUFD_PT, bytearray(struct.pack("=III", 12, 0, address_space)))

    def read(self, length):
        os.pwrite(self.device, b"\2\0", region_place(self.device, CONFIG) + 4)  # memory space
        return os.pread(self.device, length, region_place(self.device, BAR0)).hex()

    def arm(self):
        self.event = os.eventfd(0)
        fcntl.ioctl(self.device, SET_IRQS,
                    IRQ_SET.pack(IRQ_SET.size, DATA_EVENTFD_ACTION_TRIGGER, REQUEST_INDEX, 0, 1, self.event))

    def wait_request(self, seconds):
        return bool(select.select([self.event], [], [], seconds)[0])

    def park(self):
        self.parked = socket.socketpair()
        self.parked[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [self.device]))])
        self.close_device()

    def unpark(self):
        _, (self.device,), _, _ = socket.recv_fds(self.parked[1], 1, 1)

    def close_device(self):
        os.close(self.device)
        self.device = -1


if __name__ == "__main__":
    serve(Server())
