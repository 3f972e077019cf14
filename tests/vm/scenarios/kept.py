"""What a yes is worth, and what off means, with the systemd that there is."""

import os
import signal

import vfwarden_bus as vb

from guest import service
from guest.check import contains, equal, true
from guest.pci import IGB, KERNEL_MODES, NVME, SRIOV
from guest.registry import scenario

ALL = tuple(KERNEL_MODES)
USERSPACE = ["userspace-driver"]


def inhibitors(machine):
    return [row[2] for row in machine.client.manager("ListInhibitors")]


def failure(call):
    """The message of a call that must fail with Failed."""
    try:
        call()
    except vb.BusError as error:
        equal(error.name, vb.FAILED, f"the error ({error.message})")
        return error.message
    raise AssertionError("the call was answered with yes")


@scenario("systemd keeps two descriptors: a third inhibitor is refused, and the two outlive a crash")
def full_store(machine):
    machine.stop_daemon()
    machine.daemon.drop_in("FileDescriptorStoreMax=2\n")
    machine.start_daemon()
    fds = [machine.client.inhibit(NVME.address, "reset", f"number {i}") for i in range(2)]
    contains(failure(lambda: machine.client.inhibit(NVME.address, "reset", "number 2")), "FileDescriptorStoreMax=",
             "the refusal")
    machine.wait(lambda: machine.daemon.property("NFileDescriptorStore") == "2", "two descriptors in the store")
    for _ in range(2):
        machine.daemon.kill(signal.SIGKILL)
        machine.wait_daemon(False)
        machine.wait_daemon(True)
        machine.connect()
        equal(inhibitors(machine), ["number 0", "number 1"], "the inhibitors")
        # Those of before count.
        failure(lambda: machine.client.inhibit(NVME.address, "reset", "number 2"))
    os.close(fds.pop())
    machine.wait(lambda: inhibitors(machine) == ["number 0"], "the inhibitor's end")
    fds.append(machine.client.inhibit(NVME.address, "reset", "another"))
    for fd in fds:
        os.close(fd)
    machine.wait(lambda: inhibitors(machine) == [], "the inhibitors' end")
    equal([entry["MESSAGE"] for entry in machine.journal.entries() if "Cannot store more fds" in entry.get("MESSAGE", "")],
          [], "what systemd says of its store")


def on_a_disk_that(machine, spoil, mend, reason):
    """The daemon with its state on a small file system; `spoil` makes that refuse what is written."""
    machine.expect_errors()
    machine.stop_daemon()
    machine.run("mount", "-t", "tmpfs", "-o", "size=128k,mode=755", "small", str(service.STATE))
    try:
        machine.start_daemon()
        before = IGB.all_modes()
        spoil()
        for call in (lambda: machine.client.lock(IGB.address), lambda: machine.client.inhibit(IGB.address, "reset"),
                     lambda: machine.client.manager("ReleaseAll")):
            contains(failure(call), f"in {service.STATE}: {reason}", "the refusal")
        equal(IGB.all_modes(), before, "the modes")
        equal(inhibitors(machine), [], "the inhibitors")
        # What nobody asked for is locked all the same, and shown.
        NVME.bind("vfio-pci")
        machine.check_locked(NVME, USERSPACE, SRIOV)
        contains(machine.run("vfwarden", "status").stdout, f"Failed to save the state in {service.STATE}: {reason}",
                 "what vfwarden status says")
        mend()
        machine.wait(lambda: "Failed" not in machine.run("vfwarden", "status").stdout, "the state to be saved", 30)
        machine.client.lock(IGB.address)
        machine.daemon.kill(signal.SIGKILL)
        machine.wait_daemon(False)
        machine.wait_daemon(True)
        machine.connect()
        machine.check_locked(IGB, ["administrator"], ALL)
    finally:
        mend()
        machine.stop_daemon()
        machine.run("umount", str(service.STATE))
    for name in ALL:
        IGB.chmod(name, KERNEL_MODES[name])
    machine.start_daemon()


@scenario("/run is full: nothing is confirmed that a crash would undo")
def full_run(machine):
    ballast = service.STATE / "ballast"

    def fill():
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    on_a_disk_that(machine, fill, lambda: ballast.unlink(missing_ok=True), "No space left on device")


@scenario("/run is read-only: likewise")
def read_only_run(machine):
    def remount(how):
        machine.run("mount", "-o", f"remount,{how}", str(service.STATE))

    on_a_disk_that(machine, lambda: remount("ro"), lambda: remount("rw"), "Read-only file system")


@scenario("a stopped daemon stays stopped, whatever client calls")
def stopped(machine):
    IGB.bind("vfio-pci")
    machine.check_locked(IGB, USERSPACE, SRIOV)
    machine.stop_daemon()
    equal(machine.client.bus.name_owner(), None, "the owner of the bus name")
    for verb in ("list", "status", "users"):
        result = machine.run_as("visitor", "vfwarden", verb, check=False)
        equal(result.returncode, 5, f"the status of `vfwarden {verb}`")
        contains(result.stdout, '"systemctl start vfwardend" starts it', f"what `vfwarden {verb}` says")
    result = machine.run_as("visitor", "busctl", "call", vb.NAME, vb.ROOT, vb.MANAGER, "Describe", check=False)
    true(result.returncode != 0, "a call of a visitor's fails")
    equal(machine.daemon.property("ActiveState"), "inactive", "the unit's state")
    IGB.check_closed(*SRIOV)
    machine.start_daemon()
    machine.check_locked(IGB, USERSPACE, SRIOV)


@scenario("after release-all a crash and a watchdog's restart close nothing; a restart by somebody does")
def released(machine):
    machine.stop_daemon()
    machine.daemon.drop_in("WatchdogSec=3s\nTimeoutAbortSec=1s\nLimitCORE=0\n")
    machine.start_daemon()
    NVME.bind("vfio-pci")
    machine.check_locked(NVME, USERSPACE, SRIOV)
    machine.run("vfwarden", "release-all")
    for number in (signal.SIGKILL, signal.SIGSTOP):
        machine.daemon.kill(number)
        machine.wait_daemon(False)
        machine.wait_daemon(True)
        machine.connect()
        machine.check_locked(NVME, USERSPACE, [])
        equal(machine.client.manager_property("Enforcement"), "advise", "Enforcement")
        contains(machine.run("vfwarden", "status").stdout, "release-all", "what vfwarden status says")
    true(int(machine.daemon.property("NRestarts")) >= 2, "systemd restarted it")
    service.systemctl("restart", service.UNIT)
    machine.connect()
    machine.check_locked(NVME, USERSPACE, SRIOV)
    # A crash that ended it for good, and a start by somebody.
    machine.run("vfwarden", "release-all")
    machine.stop_daemon()
    machine.daemon.drop_in("Restart=no\n")
    machine.start_daemon()
    machine.run("vfwarden", "release-all")
    machine.daemon.kill(signal.SIGKILL)
    machine.wait_daemon(False)
    NVME.check_closed()
    service.systemctl("reset-failed", service.UNIT)
    machine.start_daemon()
    machine.check_locked(NVME, USERSPACE, SRIOV)
