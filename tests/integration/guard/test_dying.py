#!/usr/bin/python3
"""VFs whose links the kernel has taken already: their PF stays locked until the last user has released its VF."""

import os

import fixtures
from test_detached import PF as ZPF, Slots, VF as ZVF0
from test_unplug import LONG, PF, UnplugTest, VFS
from test_zpci import VF_SAYS
import vfwarden_bus as vb

ZVF1 = "0040:00:00.2"


def take_links(pf, vf, index):
    """What pci_iov_remove_virtfn() does before it waits for the VF's user."""
    os.unlink(pf.path(f"virtfn{index}"))
    os.unlink(vf.path("physfn"))


class Dying(UnplugTest):
    def begin(self):
        """VF 0 is free and goes; VF 1 has a user, for whom the kernel waits."""
        self.pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.free, self.held = self.pf.vfs
        self.start()
        self.use(self.held)
        take_links(self.pf, self.free, 0)
        self.sysfs._delete(self.free)       # pylint: disable=protected-access
        take_links(self.pf, self.held, 1)
        self.sysfs.detach_driver(self.held, keep_enable=True)
        self.sysfs.change(self.held)
        self.wait_property(VFS[1], "Driver", "")
        self.wait_function(VFS[0], there=False)
        self.fence()

    def check_locked(self):
        self.assertEqual(self.picture.function(VFS[1])["Kind"], "vf")
        self.assertEqual(self.picture.function(VFS[1])["Index"], 1)
        self.assertEqual(self.picture.function(PF)["VirtualFunctions"], [vb.function_path(VFS[1])])
        self.assertEqual(self.picture.function(PF)["LockReasons"], ["vf-in-use"])
        self.assertEqual(self.pf.mode("remove") & 0o222, 0)
        self.assertIn(VFS[1], [row[1] for row in self.client.check(PF, "remove")[1]])

    def check_released(self):
        self.kernel.let_go(self.held)
        self.sysfs._delete(self.held)       # pylint: disable=protected-access
        self.wait_function(VFS[1], there=False)
        self.wait_property(PF, "LockReasons", [])
        self.wait_mode(self.pf, "remove", 0o220)

    def test_locked_until_the_last_is_gone(self):
        self.begin()
        self.check_locked()
        self.check_released()

    def test_restarted_meanwhile(self):
        """Nothing in sysfs says any more whose VF it was."""
        self.begin()
        for _ in range(2):
            self.kill()
            self.start()
            self.check_locked()
        self.check_released()

    def test_another_device_at_its_address(self):
        self.begin()
        self.kill()
        self.sysfs._delete(self.held)       # pylint: disable=protected-access
        self.sysfs.add(VFS[1], driver="vfio-pci")
        self.start()
        self.assertEqual(self.picture.function(VFS[1])["Kind"], "plain")
        self.wait_property(PF, "LockReasons", [])

    def test_the_pf_goes_first(self):
        """Its holder is notified, though nothing takes the VF; and the VF has no number any more."""
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        vf = pf.vfs[1]
        self.start()
        self.use(vf)
        mark = self.mark()
        pf.vfs.clear()
        self.sysfs._delete(pf)      # pylint: disable=protected-access
        self.wait_function(PF, there=False)
        self.assertEqual(self.requests(mark), {VFS[1]: [0]})
        told = self.picture.function(VFS[1])
        self.assertEqual((told["PhysicalFunction"], told["Index"]), ("/", 0xffffffff))


class OneOfTwo(Slots, UnplugTest):
    """On s390 each VF has a slot of its own, and can go without the others."""

    def add_vfs(self):
        self.pf = self.add_pf()
        self.vfs = []
        for index, (address, slot) in enumerate(((ZVF0, "fffff0a1"), (ZVF1, "fffff0a2"))):
            says = {**VF_SAYS, "vfn": f"0x{index + 1:04x}", "function_id": f"0x{slot}"}
            vf = self.add_vf(address, says, slot, driver="vfio-pci")
            self.pf.link(f"virtfn{index}", vf.directory)
            vf.link("physfn", self.pf.directory)
            self.vfs.append(vf)

    def switch_off(self, index):
        take_links(self.pf, self.vfs[index], index)
        self.sysfs._delete(self.vfs[index])     # pylint: disable=protected-access

    def check_not_blamed(self, mark):
        self.wait_property(ZPF, "NumVFs", 1)
        self.fence()
        self.assertEqual(self.client.recorder.since(mark, "Violation"), [])
        self.assertIs(self.picture.function(ZPF)["Tainted"], False)

    def begin(self):
        self.add_vfs()
        self.start()
        self.use(self.vfs[1])
        self.wait_property(ZPF, "LockReasons", ["vf-in-use"])
        return self.mark()

    def test_an_unplug_of_one_is_no_violation(self):
        mark = self.begin()
        self.kernel.hang.add("fffff0a1/power")
        call = self.client.start_unplug(ZVF0, LONG)
        write = self.kernel.wait_for("fffff0a1/power")
        self.kernel.waiting.remove(write)
        self.switch_off(0)
        write.answer()
        call.result()
        self.check_not_blamed(mark)

    def test_a_switch_that_is_possible_is_none(self):
        mark = self.begin()
        self.assertEqual(self.client.check(ZVF0, "power-off")[:2], (True, []))
        self.switch_off(0)
        self.wait_function(ZVF0, there=False)
        self.check_not_blamed(mark)

    def test_one_that_is_not_is_one(self):
        mark = self.begin()
        self.switch_off(1)
        self.wait_function(ZVF1, there=False)
        self.wait_property(ZPF, "Tainted", True)
        self.client.recorder.wait_for("Violation", mark=mark)


class PowerOff(Slots):
    def test_a_pf_with_vfs(self):
        """disable_slot() in drivers/pci/hotplug/s390_pci_hpc.c: EBUSY while VFs are enabled."""
        pf, vf = self.add_pf(), self.add_vf()
        self.link(vf, pf)
        self.start()
        allowed, blockers, _ = self.client.check(ZPF, "power-off")
        self.assertEqual((allowed, [row[:3] for row in blockers]), (False, [
            ("unsupported", ZPF, "has 1 virtual functions enabled: the kernel refuses to switch its slot off")]))
        self.assertEqual(self.client.check(ZPF, "remove")[:2], (True, []))


if __name__ == "__main__":
    fixtures.main()
