"""Violations of a lock are undone where possible, and reported in any case."""

import os
import time

import pace

from guest import pci, service
from guest.check import contains, equal, true
from guest.pci import IGB, KERNEL_MODES, SRIOV
from guest.registry import scenario

# A bit that somebody restored is gone again within so many seconds on hardware.
AGAIN = 0.1


@scenario("root restores the bit: closed again at once, told to an unprivileged listener and the journal")
def restored_bit(machine):
    IGB.bind("vfio-pci")
    machine.check_locked(IGB, ["userspace-driver"], SRIOV)
    visitor = machine.person("visitor")
    path = IGB.path("sriov_numvfs")
    watch = machine.attributes(path)
    times = []
    for round in range(3):
        mark = machine.mark()
        seen = len(watch.changes)
        started = time.monotonic()
        IGB.chmod("sriov_numvfs", 0o644)
        machine.wait(lambda: len(watch.changes) > seen and watch.changes[-1][1] == 0o444,
                     "the bit to be taken again")
        times.append(watch.changes[-1][0] - started)
        told = machine.client.recorder.wait_for("Violation", mark=mark).args
        equal(told, (IGB.address, "set-num-vfs", {"file": "sriov_numvfs", "mode": 0o644,
                                                  "reasons": ["userspace-driver"]}), "the signal")
        equal(len(machine.violations(mark)), 1, f"the number of signals of round {round}")
    IGB.check_closed(*SRIOV)
    equal(visitor.wait_signal("Violation"),
          [IGB.address, "set-num-vfs",
           {"file": "sriov_numvfs", "mode": 0o644, "reasons": ["userspace-driver"]}],
          "what the visitor heard")
    entries = machine.journal.of_daemon(MESSAGE_ID=service.VIOLATION)
    equal(len(entries), 3, "the number of journal entries")
    equal(entries[0]["VFWARDEN_ADDRESS"], IGB.address, "the function that the entry is about")
    contains(entries[0]["MESSAGE"], "sriov_numvfs", "the journal entry")
    print("closed again after", ", ".join(f"{1000 * seconds:.0f} ms" for seconds in times))
    limit = pace.at_most(AGAIN)
    true(min(times) < limit, f"closed again within {limit} s, took {times}")


@scenario("every closed file is watched, the slot's power among them")
def every_file(machine):
    machine.client.lock(IGB.address)
    machine.check_locked(IGB, ["administrator"], tuple(KERNEL_MODES))
    operations = {"sriov_numvfs": "set-num-vfs", "sriov_drivers_autoprobe": "set-autoprobe", "remove": "remove",
                  "reset": "reset", "reset_method": "reset", "power": "power-off"}
    for name, operation in operations.items():
        mark = machine.mark()
        # Sooner than by the daemon's looking every 5 s.
        IGB.chmod(name, 0o200)
        told = machine.client.recorder.wait_for("Violation", mark=mark, deadline=pace.at_most(0.5)).args
        equal(told, (IGB.address, operation, {"file": name, "mode": 0o200, "reasons": ["administrator"]}),
              f"the signal for {name}")
        equal(pci.mode(IGB.path(name)) & 0o222, 0, f"the write bits of {name}")
    machine.client.unlock(IGB.address)
    machine.check_locked(IGB, [], [])


@scenario("a bit restored through another network namespace's sysfs is found by looking, within seconds")
def restored_elsewhere(machine):
    IGB.bind("vfio-pci")
    machine.check_locked(IGB, ["userspace-driver"], SRIOV)
    mark = machine.mark()
    machine.in_other_network_namespace(f"chmod 0664 {IGB.path('sriov_numvfs')}")
    # The daemon looks every 5 s.
    told = machine.client.recorder.wait_for("Violation", mark=mark).args
    equal(told[:2] + (told[2]["file"], told[2]["mode"]),
          (IGB.address, "set-num-vfs", "sriov_numvfs", 0o664), "the signal")
    IGB.check_closed(*SRIOV)
    equal(len(machine.violations(mark)), 1, "the number of signals")


@scenario("a descriptor opened before the lock still writes: told as a change of VFs, and the PF is tainted")
def descriptor_from_before(machine):
    pci.set_enable_sriov(True)
    descriptor = os.open(IGB.path("sriov_numvfs"), os.O_WRONLY)
    IGB.bind("vfio-pci")
    machine.check_locked(IGB, ["userspace-driver"], SRIOV)
    mark = machine.mark()
    os.write(descriptor, b"2\n")
    machine.wait_property(IGB, "NumVFs", 2)
    violations = machine.violations(mark)
    true(violations, "there was a Violation")
    counts = [0]
    for address, operation, details in violations:
        equal((address, operation, details["reasons"]), (IGB.address, "set-num-vfs", ["userspace-driver"]),
              "the signal")
        equal(details["num-vfs-before"], counts[-1], "the number of VFs before")
        counts.append(details["num-vfs"])
    equal(counts[-1], 2, "the last number of VFs that was told")
    equal(len(machine.journal.messages(service.VIOLATION)), len(violations), "the number of journal entries")
    equal(machine.property(IGB, "Tainted"), True, "whether it is tainted")
    os.pwrite(descriptor, b"0\n", 0)
    machine.wait_property(IGB, "NumVFs", 0)
    equal(machine.violations(mark)[-1][2]["num-vfs"], 0, "the last number of VFs that was told")
    os.close(descriptor)
    machine.check_locked(IGB, ["userspace-driver"], SRIOV)


@scenario("a write to VFs of a PF that igb drives and an administrator locked taints it")
def administrators_lock_passed(machine):
    descriptor = os.open(IGB.path("sriov_numvfs"), os.O_WRONLY)
    machine.client.lock(IGB.address)
    machine.check_locked(IGB, ["administrator"], tuple(KERNEL_MODES))
    equal(machine.property(IGB, "Tainted"), False, "whether it is tainted before")
    os.write(descriptor, b"1\n")
    os.close(descriptor)
    machine.wait_property(IGB, "NumVFs", 1)
    machine.wait_property(IGB, "Tainted", True)
    equal(machine.violations()[-1][2]["num-vfs"], 1, "the number of VFs that was told")


@scenario("a locked PF is unbound: igb and vfio-pci take their VFs along, and that is no violation")
def unbinding_is_none(machine):
    IGB.set_num_vfs(2)
    machine.wait_property(IGB, "NumVFs", 2)
    machine.client.lock(IGB.address)
    machine.check_locked(IGB, ["administrator"], tuple(KERNEL_MODES))
    IGB.unbind()
    machine.wait_property(IGB, "NumVFs", 0)
    machine.wait_property(IGB, "Driver", "")
    machine.client.unlock(IGB.address)

    machine.stop_daemon()
    pci.set_enable_sriov(True)
    IGB.bind("vfio-pci")
    IGB.set_num_vfs(2)
    machine.start_daemon()
    machine.check_locked(IGB, ["userspace-driver"], SRIOV)
    IGB.unbind()
    machine.wait_property(IGB, "NumVFs", 0)
    machine.check_locked(IGB, [], [])
    equal(machine.violations(), [], "violations")
    equal(machine.journal.messages(service.VIOLATION), [], "violations in the journal")
