"""Functions on vfio-pci, their users, and opening one in the scenario's own process."""

import fcntl
import os
import struct

import vfwarden_bus as vb

from guest import pci
from guest.check import contains, equal, raises
from guest.holder import Holder
from guest.pci import IGB, Function

# <linux/vfio.h>: _IO(';', 100 + N)
GROUP_GET_DEVICE_FD = 0x3b6a
GROUP_SET_CONTAINER = 0x3b68
SET_IOMMU = 0x3b66
GET_REGION_INFO = 0x3b6c
SET_IRQS = 0x3b6e
REGION_INFO = struct.Struct("=IIIIQQ")
REGION_CAN_BE_MAPPED = 4
TYPE1V2_IOMMU = 3
# struct vfio_irq_set: argsz, flags, index, start, count, and an eventfd
IRQ_SET = struct.Struct("=IIIIIi")
DATA_EVENTFD_ACTION_TRIGGER, MSIX_INDEX = 0x24, 2


def igb_vfs(machine, count=1):
    """VFs of igb, bound to vfio-pci and free."""
    pci.load_driver("igbvf")    # else udev does so, and it probes the VFs while they are taken from it
    IGB.set_num_vfs(count)
    vfs = [Function(address) for address in IGB.vfs()]
    for vf in vfs:
        vf.bind("vfio-pci")
    for vf in vfs:
        machine.wait_property(vf, "Driver", "vfio-pci")
        equal(machine.property(vf, "InUse"), False, f"InUse of {vf} at first")
    return vfs


def users(machine, function=None):
    """Rows of ListUsers, of one function or all, as (pid, uid, command, unit)."""
    rows = machine.client.manager("ListUsers")
    return [tuple(row[1:]) for row in rows if function is None or row[0] == function.address]


def pids(machine, function):
    return [row[0] for row in users(machine, function)]


def wait_users(machine, function, expected):
    """`expected` pids, in the order of numbers; InUse says the same."""
    machine.wait_property(function, "InUse", bool(expected))
    # Who it is may change without a change of InUse, of which alone signals tell.
    vb.wait_until(lambda: pids(machine, function) == sorted(expected), None,
                  lambda: f"the users of {function} to be {sorted(expected)}, are {pids(machine, function)}")


def wait_free(machine, function):
    """Until nobody has it who may have had it up to now."""
    machine.fence()     # whoever has it is heard of
    machine.wait_property(function, "InUse", False)


def root_reads(machine, function):
    """What root's own VFIO program reads at the beginning of BAR 0."""
    if not os.path.exists(group_node(function)):
        return root_reads_by_node(machine, function)
    one = Holder(machine, "--io", function)
    wait_users(machine, function, [one.pid])
    value = machine.wait(lambda: one.order("io", r"io (\d+) ([0-9a-f]{8})"), "a read of the holder")[2]
    one.end()
    wait_users(machine, function, [])
    return int(value, 16).to_bytes(4, "little")


def root_reads_by_node(machine, function):
    from guest.device_client import DeviceClient    # which needs this module
    one = DeviceClient(machine, "root")
    one.open_node(function)
    one.bind()
    wait_users(machine, function, [one.pid])
    value = one.read()
    one.kill()
    wait_users(machine, function, [])
    return value


def check_refused(call, who, words=()):
    """A guarded operation is refused, and the reason names the process."""
    error = raises(vb.BusError, call.result, call.what)
    equal(error.name, vb.REFUSED, f"the error of {call.what} ({error.message})")
    for word in (f"pid {who.pid}", who.command, *words):
        contains(error.message, word, f"the text of the error of {call.what}")


def region_info(device, index):
    """(flags, place in the device's descriptor) of a region."""
    info = bytearray(REGION_INFO.pack(REGION_INFO.size, 0, index, 0, 0, 0))
    fcntl.ioctl(device, GET_REGION_INFO, info)
    _, flags, _, _, _, place = REGION_INFO.unpack(info)
    return flags, place


def region_place(device, index):
    return region_info(device, index)[1]


def group_node(function):
    return f"/dev/vfio/{pci.link(function.path('iommu_group'))}"


def device_node(function):
    """The function's own, where the kernel has character devices."""
    name, = os.listdir(function.path("vfio-dev"))
    return f"/dev/vfio/devices/{name}"


def open_device(group, address, token=None):
    """Attaches a group to a container of its own and opens a device of it. Returns both descriptors."""
    name = f"{address} vf_token={token}" if token else address
    container = os.open("/dev/vfio/vfio", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(group, GROUP_SET_CONTAINER, struct.pack("i", container))
        fcntl.ioctl(container, SET_IOMMU, TYPE1V2_IOMMU)
        # Of an array that can be changed, for only then its result is reported.
        return container, fcntl.ioctl(group, GROUP_GET_DEVICE_FD, bytearray(name.encode() + b"\0"))
    except OSError:
        os.close(container)
        raise


class Opening:
    """A function open through VFIO in this process, from here until close(); `node` is its group's, `token` its VF token."""

    command = "python3"

    def __init__(self, function, device=True, node=None, token=None):
        self.pid = os.getpid()
        self.container = self.device = -1
        self.group = os.open(node or group_node(function), os.O_RDWR | os.O_CLOEXEC)
        if not device:
            return
        try:
            self.container, self.device = open_device(self.group, function.address, token)
        except OSError:
            os.close(self.group)
            raise

    def allocate_msi(self):
        """What a VMM does when its guest's driver enables MSI-X."""
        event = os.eventfd(0)
        fcntl.ioctl(self.device, SET_IRQS, IRQ_SET.pack(IRQ_SET.size, DATA_EVENTFD_ACTION_TRIGGER, MSIX_INDEX, 0, 1, event))
        os.close(event)     # the kernel has it

    def close(self):
        """As the kernel does it at a process's end: the lowest descriptor first."""
        for descriptor in sorted({self.group, self.container, self.device} - {-1}):
            os.close(descriptor)
