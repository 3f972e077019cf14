#!/usr/bin/python3
"""VFs that are added and removed, in the order of the kernel's events."""

import os
import time

import fixtures
import vfwarden_bus as vb
from test_hotplug import changes

PF = "0000:01:00.0"


class Vfs(fixtures.DaemonTest):
    def counts(self, mark):
        """The values of the PF's NumVFs in the order of the signals."""
        return [s.args[1]["NumVFs"] for s in self.signals_since(mark)
                if s.member == "PropertiesChanged" and s.path == vb.function_path(PF)
                and "NumVFs" in s.args[1]]

    def test_enabling(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        mark = self.mark()
        self.sysfs.enable_vfs(pf, 2)
        self.wait_property(PF, "NumVFs", 2)
        for index, vf in enumerate(pf.vfs):
            self.wait_property(vf.address, "Kind", "vf")
            self.wait_property(vf.address, "Index", index)
            self.wait_property(vf.address, "Driver", "igbvf")
            self.assertEqual(self.picture.function(vf.address)["PhysicalFunction"],
                             vb.function_path(PF))
        self.wait_property(PF, "VirtualFunctions", [vb.function_path(vf.address) for vf in pf.vfs])
        counts = self.counts(mark)
        self.assertEqual(counts, sorted(set(counts)), "the count only rises")
        self.assertEqual(counts[-1], 2)

    def test_a_vf_is_added_before_its_links_are_there(self):
        # The kernel's `add` of a VF comes when it still looks like a plain function.
        pf = self.sysfs.add_pf(PF)
        self.start()
        vf = self.sysfs._make_vf(pf, 0)     # pylint: disable=protected-access
        self.sysfs._event("add", vf)        # pylint: disable=protected-access
        self.wait_function(vf.address)
        self.fence()
        self.sysfs._link_vf(vf)             # pylint: disable=protected-access
        self.sysfs.change(vf)
        self.wait_property(vf.address, "Kind", "vf")
        self.wait_property(PF, "NumVFs", 1)
        self.assertEqual(self.picture.function(vf.address)["PhysicalFunction"],
                         vb.function_path(PF))

    def test_a_vf_that_its_pf_does_not_list_yet(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        vf = self.sysfs._make_vf(pf, 0)     # pylint: disable=protected-access
        vf.link("physfn", pf.directory)
        self.sysfs._event("add", vf)        # pylint: disable=protected-access
        self.wait_property(vf.address, "Kind", "vf")
        self.wait_property(vf.address, "PhysicalFunction", vb.function_path(PF))
        self.assertEqual(self.picture.function(vf.address)["Index"], 0xffffffff)
        self.assertEqual(self.picture.function(PF)["VirtualFunctions"], [])
        pf.link("virtfn0", vf.directory)
        self.sysfs.change(pf)
        self.wait_property(vf.address, "Index", 0)
        self.wait_property(PF, "VirtualFunctions", [vb.function_path(vf.address)])

    def test_disabling_though_nothing_is_said_of_the_pf(self):
        pf = self.sysfs.add_pf(PF, vfs=3, vf_driver="igbvf")
        addresses = [vf.address for vf in pf.vfs]
        self.start()
        mark = self.mark()
        self.sysfs.disable_vfs(pf)
        for address in addresses:
            self.wait_function(address, there=False)
        self.wait_property(PF, "NumVFs", 0)
        self.wait_property(PF, "VirtualFunctions", [])
        counts = self.counts(mark)
        self.assertEqual(counts, sorted(set(counts), reverse=True), "the count only falls")

    def test_no_vf_turns_plain_on_its_way_out(self):
        # Its physfn link goes before its `unbind`; that must not make it a function of another kind.
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="igbvf")
        self.start()
        mark = self.mark()
        self.sysfs.disable_vfs(pf)
        self.wait_property(PF, "NumVFs", 0)
        kinds = {value for (_path, name), value in changes(self.signals_since(mark)).items()
                 if name == "Kind"}
        self.assertEqual(kinds, set())

    def test_enable_disable_enable(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        for count in (2, 4):
            self.sysfs.enable_vfs(pf, count)
            self.wait_property(PF, "NumVFs", count)
            self.sysfs.disable_vfs(pf)
            self.wait_property(PF, "NumVFs", 0)
        self.assertEqual(self.client.manager_property("FunctionCount"), 2)

    def test_one_of_many_goes_and_comes_again(self):
        # As on s390, where a VF has a slot of its own: its number is then not the next after the others'.
        pf = self.sysfs.add_pf(PF, vfs=3)
        paths = [vb.function_path(vf.address) for vf in pf.vfs]
        self.start()
        first = pf.vfs[0]
        os.unlink(pf.path("virtfn0"))
        os.unlink(first.path("physfn"))
        self.sysfs._delete(first)           # pylint: disable=protected-access
        self.wait_property(PF, "VirtualFunctions", paths[1:])
        self.wait_property(PF, "NumVFs", 2)
        pf.vfs.pop(0)
        again = self.sysfs._make_vf(pf, 0)  # pylint: disable=protected-access
        self.sysfs._event("add", again)     # pylint: disable=protected-access
        pf.link("virtfn0", again.directory)
        again.link("physfn", pf.directory)
        self.sysfs.change(again)
        self.wait_property(again.address, "Index", 0)
        self.wait_property(PF, "VirtualFunctions", paths)
        self.wait_property(PF, "NumVFs", 3)
        self.assertEqual(self.picture.compare(), [])

    def add_unread_vf(self, pf):
        """One that its PF has counted; it is not read before somebody writes its driver_override, a FIFO."""
        vf = self.sysfs._make_vf(pf, 0)     # pylint: disable=protected-access
        vf.unset("driver_override")
        os.mkfifo(vf.path("driver_override"))
        self.sysfs._link_vf(vf)             # pylint: disable=protected-access
        self.sysfs.change(vf)
        self.sysfs.change(pf)
        self.wait_property(PF, "NumVFs", 1)
        return vf

    def test_a_vf_goes_before_it_could_be_read(self):
        # Nothing is said of the PF when it goes.
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.add_unread_vf(pf)
        self.sysfs.disable_vfs(pf)
        self.wait_property(PF, "NumVFs", 0)

    def test_a_vf_is_first_read_when_its_links_have_gone(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        vf = self.add_unread_vf(pf)
        os.unlink(pf.path("virtfn0"))
        os.unlink(vf.path("physfn"))
        with open(vf.path("driver_override"), "w", encoding="ascii") as file:
            file.write("(null)\n")
        self.wait_function(vf.address)
        pf.vfs.clear()
        self.sysfs._delete(vf)              # pylint: disable=protected-access
        self.wait_function(vf.address, there=False)
        self.wait_property(PF, "NumVFs", 0)

    def test_two_pfs_keep_their_own(self):
        one, two = self.sysfs.add_pf(PF), self.sysfs.add_pf("0000:05:00.0")
        self.start()
        self.sysfs.enable_vfs(one, 1)
        self.sysfs.enable_vfs(two, 2)
        self.wait_property(PF, "NumVFs", 1)
        self.wait_property("0000:05:00.0", "NumVFs", 2)
        self.sysfs.disable_vfs(one)
        self.wait_property(PF, "NumVFs", 0)
        self.fence()
        self.assertEqual(self.picture.function("0000:05:00.0")["NumVFs"], 2)

    def test_pf_unplugged_with_its_vfs(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="igbvf")
        addresses = [vf.address for vf in pf.vfs]
        self.start()
        self.sysfs.remove(pf)
        for address in (*addresses, PF):
            self.wait_function(address, there=False)

    def test_vf_outlives_its_pf(self):
        # Order is the kernel's to choose; a link to what is gone must not stay.
        pf = self.sysfs.add_pf(PF, vfs=1)
        vf = pf.vfs[0]
        self.start()
        pf.vfs.clear()
        import os
        os.unlink(vf.path("physfn"))
        self.sysfs.remove(pf)
        self.wait_function(PF, there=False)
        self.fence()
        told = self.picture.function(vf.address)
        self.assertEqual(told.get("PhysicalFunction", "/"), "/")

    def test_autoprobe_is_noticed(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        pf.write("sriov_drivers_autoprobe", 0)
        self.sysfs.change(pf)
        self.wait_property(PF, "DriversAutoprobe", False)
        # A write by somebody, of which the kernel sends no event.
        pf.write("sriov_drivers_autoprobe", 1)
        self.wait_property(PF, "DriversAutoprobe", True)


class Storm(fixtures.DaemonTest):
    COUNT = 256
    TOGETHER = 0.02     # seconds, STORM_USEC of the daemon

    def assert_lists_told_seldom(self, mark, begin):
        """The PF's lists are published a few times in each interval, not for each VF."""
        told = [s for s in self.client.recorder.since(mark, "PropertiesChanged", vb.function_path(PF))
                if s.args[0] == vb.PHYSICAL and {"NumVFs", "VirtualFunctions"} & set(s.args[1])]
        self.assertLessEqual(len(told), 4 * (time.monotonic() - begin) / self.TOGETHER + 8)

    def test_a_question_is_answered_with_the_events_before_it(self):
        pf = self.sysfs.add_pf(PF, vfs=8)
        self.start()
        self.sysfs.disable_vfs(pf)
        self.assertEqual(self.client.get(vb.function_path(PF), vb.PHYSICAL, "NumVFs"), 0)
        self.assertEqual(self.client.get(vb.function_path(PF), vb.PHYSICAL, "VirtualFunctions"), [])

    def test_256_vfs_come_and_go(self):
        pf = self.sysfs.add_pf(PF, total=self.COUNT)
        self.start()
        mark, begin = self.mark(), time.monotonic()
        self.sysfs.enable_vfs(pf, self.COUNT, driver=None)
        paths = [vb.function_path(vf.address) for vf in pf.vfs]
        deadline = 6 * fixtures.DEADLINE
        self.wait_property(PF, "NumVFs", self.COUNT, deadline)
        vb.wait_until(lambda: all(vb.VIRTUAL in self.picture.objects.get(p, {}) for p in paths),
                      deadline, "256 VFs")
        self.wait_property(PF, "VirtualFunctions", paths, deadline)
        added = [s.args[0] for s in self.client.recorder.since(mark, "InterfacesAdded")
                 if vb.FUNCTION in s.args[1]]
        self.assertEqual(sorted(added), sorted(paths), "each is announced once")
        self.assert_lists_told_seldom(mark, begin)
        self.assertEqual(self.picture.compare(), [])
        mark, begin = self.mark(), time.monotonic()
        self.sysfs.disable_vfs(pf)
        self.wait_property(PF, "NumVFs", 0, deadline)
        self.assert_lists_told_seldom(mark, begin)
        vb.wait_until(lambda: not any(p in self.picture.objects for p in paths), deadline,
                      "256 VFs to go")
        removed = [s.args[0] for s in self.client.recorder.since(mark, "InterfacesRemoved")
                   if vb.FUNCTION in s.args[1]]
        self.assertEqual(sorted(removed), sorted(paths), "each is withdrawn once")


if __name__ == "__main__":
    fixtures.main()
