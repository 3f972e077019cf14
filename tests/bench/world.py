"""The two worlds in which vfwardend and its references are measured: how they come to see a fake
tree as /sys, and how events come to them.

`umockdev`: its preload sends each path below /sys to the tree, and each monitor is a datagram socket.
It makes up to seven system calls of each that takes a path, on both sides, so what a program does with
files weighs more than it should against all else.

`mounted`: the tree is mounted on /sys in a namespace of its own, and the kernel itself broadcasts the
events that it is handed, in a network namespace of its own. Nothing is under the programs but the
kernel. This takes root."""

import ctypes
import glob
import os
import socket
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, "integration", "support"), os.path.join(TESTS, "lib")]

import gi  # noqa: E402
gi.require_version("Gio", "2.0")

from fakehost import Host  # noqa: E402
from fakepci import Sysfs  # noqa: E402

PRELOAD = "libumockdev-preload.so.0"

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
NETLINK_KOBJECT_UEVENT = 15

_libc = ctypes.CDLL(None, use_errno=True)


def enter_namespaces():
    """Gives this process and its children mounts and network of their own. Whether that worked."""
    return (_libc.unshare(CLONE_NEWNS | CLONE_NEWNET) == 0
            and _libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0)


class NoWatch:
    """In the place of filewatch's FileWatch: nobody here waits for a file."""

    def add(self, directory):
        """Nothing."""

    def close(self):
        """Nothing."""


class Tree(Sysfs):
    """A fake sysfs, under umockdev's preload."""

    def __init__(self, root):
        os.mkdir(root)
        super().__init__(root)
        self.watch.close()
        self.watch = NoWatch()
        self.host = Host(root)

    def populate(self, count):
        """Makes `count` functions, the same mix of 16 over and over: on each bus two PFs with four
        VFs each, half of these bound to vfio-pci, and six plain functions."""
        for number in range((count + 15) // 16):
            left = min(count - 16 * number, 16)
            bus = f"{number >> 8:04x}:{number & 0xff:02x}"
            for function in range(2 if left == 16 else 0):
                self.add_pf(f"{bus}:00.{function}", vfs=4,
                            vf_driver="igbvf" if function else "vfio-pci")
                left -= 5
            for device in range(left):
                self.add(f"{bus}:{device + 1:02x}.0", device=0x1533, driver="igb")

    def show(self):
        """Makes this the tree that programs started from now on see; conceal() ends it."""
        # What was killed has left its monitor's socket.
        for path in glob.glob(os.path.join(self.root, "event[0-9]*")):
            os.unlink(path)

    def conceal(self):
        """See show()."""

    def environment(self):
        return {"LD_PRELOAD": PRELOAD, "UMOCKDEV_DIR": self.root, "VFWARDEN_PROC": self.host.path}

    @property
    def monitor(self):
        """The arguments of uevent-time."""
        return self.root


class MountedTree(Tree):
    """A fake sysfs, mounted, with events by the kernel."""

    monitor = "kernel"

    def show(self):
        path = os.path.join(self.root, "sys")
        if _libc.mount(os.fsencode(path), b"/sys", None, MS_BIND, None) != 0:
            raise OSError(ctypes.get_errno(), "mount on /sys")

    def conceal(self):
        if _libc.umount2(b"/sys", MNT_DETACH) != 0:
            raise OSError(ctypes.get_errno(), "umount /sys")

    def environment(self):
        # libudev insists on a file system of type sysfs otherwise.
        return {"SYSTEMD_DEVICE_VERIFY_SYSFS": "0", "VFWARDEN_PROC": self.host.path}

    def uevent(self, action, devpath, subsystem="pci", **properties):
        lines = [f"{action}@{devpath}", f"ACTION={action}", f"DEVPATH={devpath}",
                 f"SUBSYSTEM={subsystem}"]
        lines += [f"{key}={value}" for key, value in properties.items()]
        body = b"".join(line.encode() + b"\0" for line in lines)
        # uevent_net_rcv() in lib/kobject_uevent.c adds the number and broadcasts it.
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT) as sender:
            header = struct.pack("=IHHII", 16 + len(body), 0x10, 1, 0, 0)
            sender.sendto(header + body, (0, 0))


WORLDS = {"umockdev": Tree, "mounted": MountedTree}
