"""What the host does with functions by device nodes and by mapped BARs."""

import os

from guest import service
from guest.check import contains, equal
from guest.pci import NVME, PLAIN, Function
from guest.registry import scenario

from scenarios.uses import map_bar, refused, uses, wait_uses


def function_of(link):
    """The PCI function that a device in sysfs belongs to."""
    return Function([part for part in os.path.realpath(link).split("/") if part.count(":") == 2][-1])



@scenario("a BAR that is mapped and whose file is closed, a disk that is open or below a loop device, and a controller's node: "
          "refused; another node: a warning", deadline=150)
def nodes(machine):
    PLAIN.bind("uio_pci_generic")       # the native driver has its BARs for itself (iomem_is_exclusive())
    machine.wait_property(PLAIN, "Driver", "uio_pci_generic")
    program = map_bar(machine, PLAIN)
    words = f"its BAR resource0 is mapped by python3 (pid {program.pid})"
    wait_uses(machine, PLAIN, words)    # the open and the close are told
    for verb in ("unbind", "reset", "unplug"):
        contains(refused(machine, verb, PLAIN.address), words, f"why {verb} is refused")
    program.stdin.close()
    program.wait()
    machine.wait(lambda: not any("mapped" in text for text in uses(machine, PLAIN)), "the mapping to be gone")
    machine.run("vfwarden", "unbind", PLAIN.address)

    node = os.open("/dev/nvme0", os.O_RDONLY)
    try:
        contains(refused(machine, "unbind", NVME.address), f"its storage device nvme0 is open in python3 (pid {os.getpid()})",
                 "why the controller's unbind is refused")
    finally:
        os.close(node)
    machine.wait(lambda: not uses(machine, NVME), "the node to be closed")
    machine.run("vfwarden", "unbind", NVME.address)

    disk = function_of("/sys/class/block/vda")
    file = os.open("/dev/vda", os.O_RDONLY)
    loop = service.run("losetup", "--read-only", "--find", "--show", "/dev/vda").stdout.strip()
    machine.closers.append(lambda: service.run("losetup", "--detach", loop, check=False))
    try:
        refused(machine, "unbind", disk.address)    # it has the daemon look
        wait_uses(machine, disk, f"its block device vda is open in python3 (pid {os.getpid()})",
                  f"its block device vda is part of the loop device {os.path.basename(loop)}")
    finally:
        os.close(file)

    channels = function_of("/sys/class/virtio-ports/vport1p1")
    told = machine.run("vfwarden", "why", channels.address, "unbind", check=False).stdout
    contains(told, "is open in", "the warning of a channel that the machine's runner has open")
