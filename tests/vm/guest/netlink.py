"""Requests by netlink that no tool makes: several messages in one send, names of other kinds, attributes without sense."""

import socket
import struct

# <linux/netlink.h>, <linux/rtnetlink.h>, <linux/if_link.h>
REQUEST_ACK = 0x5
NEWLINK, SETLINK, NEWLINKPROP = 16, 19, 108
IFNAME, VFINFO_LIST, GROUP, PROPERTIES, ALT_IFNAME = 3, 22 | 0x8000, 27, 52 | 0x8000, 53
UNKNOWN = 0x3ff0
# <linux/genetlink.h>, <linux/devlink.h>
GENERIC = 16
CONTROLLER = 16
RELOAD, FLASH_UPDATE = 37, 58
BUS_NAME, DEVICE_NAME = 1, 2


def message(kind, body):
    return struct.pack("=IHHII", 16 + len(body), kind, REQUEST_ACK, 1, 0) + body


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def link(*attributes, index=0, kind=SETLINK):
    """A change of a link; the kernel takes unknown attributes for none."""
    return message(kind, struct.pack("=BxHiII", 0, 0, index, 0, 0) + b"".join(attributes))


def vf_settings(*attributes, **options):
    """An empty list of settings."""
    return link(*attributes, attribute(VFINFO_LIST, b""), **options)


def names(index, texts):
    """Further names of an interface."""
    return link(attribute(PROPERTIES, b"".join(attribute(ALT_IFNAME, text.encode() + b"\0") for text in texts)),
                index=index, kind=NEWLINKPROP)


def devlink(*devices, command=RELOAD):
    """devlink's command for a device of PCI, the last one. To the family that every kernel has, which knows no such command."""
    names = b"".join(attribute(DEVICE_NAME, name.encode() + b"\0") for name in devices)
    return message(CONTROLLER, struct.pack("=BBH", command, 1, 0) + attribute(BUS_NAME, b"pci\0") + names)


def send(*messages, protocol=socket.NETLINK_ROUTE):
    """Sends all at once; returns the number of the error of the send, or of the last message, 0 without."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as sock:
        try:
            sock.send(b"".join(messages))
        except OSError as error:
            return error.errno
        answers = 0
        while True:
            data = sock.recv(65536)
            while len(data) >= 20:
                size, = struct.unpack_from("=I", data)
                result = -struct.unpack_from("=i", data, 16)[0]
                data = data[(size + 3) & ~3:]
                answers += 1
            if answers == len(messages):
                return result
