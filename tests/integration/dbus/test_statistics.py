#!/usr/bin/python3
"""org.vfwarden1.Statistics counts what clients and other processes did."""

import os
import time

import fixtures
import vfwarden_bus as vb
from test_operations import OperationTest

PF = "0000:01:00.0"
VFS = ["0000:01:10.0", "0000:01:10.2"]
PLAIN = "0000:02:00.0"
STATISTICS = "org.vfwarden1.Statistics"
RESULTS = {"done", "refused", "busy", "timed-out", "cancelled", "gone", "failed"}
OPERATIONS = {"set-num-vfs", "set-autoprobe", "bind", "unbind", "reset"}


class Statistics(OperationTest):
    def setUp(self):
        fixtures.DaemonTest.setUp(self)
        self.start_polkit(configure=True, inhibit=True, unplug=True, override=True)
        self.start_kernel()

    def statistics(self):
        return self.client.get_all(vb.ROOT, STATISTICS)

    def calls(self, name):
        """The calls that were counted, without those of which there were none: the last two numbers of a row."""
        return {tuple(row[:-2]): row[-2] for row in self.statistics()[name] if row[-2]}

    def wait_gauge(self, name, value):
        """Numbers of functions are up to a second old."""
        vb.wait_until(lambda: self.statistics()[name] == value, None, f"{name} to be {value}")

    def test_all_begins_at_zero(self):
        self.sysfs.add_pf(PF, vfs=2)
        before = time.time()
        self.start()
        statistics = self.statistics()
        self.assertLess(abs(statistics["StartedUsec"] / 1e6 - before), vb.DEADLINE)
        self.assertEqual({row[:2] for row in map(tuple, statistics["Operations"])},
                         {(operation, result) for operation in OPERATIONS for result in RESULTS})
        self.assertEqual({row[0] for row in statistics["Unplugs"]}, RESULTS)
        self.assertEqual(set(statistics["Violations"].values()), {0})
        self.assertEqual(len(statistics["Violations"]), 9)
        for name in ("SessionsOpened", "LeasesOpened", "LostEvents", "Sessions", "Leases", "Inhibitors", "FunctionsInUse",
                     "FunctionsLocked"):
            self.assertEqual(statistics[name], 0, name)
        self.assertEqual((self.calls("Operations"), self.calls("Unplugs")), ({}, {}))

    def test_operations_by_result(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        vf = pf.vfs[0]
        self.reset(PF)
        self.reset(PF)
        self.use(vf)
        for _ in range(3):
            with self.assertRaises(vb.BusError):
                self.set_num_vfs(PF, 0)
        self.assertEqual(self.calls("Operations"), {("reset", "done"): 2, ("set-num-vfs", "refused"): 3})
        usec = {tuple(row[:2]): row[-1] for row in self.statistics()["Operations"]}
        self.assertGreater(usec["reset", "done"], 0)
        self.assertEqual(usec["bind", "done"], 0)

    def test_unplugs_by_result(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        for timeout in (0, 0.01):
            with self.assertRaises(vb.BusError):
                self.client.start_unplug(PLAIN, timeout).result()
        self.assertEqual(self.calls("Unplugs"), {("refused",): 1, ("timed-out",): 1})
        took = {row[0]: row[-1] for row in self.statistics()["Unplugs"]}["timed-out"]
        self.assertGreaterEqual(took, 10_000)

    def test_each_violation_counts(self):
        """Also those that one signal reports together."""
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        vb.wait_until(lambda: pf.mode("sriov_numvfs") == 0o444, None, "it to be locked")
        for n in range(12):
            pf.chmod("sriov_numvfs", 0o644)
            vb.wait_until(lambda: pf.mode("sriov_numvfs") == 0o444, None, "it to be locked again")
            vb.wait_until(lambda: self.statistics()["Violations"]["set-num-vfs"] == n + 1, None, "it to be counted")

    def test_how_many_there_are(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        inhibitor = self.client.inhibit(PF, "reset", "test", "")
        self.client.lock(PF)
        self.use(pf.vfs[0])
        self.wait_gauge("Inhibitors", 1)
        self.wait_gauge("FunctionsInUse", 1)
        locked = sum(self.client.get(vb.function_path(address), vb.FUNCTION, "Locked") for address in (PF, *VFS))
        self.wait_gauge("FunctionsLocked", locked)
        self.assertGreaterEqual(locked, 1)
        os.close(inhibitor)
        self.wait_gauge("Inhibitors", 0)

    def test_the_loop(self):
        self.sysfs.add(PLAIN)
        self.start()
        before = self.statistics()
        after = self.statistics()
        self.assertGreater(after["LoopTurns"], before["LoopTurns"])
        self.assertGreaterEqual(after["LoopBusyUsec"], before["LoopBusyUsec"])
        self.assertGreater(after["LoopLongestUsec"], 0)

    def test_everybody_may_read_them(self):
        self.sysfs.add(PLAIN)
        self.start()
        with self.acting_as():
            self.assertEqual(len(self.statistics()["Violations"]), 9)


if __name__ == "__main__":
    fixtures.main()
