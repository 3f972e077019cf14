"""vfwarden-io on real functions: what a session reads is what root reads through VFIO itself."""

import contextlib
import errno
import fcntl
import os
import pwd
import socket
import struct
import subprocess

from guest.check import equal, raises, true
from guest.pci import IGB, NVME, PLAIN, Function
from guest.registry import scenario
import vfio_user

PROGRAM = "/usr/libexec/vfwarden-io"
DEADLINE = 60
READY, CLOSED, END = 1, 3, 6    # daemon/io/control.h

# linux/vfio.h: _IO(';', 100 + n)
SET_IOMMU, SET_CONTAINER, GET_DEVICE_FD, GET_REGION_INFO = (0x3b64 + n for n in (2, 4, 6, 8))
TYPE1 = 1
REGION_INFO = struct.Struct("=IIIIQQ")


class VfioDevice:
    """A function that root has open by the group API."""

    def __init__(self, function):
        group = os.path.basename(os.readlink(f"/sys/bus/pci/devices/{function.address}/iommu_group"))
        self.fds = [os.open("/dev/vfio/vfio", os.O_RDWR), os.open(f"/dev/vfio/{group}", os.O_RDWR)]
        fcntl.ioctl(self.fds[1], SET_CONTAINER, struct.pack("=i", self.fds[0]))
        fcntl.ioctl(self.fds[0], SET_IOMMU, TYPE1)
        self.fd = fcntl.ioctl(self.fds[1], GET_DEVICE_FD, bytearray(function.address.encode() + b"\0"))
        self.fds.insert(0, self.fd)

    def region(self, index):
        """(size, place)"""
        info = bytearray(REGION_INFO.pack(REGION_INFO.size, 0, index, 0, 0, 0))
        fcntl.ioctl(self.fd, GET_REGION_INFO, info)
        return REGION_INFO.unpack(info)[4:6]

    def read(self, index, offset, size):
        return os.pread(self.fd, size, self.region(index)[1] + offset)

    def close(self):
        for fd in self.fds:
            os.close(fd)


class Session:
    """A vfwarden-io as the daemon's user, and its client."""

    def __init__(self, device):
        ours, client = socket.socketpair()
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        user = pwd.getpwnam("vfwarden")
        self.process = subprocess.Popen(
            [PROGRAM, f"--device={device.fd}", f"--client={client.fileno()}", f"--control={control.fileno()}"],
            pass_fds=[device.fd, client.fileno(), control.fileno()], user=user.pw_uid, group=user.pw_gid,
            extra_groups=[])
        client.close()
        control.close()
        ours.settimeout(DEADLINE)
        self.control.settimeout(DEADLINE)
        self.client = vfio_user.Client(ours)
        self.ready = self.report()

    def report(self):
        """(kind, error)"""
        return struct.unpack("=Ii", self.control.recv(4096)[:8])

    def close(self):
        self.client.close()
        equal(self.report(), (CLOSED, 0), "the last report")
        equal(self.process.wait(DEADLINE), 0, "the exit")
        self.control.close()


@contextlib.contextmanager
def session(machine, function):
    function.bind("vfio-pci")
    machine.wait_property(function, "Driver", "vfio-pci")
    device = VfioDevice(function)
    try:
        io = Session(device)
        equal(io.ready, (READY, 0), "the first report")
        io.client.version()
        yield device, io
        io.close()
    finally:
        device.close()


def refused(error, what, call, *arguments):
    equal(raises(vfio_user.ErrorReply, lambda: call(*arguments), what).errno, error, f"the error of {what}")


def compare(device, client):
    """All that can be read by both, and is not changed by reading it."""
    config = client.region_info(vfio_user.CONFIG)[0]
    equal(config, device.region(7)[0], "the size of configuration space")
    equal(client.read(vfio_user.CONFIG, 0, 256), device.read(7, 0, 256), "configuration space")
    for index in range(6):
        equal(client.region_info(index)[0], device.region(index)[0], f"the size of BAR {index}")


@scenario("a session with NVMe: root's registers, no splitting, no MSI-X table, ENODEV at the end")
def nvme(machine):
    # Its VFs answer with zeroes until the PF has put them online.
    with session(machine, NVME) as (device, io):
        client = io.client
        compare(device, client)
        # CAP and VS, which tell what the controller can do.
        for offset, size in ((0, 8), (0, 4), (4, 4), (8, 4)):
            value = client.read(0, offset, size)
            equal(value, device.read(0, offset, size), f"{size} bytes at {offset}")
            true(value.strip(b"\0\xff"), f"something at {offset}")
        # INTMS and INTMC: what is set by one is cleared by the other, and read by root.
        client.write(0, 0x0c, b"\1\0\0\0")
        equal(device.read(0, 0x0c, 4), client.read(0, 0x0c, 4), "INTMS as both read it")
        for offset, size in ((0, 16), (1, 2), (4, 8), (0, 3)):
            refused(errno.EINVAL, "what would be split", client.read, 0, offset, size)
            refused(errno.EINVAL, "what would be split", client.write, 0, offset, bytes(size))
        position = client.read(vfio_user.CONFIG, 0x34, 1)[0]
        while client.read(vfio_user.CONFIG, position, 1)[0] != 0x11:
            position = client.read(vfio_user.CONFIG, position + 1, 1)[0]
        table, = struct.unpack("<I", client.read(vfio_user.CONFIG, position + 4, 4))
        refused(errno.EINVAL, "the MSI-X table", client.read, table & 7, table & ~7, 4)

        io.control.send(struct.pack("=I", END))
        equal(io.report(), (END, 0), "the report of the end")
        refused(errno.ENODEV, "a load after the end", client.read, 0, 0, 8)
        held = os.listdir(f"/proc/{io.process.pid}/fd")
        names = [os.readlink(f"/proc/{io.process.pid}/fd/{fd}") for fd in held]
        true(not [name for name in names if "vfio" in name], f"the device is closed: {names}")


@scenario("sessions with igb's VF and with e1000e: root's registers")
def network(machine):
    IGB.set_num_vfs(1)
    with session(machine, Function(IGB.vfs()[0])) as (device, io):
        compare(device, io.client)
        # STATUS of the VF.
        equal(io.client.read(0, 8, 4), device.read(0, 8, 4), "STATUS")
    with session(machine, PLAIN) as (device, io):
        compare(device, io.client)
        # CTRL, STATUS, and the MAC address, RAL and RAH.
        for offset in (0, 8, 0x5400, 0x5404):
            equal(io.client.read(0, offset, 4), device.read(0, offset, 4), f"the register at {offset:#x}")
        true(io.client.read(0, 0x5400, 4).strip(b"\0"), "a MAC address")
