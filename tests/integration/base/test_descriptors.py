#!/usr/bin/python3
"""A daemon that has no descriptor left: it locks, saves, and says that it is alive, and recovers by itself."""

import os
import resource

import fixtures
from test_cannot_look import FaultTest
from test_lock import ALL, SRIOV
import vfwarden_bus as vb

PF = "0000:01:00.0"
OTHER = "0000:02:00.0"
NEW = "0000:05:00.0"
WATCHDOG_USEC = 400000


class Descriptors(FaultTest):
    def start_world(self):
        self.pf = self.sysfs.add_pf(PF, driver="vfio-pci", slot="3")
        self.other = self.sysfs.add_pf(OTHER, vfs=1, vf_driver="vfio-pci", slot="4")
        self.start_polkit(configure=True, inhibit=True)
        self.environment = {"WATCHDOG_USEC": str(WATCHDOG_USEC)}
        self.start()
        self.assert_closed(self.pf, *SRIOV)
        # Until the first search for users has ended, every VF counts as in use, and the search has descriptors of its own.
        self.wait_property(OTHER, "Locked", False)
        self.limit = resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE)

    def use_up(self):
        """No descriptor can be had from now on: a limit is one of numbers, and all below are taken."""
        used = fixtures.descriptors(self.daemon.pid)
        lowest = next(number for number in range(len(used) + 1) if number not in used)
        resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, (lowest, self.limit[1]))

    def relieve(self):
        resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, self.limit)

    def test_what_is_locked_stays_locked(self):
        self.start_world()
        before = self.client.function(PF, "Kind"), self.client.function(PF, "LockReasons")
        self.use_up()
        mark = len(self.notify.messages)
        for _ in range(3):
            self.use_up()  # also what was in use for a moment when the limit was set
            for function in (self.pf, self.other, self.other.vfs[0]):
                self.sysfs.change(function)
            self.wait_problem(f"{PF}: Failed to read its directory: Too many open files")
            self.wait_problem("Failed to get a descriptor")
        self.assertEqual((self.client.function(PF, "Kind"), self.client.function(PF, "LockReasons")), before)
        self.assert_closed(self.pf, *SRIOV)
        self.assertIsNotNone(self.picture.function(self.other.vfs[0].address))
        vb.wait_until(lambda: len(self.notify.having("WATCHDOG", mark)) >= 3, None, "WATCHDOG=1")
        vb.wait_until(lambda: any("problems" in m["STATUS"] for m in self.notify.having("STATUS", mark)), None,
                      "the status to count problems")

        # What happens meanwhile is found when there are descriptors again, without another event.
        self.sysfs.rebind(self.other, "vfio-pci")
        self.sysfs.add_pf(NEW, driver="vfio-pci", announce=True)
        self.wait_problem(f"{OTHER}: ")
        self.assertIsNone(self.picture.function(NEW))
        self.relieve()
        self.wait_property(OTHER, "Driver", "vfio-pci")
        self.assert_closed(self.other, *SRIOV)
        self.wait_function(NEW)
        self.assert_closed(self.sysfs[NEW], *SRIOV)
        self.wait_no_problem()

    def test_a_lock_still_closes_and_is_saved(self):
        self.start_world()
        self.use_up()
        self.client.lock(OTHER, "mine")
        self.assert_closed(self.other, *ALL)
        self.wait_slot_mode("4", 0o444)
        self.wait_property(OTHER, "ClosedFiles", [*ALL, "power"])
        # Somebody restores its write bit.
        self.other.chmod("sriov_numvfs", 0o644)
        self.assert_closed(self.other, *ALL)
        self.kill()
        self.start()
        self.assertEqual(self.client.function(OTHER, "LockWhy"), "mine")
        self.assert_closed(self.other, *ALL)
        self.client.unlock(OTHER)
        self.assert_closed(self.other)

    def test_an_unlock_still_opens(self):
        self.start_world()
        self.client.lock(OTHER, "mine")
        self.assert_closed(self.other, *ALL)
        self.use_up()
        self.client.unlock(OTHER)
        self.assert_closed(self.other)
        self.wait_slot_mode("4", 0o644)
        self.relieve()
        self.wait_no_problem()

    def test_an_inhibitor_is_refused_and_nothing_is_left_of_it(self):
        self.start_world()
        self.use_up()
        with self.assertRaises(vb.BusError) as caught:
            self.client.bus.call(vb.ROOT, vb.MANAGER, "Inhibit", "(ssss)", (OTHER, "reset", "who", "why"))
        self.assertNotIn("NoReply", caught.exception.name)
        self.assertEqual(self.client.manager("ListInhibitors"), [])
        self.assert_closed(self.other)
        self.relieve()

    def test_the_reserve_is_whole_afterwards(self):
        self.start_world()

        def in_reserve():
            return list(fixtures.descriptors(self.daemon.pid).values()).count("anon_inode:[eventfd]")
        whole = in_reserve()
        self.assertGreaterEqual(whole, 16)
        for _ in range(3):
            self.use_up()
            self.client.lock(OTHER, "mine")
            self.assert_closed(self.other, *ALL)
            self.relieve()
            self.client.unlock(OTHER)
            self.assert_closed(self.other)
            self.fence()
            self.assertEqual(in_reserve(), whole)
        self.wait_no_problem()


if __name__ == "__main__":
    fixtures.main()
