"""Functions as zPCI has them: wide domains, slots by function id, nothing of SR-IOV."""

import vfwarden_bus as vb

from guest.check import equal
from guest.pci import ZNVME, ZRNG
from guest.registry import scenario

# Name of the property -> sysfs attribute
ATTRIBUTES = {"FunctionId": "function_id", "FunctionHandle": "function_handle", "Uid": "uid", "Pchid": "pchid",
              "FunctionGroup": "pfgid", "VirtualFunctionNumber": "vfn", "FunctionType": "pft",
              "MioEnabled": "mio_enabled"}


@scenario("both functions over D-Bus: kind plain, their domain is their UID, no NUMA node, no interface of SR-IOV")
def functions(machine):
    rows = machine.client.list_functions()
    equal([(address, *row[:2]) for address, row in rows.items()],
          [(ZNVME.address, "plain", "nvme"), (ZRNG.address, "plain", "virtio-pci")], "ListFunctions")
    for function in (ZNVME, ZRNG):
        for name, attribute in (("VendorId", "vendor"), ("DeviceId", "device"), ("Class", "class")):
            equal(machine.property(function, name), int(function.read(attribute), 16), f"{name} of {function}")
        equal(machine.property(function, "NumaNode"), -1, f"NumaNode of {function}")
        equal(machine.property(function, "CommandMemory"), "implemented", f"CommandMemory of {function}")
        interfaces = set(machine.picture.objects[vb.function_path(function.address)])
        equal(interfaces & {vb.PHYSICAL, vb.VIRTUAL}, set(), f"interfaces of SR-IOV on {function}")


@scenario("the Zpci interface says what sysfs says, the handle of this very moment")
def zpci(machine):
    for function in (ZNVME, ZRNG):
        told = machine.client.get_all(vb.function_path(function.address), vb.ZPCI)
        expected = {name: int(function.read(attribute), 16) for name, attribute in ATTRIBUTES.items()}
        expected["MioEnabled"] = bool(expected["MioEnabled"])
        equal(told, expected, f"Zpci of {function}")
        equal((told["FunctionId"], f"{told['Uid']:04x}:00:00.0"), (int(function.slot(), 16), function.address),
              "slot and address by it")
        equal(told["FunctionHandle"] >> 31, 1, "the handle's bit that says it is enabled")
    # A reset disables the function and enables it again, each by a new handle.
    ZNVME.unbind()
    machine.wait_property(ZNVME, "Driver", "")
    ZNVME.write("reset", "1")
    equal(machine.client.get(vb.function_path(ZNVME.address), vb.ZPCI, "FunctionHandle"),
          int(ZNVME.read("function_handle"), 16), "the handle after a reset")
