"""Guarded operations: done when nothing stands against them, else refused with the reason, by the daemon and
by the files that root would write to instead."""

import errno
import os
import stat

import vfwarden_bus as vb

from guest import cleaning, pci
from guest.check import contains, equal, raises, true
from guest.holder import Holder
from guest.pci import IGB, KERNEL_MODES, NVME, PLAIN, Function
from guest.registry import rounds, scenario
from guest.vfio import Opening, check_refused, group_node, igb_vfs, pids, wait_users

ALL = tuple(KERNEL_MODES)
ROUNDS = 100
RACES = rounds(30)
# A device is reset when it is opened and when it is closed, which takes its time; a group is not.
DEVICE_EVERY = 10


def check_root_refused(function, name, text):
    error = raises(OSError, lambda: function.write(name, text), f"root's write of {text} to {name} of {function}")
    equal(error.errno, errno.EACCES, f"the error of a write to {name} of {function}")


def done(call):
    """The operation comes to its end without an error."""
    call.result(30)


def failed(call, name, *words):
    """It ends with this error, whose text contains these words; returns the text."""
    error = raises(vb.BusError, lambda: call.result(30), call.what)
    equal(error.name, name, f"the error of {call.what} ({error.message})")
    for word in words:
        contains(error.message, word, f"the text of the error of {call.what}")
    return error.message


@scenario("a VF in use: no operation takes it, its PF or their state away, and errors name the user; without the "
          "daemon one write takes it from its holder", deadline=180)
def held(machine):
    client = machine.client
    vf, = igb_vfs(machine)
    machine.stop_daemon()
    for function in (IGB, vf):
        cleaning.open_files(function)
    one = Holder(machine, "--request=obey", vf)
    IGB.set_num_vfs(0)  # returns when the user has released it
    one.wait_line(f"request {vf}")
    one.wait_line(f"closed {vf}")
    equal(IGB.vfs(), [], "the VFs, with nobody to guard them")
    one.end()

    machine.start_daemon()
    client = machine.client
    vf, = igb_vfs(machine)
    one = Holder(machine, "--request=obey", vf)
    wait_users(machine, vf, [one.pid])
    machine.check_locked(IGB, ["vf-in-use"], ALL)
    for name, text in (("sriov_numvfs", "0"), ("sriov_drivers_autoprobe", "0"), ("remove", "1"), ("reset", "1"),
                       ("reset_method", "bus"), ("power", "0")):
        check_root_refused(IGB, name, text)
    check_root_refused(vf, "reset", "1")
    for call in (client.start_set_num_vfs(IGB.address, 0), client.start_set_num_vfs(IGB.address, 0, override=True),
                 client.start_set_drivers_autoprobe(IGB.address, False)):
        check_refused(call, one, [vf.address])
    for function in (IGB, vf):
        for call in (client.start_function_call(function.address, "Unbind"),
                     client.start_function_call(function.address, "Reset"),
                     client.start_bind(function.address, "pci-stub"), client.start_unplug(function.address, 0)):
            check_refused(call, one, [vf.address])
    equal([line for line in one.lines if line.startswith("request")], [], "what the holder was asked")
    equal((IGB.driver(), vf.driver(), IGB.vfs()), ("igb", "vfio-pci", [vf.address]), "nothing has happened")

    one.end()
    machine.check_locked(IGB, [], [])
    machine.check_locked(vf, [], [])
    for function in (vf, IGB):
        function.write("reset", "1")
        done(client.start_function_call(function.address, "Reset"))
    done(client.start_set_drivers_autoprobe(IGB.address, False))
    equal(IGB.read("sriov_drivers_autoprobe"), "0", "autoprobe")
    done(client.start_set_num_vfs(IGB.address, 0))
    equal(IGB.vfs(), [], "the VFs")
    done(client.start_function_call(IGB.address, "Unbind"))
    equal(IGB.driver(), None, "the driver of the PF")
    done(client.start_unplug(IGB.address, 0))
    equal(IGB.exists(), False, "whether the PF is there")


@scenario(f"a manager that gives a VF back the moment its holder has ended, and takes it again, {ROUNDS} times: no "
          "write of its fails, and nothing stays closed", deadline=240)
def reattached_at_once(machine):
    vf, = igb_vfs(machine)
    for number in range(ROUNDS):
        one = Opening(vf, device=number % DEVICE_EVERY == 0)
        machine.wait_property(vf, "InUse", True)
        machine.wait_property(IGB, "Locked", True)
        one.close()
        # As libvirt does it, and without a breath in between: the lock stands still now.
        vf.set_override(None)
        vf.unbind()
        pci.write("/sys/bus/pci/drivers_probe", vf.address)
        equal(vf.driver(), "igbvf", "the driver that took it back")
        vf.set_override("vfio-pci")
        vf.unbind()
        pci.write("/sys/bus/pci/drivers_probe", vf.address)
    wait_users(machine, vf, [])
    machine.fence()
    machine.wait_property(vf, "Driver", "vfio-pci")
    for function in (vf, IGB):
        machine.check_locked(function, [], [])
    equal(machine.violations(), [], "violations")
    one = Opening(vf)
    wait_users(machine, vf, [one.pid])
    one.close()
    machine.check_locked(IGB, [], [])


@scenario("SetNumVFs: done when the VFs are known; refused while one of four is held; from four to two through none; "
          "never above the maximum")
def set_num_vfs(machine):
    client = machine.client
    done(client.start_set_num_vfs(IGB.address, 4))
    equal(len(IGB.vfs()), 4, "the VFs in sysfs")
    paths = client.function(IGB.address)["VirtualFunctions"]
    equal(paths, [vb.function_path(address) for address in IGB.vfs()], "VirtualFunctions when the reply is there")
    equal(set(paths) - set(client.managed_objects()), set(), "VFs without an object")

    vf = Function(IGB.vfs()[1])
    done(client.start_bind(vf.address, "vfio-pci"))
    one = Holder(machine, vf)
    mark = machine.uevents.mark()
    for count in (2, 0):
        check_refused(client.start_set_num_vfs(IGB.address, count), one, [vf.address])
    one.end()
    machine.wait_property(vf, "InUse", False)
    others = [Function(address) for address in IGB.vfs()[2:]]
    done(client.start_set_num_vfs(IGB.address, 2))
    for other in others:
        machine.wait_function(other, there=False)
    first = IGB.vfs()[0]
    machine.wait(lambda: "bind" in machine.uevents.of(first, mark), "the VF to be bound")
    equal([action for action in machine.uevents.of(first, mark) if action in ("add", "remove")], ["remove", "add"],
          "what happened to the first VF")
    equal(len(client.function(IGB.address)["VirtualFunctions"]), 2, "the VFs")

    failed(client.start_set_num_vfs(IGB.address, 99), vb.INVALID_ARGS, "99", IGB.read("sriov_totalvfs"))
    equal(len(IGB.vfs()), 2, "the VFs after a number that cannot be")
    done(client.start_set_num_vfs(IGB.address, 0))
    equal(client.function(IGB.address)["VirtualFunctions"], [], "the VFs at last")


@scenario("Bind, Unbind and Reset of free functions are done when they are answered, and leave the right override")
def bind(machine):
    client = machine.client
    vf = Function((IGB.set_num_vfs(1), IGB.vfs()[0])[1])
    machine.wait_property(vf, "Driver", "igbvf")
    for function, native in ((PLAIN, "e1000e"), (vf, "igbvf"), (IGB, "igb")):
        if function == IGB:
            done(client.start_set_num_vfs(IGB.address, 0))
        for driver in ("vfio-pci", native, "", "vfio-pci"):
            done(client.start_bind(function.address, driver))
            override = driver if driver == "vfio-pci" else None
            equal((function.driver(), function.read("driver_override")), (driver or native, override or "(null)"),
                  f"driver and override of {function} after Bind('{driver}')")
            equal(client.function(function.address, "Driver"), driver or native, f"Driver of {function}")
        # Not with igbvf: its reset_prepare() waits for ever when the interface is down.
        done(client.start_function_call(function.address, "Reset"))
        done(client.start_function_call(function.address, "Unbind"))
        equal((function.driver(), client.function(function.address, "Driver")), (None, ""), f"driver of {function}")
        done(client.start_function_call(function.address, "Unbind"))
        done(client.start_bind(function.address, ""))
        equal(function.driver(), native, f"the driver of {function} at last")


@scenario("a Bind that fails says what failed, and the driver and override of before are back")
def bind_fails(machine):
    client = machine.client
    vf = Function((IGB.set_num_vfs(1), IGB.vfs()[0])[1])
    machine.wait_property(vf, "Driver", "igbvf")
    failed(client.start_bind(vf.address, "no-such-driver"), vb.FAILED, "there is no driver 'no-such-driver'")
    equal((vf.driver(), vf.read("driver_override")), ("igbvf", "(null)"), "driver and override")
    failed(client.start_bind(vf.address, "virtio-pci"), vb.FAILED, "/drivers/virtio-pci/bind")
    equal((vf.driver(), vf.read("driver_override")), ("igbvf", "(null)"), "driver and override")
    # vfio-pci does not take a PF with VFs, and nvme leaves them when it is unbound.
    NVME.set_num_vfs(1)
    machine.wait_property(NVME, "NumVFs", 1)
    failed(client.start_bind(NVME.address, "vfio-pci"), vb.FAILED, "/drivers/vfio-pci/bind", "busy")
    equal((NVME.driver(), NVME.read("driver_override")), ("nvme", "(null)"), "driver and override of the PF")
    done(client.start_bind(vf.address, "vfio-pci"))
    failed(client.start_bind(vf.address, "virtio-pci"), vb.FAILED, "/drivers/virtio-pci/bind")
    equal((vf.driver(), vf.read("driver_override")), ("vfio-pci", "vfio-pci"), "driver and override")
    for function, driver in ((vf, "vfio-pci"), (NVME, "nvme")):
        machine.wait_property(function, "Driver", driver)


@scenario("a PF that vfio-pci has gets VFs only with the option override, and with it never while one is in use")
def override(machine):
    client = machine.client
    pci.set_enable_sriov(True)
    done(client.start_bind(IGB.address, "vfio-pci"))
    failed(client.start_set_num_vfs(IGB.address, 2), vb.REFUSED, "vfio-pci", IGB.address)
    equal(IGB.vfs(), [], "the VFs of a locked PF")
    check_root_refused(IGB, "sriov_numvfs", "2")
    done(client.start_set_num_vfs(IGB.address, 2, override=True))
    vf, other = map(Function, IGB.vfs())
    equal(machine.violations(), [], "violations: what the daemon did itself is none")
    machine.check_locked(IGB, ["userspace-driver"], pci.SRIOV)
    machine.wait_property(vf, "Driver", "vfio-pci")
    one = Holder(machine, "--group-only", vf)  # the device itself cannot be had without the PF's token
    wait_users(machine, vf, [one.pid])
    check_refused(client.start_set_num_vfs(IGB.address, 0, override=True), one, [vf.address])
    equal(IGB.vfs(), [vf.address, other.address], "the VFs")
    one.end()
    machine.wait_property(vf, "InUse", False)
    failed(client.start_set_num_vfs(IGB.address, 0), vb.REFUSED, "vfio-pci")
    done(client.start_set_num_vfs(IGB.address, 0, override=True))
    equal(IGB.vfs(), [], "the VFs")


@scenario(f"opened after Check said yes, in another /dev too: the operation notices and refuses, {RACES} times",
          deadline=60 + 6 * RACES)
def opened_after_check(machine):
    client = machine.client
    vf, = igb_vfs(machine)
    # An open in another /dev, such as libvirt's machines have, is not reported; there the device's `enable`
    # gives it away.
    elsewhere = "/dev/elsewhere"
    os.mknod(elsewhere, 0o600 | stat.S_IFCHR, os.stat(group_node(vf)).st_rdev)
    machine.closers.append(lambda: os.unlink(elsewhere))
    for number in range(RACES):
        asked, operation = ((vf, "unbind"), (IGB, "reset"), (IGB, "set-num-vfs"))[number % 3]
        equal(client.check(asked.address, operation)[:2], (True, []), f"Check of {operation}")
        if number % DEVICE_EVERY == 0:
            one = Opening(vf, node=elsewhere)
        else:
            one = Opening(vf, device=number % DEVICE_EVERY == 5)
        if operation == "set-num-vfs":
            call = client.start_set_num_vfs(IGB.address, 0)
        else:
            call = client.start_function_call(asked.address, operation.capitalize())
        if number % DEVICE_EVERY == 0:
            # Its holder is found by the names that nodes have everywhere; this one has another.
            failed(call, vb.REFUSED, vf.address, "in use")
        else:
            check_refused(call, one, [vf.address])
        one.close()
        machine.wait_property(vf, "InUse", True)
        machine.wait_property(vf, "InUse", False)
    equal((IGB.vfs(), vf.driver(), pids(machine, vf)), ([vf.address], "vfio-pci", []), "all is as before")
    true(IGB.driver() == "igb", "the PF has its driver")
