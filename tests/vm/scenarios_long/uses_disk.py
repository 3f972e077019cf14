"""A disk that the host uses where it is hard to see: mounted in another mount namespace, unmounted lazily, or called by a link."""

import os
import subprocess

from guest import pci, service
from guest.check import contains, equal
from guest.pci import FOURTH
from guest.registry import scenario

from scenarios.uses import refused

CONFIGFS = "/sys/kernel/config"


def wait_disk(machine):
    machine.outside("qmp", command="device_add",
                    arguments={"driver": "virtio-blk-pci", "id": "spare0", "bus": "port4", "drive": "spare"})
    machine.wait_property(FOURTH, "Driver", "virtio-pci", 30)
    machine.wait(lambda: machine.property(FOURTH, "BlockDevices"), "the name of its disk")
    name, = machine.property(FOURTH, "BlockDevices")
    service.run("udevadm", "settle")
    return name


@scenario("a disk that is mounted where the host does not see it, or is called by a link", deadline=240)
def disk(machine):
    name = wait_disk(machine)

    def unplug():
        machine.outside("qmp", command="device_del", arguments={"id": "spare0"})
        machine.wait_function(FOURTH, there=False, seconds=30)
    machine.closers.append(unplug)
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", f"mount /dev/{name} /mnt && echo mounted && cat"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as container_:
        machine.closers.append(container_.kill)
        equal(container_.stdout.readline(), b"mounted\n", "the container")
        contains(refused(machine, "reset", FOURTH.address), f"its block device {name} is mounted on /mnt", "mounted there")
    service.run("mount", f"/dev/{name}", "/mnt")
    with open("/mnt/etc/hostname", encoding="utf-8"):
        service.run("umount", "--lazy", "/mnt")
        contains(refused(machine, "reset", FOURTH.address), "is mounted on a place that cannot be seen", "unmounted lazily")
    pci.load_driver("nvmet")
    service.run("mount", "-t", "configfs", "none", CONFIGFS)
    machine.closers.append(lambda: service.run("umount", CONFIGFS))
    subsystem = f"{CONFIGFS}/nvmet/subsystems/disks"
    os.makedirs(f"{subsystem}/namespaces/1")
    try:
        for path in (f"/dev/disk/by-diskseq/{pci.read(f'/sys/class/block/{name}/diskseq')}", "/root/disk"):
            if not os.path.exists(path):
                os.symlink(f"/dev/{name}", path)
            pci.write(f"{subsystem}/namespaces/1/device_path", path)
            pci.write(f"{subsystem}/namespaces/1/enable", "1")
            contains(refused(machine, "reset", FOURTH.address), f"its block device {name} is part of the NVMe target disks", path)
            pci.write(f"{subsystem}/namespaces/1/enable", "0")
    finally:
        os.rmdir(f"{subsystem}/namespaces/1")
        os.rmdir(subsystem)
    machine.run("vfwarden", "unbind", FOURTH.address)
