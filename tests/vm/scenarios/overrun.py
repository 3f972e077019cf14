"""More events than the daemon's buffer takes."""

import os
import signal

import vfwarden_bus as vb

from guest import pci, service
from guest.check import equal
from guest.pci import IGB, NVME, PLAIN, Function
from guest.registry import scenario

BUFFER = 32 * 1024
# Each takes more than 1 KiB of the buffer, which the kernel doubles.
EVENTS = 400


def flood():
    """Events that say nothing new, of all functions in turn."""
    files = [os.open(f"{pci.DEVICES}/{address}/uevent", os.O_WRONLY) for address in pci.addresses()]
    for number in range(EVENTS):
        os.pwrite(files[number % len(files)], b"change", 0)
    for file in files:
        os.close(file)


@scenario("events are lost while the daemon is stopped: one rescan, the right picture and the right signals",
          deadline=150)
def overrun(machine):
    machine.stop_daemon()
    machine.daemon.drop_in(service.exec_start(f"--receive-buffer={BUFFER}"))
    machine.start_daemon()
    NVME.write("sriov_drivers_autoprobe", "0")
    IGB.set_num_vfs(2)
    machine.wait_property(IGB, "NumVFs", 2)
    old = [Function(address) for address in IGB.vfs()]
    for vf in old:
        machine.wait_property(vf, "Driver", "igbvf")
    machine.fence()
    before = set(machine.client.list_functions())

    mark = machine.mark()
    machine.daemon.kill(signal.SIGSTOP)
    flood()
    # All of this finds the buffer full: a PF loses its VFs, another gets some, a third its driver.
    IGB.set_num_vfs(0)
    NVME.set_num_vfs(3)
    new = [Function(address) for address in NVME.vfs()]
    PLAIN.bind("vfio-pci")
    flood()
    machine.daemon.kill(signal.SIGCONT)

    for vf in old:
        machine.wait_function(vf, there=False)
    for vf in new:
        machine.wait_property(vf, "Kind", "vf")
    machine.wait_property(IGB, "NumVFs", 0)
    machine.wait_property(NVME, "NumVFs", 3)
    machine.wait_property(PLAIN, "Driver", "vfio-pci")
    machine.fence()
    equal(machine.picture.compare(), [], "differences between what was told and what is")
    equal(sorted(machine.client.list_functions()), pci.addresses(), "the functions")
    added = {signal.args[0] for signal in machine.client.recorder.since(mark, "InterfacesAdded")}
    removed = {signal.args[0] for signal in machine.client.recorder.since(mark, "InterfacesRemoved")}
    path = vb.function_path
    equal(added, {path(vf.address) for vf in new}, "the objects that were announced")
    equal(removed, {path(vf.address) for vf in old}, "the objects that were removed")
    equal(set(machine.client.list_functions()) - before, {vf.address for vf in new}, "what is new")
    entries = machine.journal.messages(service.OVERRUN)
    equal(len(entries), 1, "journal entries about lost events")
