"""The inventory over D-Bus equals the kernel's own, at rest and when VFs and drivers come and go."""

import os

import vfwarden_bus as vb

from guest import pci
from guest.check import contains, equal, true
from guest.pci import IGB, NVME, PLAIN, Function
from guest.registry import scenario


def number(text, unknown=None):
    return unknown if text is None else int(text, 0)


def kind_of(function):
    if function.read("physfn/vendor") is not None:
        return "vf"
    return "pf" if function.read("sriov_totalvfs") is not None else "plain"


def check_function(machine, function):
    """Every property of a function against sysfs."""
    told = machine.picture.function(function.address)
    true(told is not None, f"{function} is known")
    override = function.read("driver_override")
    group = pci.link(function.path("iommu_group"))
    expected = {
        "Address": function.address, "Kind": kind_of(function),
        "VendorId": number(function.read("vendor")), "DeviceId": number(function.read("device")),
        "SubsystemVendorId": number(function.read("subsystem_vendor")),
        "SubsystemDeviceId": number(function.read("subsystem_device")),
        "Class": number(function.read("class")), "Revision": number(function.read("revision")),
        "Driver": function.driver() or "", "DriverOverride": "" if override == "(null)" else override,
        "IommuGroup": number(group, -1), "NumaNode": number(function.read("numa_node"), -1),
        "CommandMemory": "hardwired-zero" if kind_of(function) == "vf" else "implemented",
        "InUse": False, "Locked": False, "LockReasons": [], "LockWhy": "", "ClosedFiles": [],
        "Tainted": False, "State": "present",
        "Parent": vb.function_path(function.parent().address) if function.parent() else "/",
        "Children": [vb.function_path(child) for child in function.children()],
    }
    if kind_of(function) == "pf":
        expected |= {
            "TotalVFs": number(function.read("sriov_totalvfs")), "NumVFs": len(function.vfs()),
            "VirtualFunctions": [vb.function_path(vf) for vf in function.vfs()],
            "DriversAutoprobe": function.read("sriov_drivers_autoprobe") == "1",
        }
    if kind_of(function) == "vf":
        pf = Function(pci.link(function.path("physfn")))
        expected |= {"PhysicalFunction": vb.function_path(pf.address),
                     "Index": pf.vfs().index(function.address)}
    for name, value in expected.items():
        equal(told.get(name), value, f"{name} of {function}")


def check_everything(machine):
    equal(sorted(row["org.vfwarden1.Function"]["Address"] for row in machine.picture.objects.values()),
          pci.addresses(), "the functions over D-Bus")
    equal(machine.client.manager_property("FunctionCount"), len(pci.addresses()), "FunctionCount")
    for address in pci.addresses():
        check_function(machine, Function(address))


@scenario("all functions and all properties are the kernel's, with names as lspci has them")
def as_in_sysfs(machine):
    check_everything(machine)
    equal(sorted(machine.client.list_functions()), pci.addresses(), "ListFunctions")
    for function in (IGB, NVME, PLAIN):
        line = machine.run("lspci", "-s", function.address, "-vmm").stdout
        for property, label in (("VendorName", "Vendor"), ("DeviceName", "Device")):
            contains(line, f"{label}:\t{machine.property(function, property)}\n", f"{property} in lspci")


@scenario("igb: 2 VFs made over sysfs appear with their PF, and go when they are disabled")
def igb_vfs(machine):
    IGB.set_num_vfs(2)
    vfs = [Function(address) for address in IGB.vfs()]
    equal([vf.address for vf in vfs], ["0000:01:10.0", "0000:01:10.2"], "the VFs in sysfs")
    machine.wait_property(IGB, "NumVFs", 2)
    for vf in vfs:
        machine.wait_property(vf, "Driver", "igbvf")
    machine.fence()
    for index, vf in enumerate(vfs):
        check_function(machine, vf)
        equal(machine.property(vf, "Kind"), "vf", f"the kind of {vf}")
        equal(machine.property(vf, "PhysicalFunction"), vb.function_path(IGB.address), f"the PF of {vf}")
        equal(machine.property(vf, "Index"), index, f"the index of {vf}")
    check_everything(machine)

    events = machine.uevents.mark()
    mark = machine.mark()
    IGB.set_num_vfs(0)
    machine.wait_property(IGB, "NumVFs", 0)
    for vf in vfs:
        machine.wait_function(vf, there=False)
        equal(vf.exists(), False, f"whether {vf} is in sysfs")
    machine.fence()
    check_everything(machine)
    equal(machine.uevents.of(IGB.address, events), [], "what the kernel said of the PF")
    equal(machine.changes_of(IGB, "NumVFs", mark)[-1], 0, "the last count that was told")


@scenario("igb and nvme: VFs made and taken again and again", deadline=150)
def again_and_again(machine):
    mark = machine.mark()
    NVME.write("sriov_drivers_autoprobe", "0")  # the emulated VFs take nvme seconds to give up on
    machine.wait_property(NVME, "DriversAutoprobe", False)
    for count in (2, 4, 1):
        for function in (IGB, NVME):
            function.set_num_vfs(count)
        for function in (IGB, NVME):
            machine.wait_property(function, "NumVFs", count)
            equal(len(function.vfs()), count, f"the VFs of {function} in sysfs")
        for function in (IGB, NVME):
            function.set_num_vfs(0)
        for function in (IGB, NVME):
            machine.wait_property(function, "NumVFs", 0)
    check_everything(machine)
    equal(machine.violations(mark), [], "violations")


@scenario("igb: VFs made and taken in one breath leave nothing behind")
def in_one_breath(machine):
    # No waiting between the writes: the daemon reads a kernel that is ahead of the events.
    for count in (4, 0, 2, 0, 3):
        IGB.set_num_vfs(count)
    machine.wait_property(IGB, "NumVFs", 3)
    machine.fence()
    check_everything(machine)


@scenario("drivers and overrides are followed; igb takes its VFs along when it is unbound")
def drivers(machine):
    IGB.set_num_vfs(1)
    vf = Function(IGB.vfs()[0])
    machine.wait_property(vf, "Driver", "igbvf")
    vf.set_override("vfio-pci")
    machine.wait_property(vf, "DriverOverride", "vfio-pci")
    vf.bind("vfio-pci")
    machine.wait_property(vf, "Driver", "vfio-pci")
    equal(machine.property(vf, "Locked"), False, "whether a VF is locked")
    vf.check_closed()
    IGB.check_closed()

    mark = machine.mark()
    IGB.unbind()
    machine.wait_property(IGB, "Driver", "")
    machine.wait_property(IGB, "NumVFs", 0)
    machine.wait_function(vf, there=False)
    equal(machine.violations(mark), [], "violations")
    IGB.bind(None)
    machine.wait_property(IGB, "Driver", "igb")
    IGB.write("sriov_drivers_autoprobe", "0")
    machine.wait_property(IGB, "DriversAutoprobe", False)
    check_everything(machine)


@scenario("nvme: leaves its VFs when unbound; vfio-pci then refuses the PF, and nothing is locked")
def nvme_leaves_its_vfs(machine):
    NVME.write("sriov_drivers_autoprobe", "0")
    NVME.set_num_vfs(2)
    machine.wait_property(NVME, "NumVFs", 2)
    NVME.unbind()
    machine.wait_property(NVME, "Driver", "")
    equal(len(NVME.vfs()), 2, "the VFs of a PF without a driver")
    check_everything(machine)
    NVME.set_override("vfio-pci")
    pci.write("/sys/bus/pci/drivers_probe", NVME.address)
    equal(NVME.driver(), None, "the driver, as vfio-pci refuses a PF with VFs")
    machine.wait_property(NVME, "DriverOverride", "vfio-pci")
    machine.fence()
    check_everything(machine)
    NVME.check_closed()


@scenario("a function without SR-IOV removed by root, and found again by a rescan")
def removed_and_found(machine):
    PLAIN.write("remove", "1")
    machine.wait_function(PLAIN, there=False)
    equal(PLAIN.exists(), False, "whether it is in sysfs")
    pci.write("/sys/bus/pci/rescan", "1")
    machine.wait_property(PLAIN, "Driver", "e1000e")
    machine.fence()
    check_everything(machine)
    true(os.path.exists(PLAIN.directory), "it is in sysfs again")
