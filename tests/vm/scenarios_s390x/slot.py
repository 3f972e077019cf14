"""A slot's power switched by hand: refused while locked; what comes back is another device."""

import os

from guest import pci, service
from guest.check import contains, equal, raises, true
from guest.holder import Holder
from guest.pci import ZNVME, ZRNG
from guest.registry import scenario

CLOSABLE = ("remove", "reset", "reset_method", "recover", "power")


def power_path(function):
    """Outlives the function."""
    return function.path("power")


def switch(function, value):
    pci.write(power_path(function), value)


def bind_vfio(machine, function):
    function.bind("vfio-pci")
    machine.wait_property(function, "Driver", "vfio-pci")
    machine.wait_property(function, "DriverOverride", "vfio-pci")


def write_in_child(descriptor):
    """Switches off. It blocks in the kernel until the user has released it: not for the scenario to do."""
    writer = os.fork()
    if writer == 0:
        os.write(descriptor, b"0\n")
        os._exit(0)
    os.close(descriptor)  # whoever has it open might be the writer
    return writer


@scenario("a lock closes the power of the function's own slot, for root too, and of no other")
def lock(machine):
    machine.client.lock(ZNVME.address, "firmware update")
    machine.check_locked(ZNVME, ["administrator"], (*CLOSABLE, "reset_controller"))
    machine.check_locked(ZRNG, [], [])
    mark = machine.mark()
    os.chmod(power_path(ZNVME), 0o644)
    told = machine.client.recorder.wait_for("Violation", mark=mark).args
    equal(told, (ZNVME.address, "power-off", {"file": "power", "mode": 0o644, "reasons": ["administrator"]}),
          "the signal")
    machine.check_locked(ZNVME, ["administrator"], (*CLOSABLE, "reset_controller"))
    machine.client.unlock(ZNVME.address)
    machine.check_locked(ZNVME, [], [])


@scenario("power 0: the function goes, its slot stays; power 1: a new device, whose lost driver_override is reported")
def off_and_on(machine):
    bind_vfio(machine, ZNVME)
    inode = os.stat(ZNVME.directory).st_ino
    power = power_path(ZNVME)
    switch(ZNVME, "0")
    machine.wait_function(ZNVME, there=False)
    equal((ZNVME.exists(), pci.read(power)), (False, "0"), "the function and its slot's power")
    equal(machine.violations(), [], "violations: nobody had locked it")

    pci.write(power, "1")
    machine.wait_property(ZNVME, "Driver", "nvme")
    true(os.stat(ZNVME.directory).st_ino != inode, "it is a device made anew")
    equal(ZNVME.read("driver_override"), "(null)", "its driver_override in sysfs")
    equal(machine.property(ZNVME, "DriverOverride"), "", "its DriverOverride")
    entry, = machine.journal.of_daemon(MESSAGE_ID=service.OVERRIDE_LOST)
    equal(entry["VFWARDEN_ADDRESS"], ZNVME.address, "the function that the journal tells of")
    contains(entry["MESSAGE"], "vfio-pci", "what the journal says")
    machine.check_locked(ZNVME, [], [])

    # What had none has lost none.
    switch(ZNVME, "0")
    machine.wait_function(ZNVME, there=False)
    pci.write(power, "1")
    machine.wait_property(ZNVME, "Driver", "nvme")
    equal(len(machine.journal.messages(service.OVERRIDE_LOST)), 1, "how often it was said")


@scenario("power 0 through a descriptor opened before the lock: the user is notified, and releases it; then it is off",
          deadline=150)
def behind_our_back(machine):
    bind_vfio(machine, ZNVME)
    power = power_path(ZNVME)
    descriptor = os.open(power, os.O_WRONLY)
    holder = Holder(machine, "--unplug=200", ZNVME)
    machine.wait_property(ZNVME, "InUse", True)
    machine.check_locked(ZNVME, ["in-use"], CLOSABLE)
    writer = write_in_child(descriptor)
    holder.wait_line(rf"unplug {ZNVME.address} \d+")
    equal(os.waitpid(writer, 0)[1], 0, "how the writer ended")
    machine.wait_function(ZNVME, there=False)
    # Only their write opens are refused: the slot is there, and can be switched on again when nobody minds.
    equal((pci.read(power), pci.mode(power)), ("0", 0o644), "the slot's power, and the mode of the file")
    pci.write(power, "1")
    machine.wait_property(ZNVME, "Driver", "nvme")
    machine.check_locked(ZNVME, [], [])


@scenario("the same with a stubborn holder: who writes is named, all else goes on; off when the holder ends",
          deadline=150)
def behind_our_back_stubborn(machine):
    bind_vfio(machine, ZNVME)
    power = power_path(ZNVME)
    descriptor = os.open(power, os.O_WRONLY)
    holder = Holder(machine, "--request=ignore", ZNVME)
    machine.wait_property(ZNVME, "InUse", True)
    machine.check_locked(ZNVME, ["in-use"], CLOSABLE)
    writer = write_in_child(descriptor)
    holder.wait_line(f"request {ZNVME.address}")
    machine.wait(lambda: writer in [blocker[3] for blocker in machine.client.check(ZNVME.address, "unbind")[1]],
                 lambda: f"the writer {writer} to be named, is {machine.client.check(ZNVME.address, 'unbind')}")
    machine.client.lock(ZRNG.address)
    machine.check_locked(ZRNG, ["administrator"], CLOSABLE)
    machine.client.unlock(ZRNG.address)
    machine.check_locked(ZRNG, [], [])
    equal((os.waitpid(writer, os.WNOHANG)[0], ZNVME.exists(), pci.read(power)), (0, True, "1"),
          "the writer, the function and its slot's power, until the holder releases it")
    holder.kill()
    equal(os.waitpid(writer, 0)[1], 0, "how the writer ended")
    machine.wait_function(ZNVME, there=False)
    equal((pci.read(power), pci.mode(power)), ("0", 0o644), "the slot's power, and the mode of the file")


@scenario("`recover`: refused while the function is in use; by a descriptor of before, who writes is named",
          deadline=150)
def recover(machine):
    bind_vfio(machine, ZNVME)
    inode = os.stat(ZNVME.directory).st_ino
    descriptor = os.open(ZNVME.path("recover"), os.O_WRONLY)
    holder = Holder(machine, "--request=ignore", ZNVME)
    machine.wait_property(ZNVME, "InUse", True)
    machine.check_locked(ZNVME, ["in-use"], CLOSABLE)
    raises(PermissionError, lambda: ZNVME.write("recover", "1"), "recover of a function in use")
    writer = write_in_child(descriptor)
    holder.wait_line(f"request {ZNVME.address}")
    machine.wait(lambda: writer in [blocker[3] for blocker in machine.client.check(ZNVME.address, "unbind")[1]],
                 lambda: f"the writer {writer} to be named, is {machine.client.check(ZNVME.address, 'unbind')}")
    equal((os.waitpid(writer, os.WNOHANG)[0], os.stat(ZNVME.directory).st_ino), (0, inode),
          "the writer and the device, until the holder releases it")
    holder.kill()
    equal(os.waitpid(writer, 0)[1], 0, "how the writer ended")
    machine.wait_property(ZNVME, "Driver", "nvme")
    true(os.stat(ZNVME.directory).st_ino != inode, "it is a device made anew")
    machine.check_locked(ZNVME, [], [])


@scenario("QEMU takes the function and its slot, and brings both back")
def from_outside(machine):
    count = machine.client.manager_property("FunctionCount")
    machine.client.lock(ZRNG.address)
    machine.wait_property(ZRNG, "Locked", True)
    machine.unplug(ZRNG)
    machine.wait_function(ZRNG, there=False)
    equal(ZRNG.slot(), None, "its slot")
    equal(machine.client.manager_property("FunctionCount"), count - 1, "FunctionCount")
    equal(machine.daemon.state()["files"], [], "what is kept of it")
    machine.plug(ZRNG)
    machine.wait_property(ZRNG, "Driver", "virtio-pci")
    machine.check_locked(ZRNG, [], [])
    equal(machine.violations(), [], "violations")
