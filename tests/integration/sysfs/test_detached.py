#!/usr/bin/python3
"""VFs of s390, where the machine gives away each function for itself: any may be here without its PF, come before it,
outlive it, or be a slot that is switched off. Signals report what changed, and nothing else."""

import os

import fixtures
from test_cli import Command
from test_hotplug import changes
from test_zpci import VF_SAYS
import vfwarden_bus as vb

# A linked VF is in the domain of its PF ...
PF, VF = "0040:00:00.0", "0040:00:00.1"
PF_SAYS = {**VF_SAYS, "vfn": "0x0000", "function_id": "0xfffff0a0"}
PF_SLOT, VF_SLOT = "fffff0a0", "fffff0a1"
# ... and one whose PF is not here in a domain of its own.
ALONE, ALONE_SLOT = "0041:00:00.0", "fffff0b2"
ALONE_SAYS = {**VF_SAYS, "vfn": "0x0003", "function_id": "0xfffff0b2", "uid": "0x41"}

PF_PATH, VF_PATH = vb.function_path(PF), vb.function_path(VF)
NO_INDEX = 0xffffffff
DETACHED = {"Kind": "detached-vf", "PhysicalFunction": "/", "Index": NO_INDEX, "CommandMemory": "hardwired-zero"}
LINKED = {"Kind": "vf", "PhysicalFunction": PF_PATH, "Index": 1, "CommandMemory": "hardwired-zero"}
ONE_VF = {"Kind": "pf", "NumVFs": 1, "VirtualFunctions": [VF_PATH], "CommandMemory": "implemented"}
NO_VF = {"Kind": "pf", "NumVFs": 0, "VirtualFunctions": [], "CommandMemory": "implemented"}


class Slots(fixtures.DaemonTest):
    """Functions in slots of their own, which stay when what is in them goes."""

    def add_slot(self, name, address, power="1"):
        # Where others have the device's number, s390 has device and function in one (s390_pci_hpc.c).
        bus, _, place = address.rpartition(":")
        device, _, number = place.partition(".")
        self.sysfs.add_slot(name, f"{bus}:{int(device, 16) << 3 | int(number):02x}")
        with open(self.sysfs.path("bus/pci/slots", name, "power"), "r+", encoding="ascii") as file:
            file.write(power)

    def add_vf(self, address=VF, says=VF_SAYS, slot=VF_SLOT, **kwargs):
        self.add_slot(slot, address)
        return self.sysfs.add(address, numa_node=None, attributes=says, removable=False, slot=slot, **kwargs)

    def add_pf(self, **kwargs):
        self.add_slot(PF_SLOT, PF)
        return self.sysfs.add_pf(PF, numa_node=None, attributes=PF_SAYS, driver="mlx5_core", slot=PF_SLOT, **kwargs)

    def link(self, vf, pf):
        """What zpci_iov_link_virtfn() does; pci_iov_sysfs_link() sends an event for the VF and none for the PF."""
        pf.link("virtfn1", vf.directory)
        vf.link("physfn", pf.directory)
        self.sysfs.change(vf)

    def told(self, address, like):
        function = self.picture.function(address) or {}
        return {name: function.get(name) for name in like}

    def wait_told(self, address, expected):
        vb.wait_until(lambda: self.told(address, expected) == expected, None,
                      lambda: f"{address} {expected}, is {self.told(address, expected)}")

    def interfaces(self, address):
        return set(self.picture.objects[vb.function_path(address)])

    def changed(self, mark, path):
        """Property -> its last value in a signal."""
        return {name: value for (at, name), value in changes(self.signals_since(mark)).items() if at == path}

    def interfaces_moved(self, mark, path):
        """Interfaces that came to an object or went from it."""
        return [s for member in ("InterfacesAdded", "InterfacesRemoved")
                for s in self.client.recorder.since(mark, member) if s.args[0] == path]

    def off(self, vf, pf=None):
        if pf:
            os.unlink(pf.path("virtfn1"))
            os.unlink(vf.path("physfn"))
        self.sysfs.remove(vf)


class AtTheStart(Slots):
    def test_linked(self):
        self.link(self.add_vf(), self.add_pf())
        self.start()
        self.assertEqual(self.told(VF, LINKED), LINKED)
        self.assertEqual(self.told(PF, ONE_VF), ONE_VF)
        self.assertEqual(self.interfaces(VF) & {vb.PHYSICAL, vb.VIRTUAL, vb.ZPCI}, {vb.VIRTUAL, vb.ZPCI})
        self.assertEqual(self.interfaces(PF) & {vb.PHYSICAL, vb.VIRTUAL, vb.ZPCI}, {vb.PHYSICAL, vb.ZPCI})

    def test_detached(self):
        self.add_vf(ALONE, ALONE_SAYS, ALONE_SLOT)
        self.add_pf()
        self.start()
        self.assertEqual(self.told(ALONE, DETACHED), DETACHED)
        self.assertEqual(self.told(PF, NO_VF), NO_VF)
        self.assertEqual(self.interfaces(ALONE) & {vb.PHYSICAL, vb.VIRTUAL, vb.ZPCI}, {vb.VIRTUAL, vb.ZPCI})
        self.assertEqual(self.picture.function(ALONE)["VirtualFunctionNumber"], 3)

    def test_what_the_command_says_of_a_detached_one(self):
        self.add_vf(ALONE, ALONE_SAYS, ALONE_SLOT)
        self.start()
        code, output, error = Command(self, ["show", ALONE]).result()
        self.assertEqual((code, error), (0, ""))
        text = " ".join(output.split())
        self.assertIn("Kind: virtual function, detached: its physical function is not on this system There is no PF here "
                      "to lock, only the files that remove or reset it. Vendor:", text)
        self.assertIn("VF number: 3 ", text)
        self.assertIn("Memory enable bit: hardwired to 0, as in every VF: a virtual machine monitor must not make access "
                      "to the BARs depend on it", text)

    def test_standby(self):
        # The machine has the function, and this system has not configured it.
        self.add_slot(ALONE_SLOT, ALONE, power="0")
        self.start()
        self.assertIsNone(self.picture.function(ALONE))
        self.assert_bus_error(vb.NO_SUCH_FUNCTION, self.client.manager, "GetFunction", "(s)", ALONE)
        self.assertEqual(self.sysfs.slot_mode(ALONE_SLOT), 0o644)


class Linking(Slots):
    def test_vf_first_pf_later(self):
        vf = self.add_vf()
        self.start()
        self.assertEqual(self.told(VF, DETACHED), DETACHED)
        mark = self.mark()
        pf = self.add_pf(announce=True)
        self.wait_told(PF, NO_VF)
        self.assertEqual(self.told(VF, DETACHED), DETACHED)
        self.link(vf, pf)
        self.wait_told(VF, LINKED)
        self.wait_told(PF, ONE_VF)
        self.assertEqual(self.changed(mark, VF_PATH), {"Kind": "vf", "PhysicalFunction": PF_PATH, "Index": 1})
        self.assertEqual(self.changed(mark, PF_PATH) | {"Driver": None},
                         {"NumVFs": 1, "VirtualFunctions": [VF_PATH], "Driver": None})
        self.assertEqual(self.interfaces_moved(mark, VF_PATH), [])

    def test_the_pfs_link_is_late(self):
        pf = self.add_pf()
        vf = self.add_vf()
        self.start()
        vf.link("physfn", pf.directory)
        self.sysfs.change(vf)
        self.wait_told(VF, {"Kind": "vf", "PhysicalFunction": PF_PATH, "Index": NO_INDEX})
        pf.link("virtfn1", vf.directory)
        self.sysfs.change(vf)
        self.wait_told(VF, LINKED)
        self.wait_told(PF, ONE_VF)

    def test_the_vfs_slot_off_and_on_again(self):
        pf = self.add_pf()
        self.start()
        for _ in range(2):
            vf = self.add_vf(listed=False)
            self.sysfs.list_function(vf)
            mark = self.mark()
            self.sysfs.tell("add", vf)
            self.link(vf, pf)
            self.wait_told(VF, LINKED)
            self.wait_told(PF, ONE_VF)
            self.assertEqual(self.changed(mark, PF_PATH), {"NumVFs": 1, "VirtualFunctions": [VF_PATH]})
            mark = self.mark()
            self.off(vf, pf)
            self.wait_function(VF, there=False)
            self.wait_told(PF, NO_VF)
            self.assertEqual(self.changed(mark, PF_PATH), {"NumVFs": 0, "VirtualFunctions": []})
            self.assertNotIn(VF_PATH, self.picture.objects)

    def test_a_detached_vfs_slot_off_and_on_again(self):
        self.start()
        for _ in range(2):
            vf = self.add_vf(ALONE, ALONE_SAYS, ALONE_SLOT, announce=True)
            self.wait_told(ALONE, DETACHED)
            mark = self.mark()
            self.off(vf)
            self.wait_function(ALONE, there=False)
            self.assertEqual(self.changed(mark, vb.function_path(ALONE)), {})

    def test_the_pf_leaves_and_comes_back(self):
        vf, pf = self.add_vf(), self.add_pf()
        self.link(vf, pf)
        self.start()
        for _ in range(2):
            mark = self.mark()
            # Nothing is said of the VF.
            os.unlink(vf.path("physfn"))
            self.sysfs.remove(pf)
            self.wait_function(PF, there=False)
            self.wait_told(VF, DETACHED)
            self.assertEqual(self.changed(mark, VF_PATH),
                             {"Kind": "detached-vf", "PhysicalFunction": "/", "Index": NO_INDEX})
            self.assertEqual(self.interfaces_moved(mark, VF_PATH), [])
            pf = self.add_pf(announce=True)
            self.link(vf, pf)
            self.wait_told(VF, LINKED)
            self.wait_told(PF, ONE_VF)


class Guarded(Slots):
    """There is no PF to lock, so what can be guarded is guarded on the VF itself."""

    CLOSED = ["reset", "reset_method", "power"]

    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True)

    def check_guarded(self, vf, slot):
        self.wait_property(vf.address, "ClosedFiles", self.CLOSED)
        self.wait_mode(vf, "reset", 0)
        self.wait_slot_mode(slot, 0o444)

    def test_detached(self):
        vf = self.add_vf(ALONE, ALONE_SAYS, ALONE_SLOT)
        self.start()
        self.client.lock(ALONE)
        self.check_guarded(vf, ALONE_SLOT)

    def test_it_stays_so_when_the_pf_leaves_and_comes_back(self):
        vf, pf = self.add_vf(), self.add_pf()
        self.link(vf, pf)
        self.start()
        self.client.lock(VF)
        self.check_guarded(vf, VF_SLOT)
        os.unlink(vf.path("physfn"))
        self.sysfs.remove(pf)
        self.wait_told(VF, DETACHED)
        self.fence()
        self.check_guarded(vf, VF_SLOT)
        self.link(vf, self.add_pf(announce=True))
        self.wait_told(VF, LINKED)
        self.fence()
        self.check_guarded(vf, VF_SLOT)

    def test_a_standby_slot_can_be_switched_on(self):
        vf = self.add_vf(ALONE, ALONE_SAYS, ALONE_SLOT)
        self.start()
        self.client.lock(ALONE)
        self.check_guarded(vf, ALONE_SLOT)
        self.off(vf)
        self.wait_function(ALONE, there=False)
        self.wait_slot_mode(ALONE_SLOT, 0o644)
        # What comes is another device, which nobody has locked.
        self.add_vf(ALONE, ALONE_SAYS, ALONE_SLOT, announce=True)
        self.wait_told(ALONE, {**DETACHED, "Locked": False, "ClosedFiles": []})
        self.fence()
        self.assertEqual(self.sysfs.slot_mode(ALONE_SLOT), 0o644)


if __name__ == "__main__":
    fixtures.main()
