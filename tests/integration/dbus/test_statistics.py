#!/usr/bin/python3
"""org.vfwarden1.Statistics counts what clients and other processes did."""

import os
import time

import fixtures
import test_session
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


class Functions(test_session.SessionTest):
    """DescribeFunctions()."""

    def described(self):
        return {row["address"]: row for row in self.client.bus.call(vb.ROOT, STATISTICS, "DescribeFunctions")[0]}

    def wait_session(self, what, **counts):
        """The session's row, as soon as vfwarden-io has reported these counts: no signal says when."""
        def reported():
            row = self.described()[test_session.PLAIN]
            return all(row.get(name.replace("_", "-")) == value for name, value in counts.items()) and row
        return vb.wait_until(reported, None, what)

    def test_a_free_host(self):
        self.start()
        self.assertEqual(self.described(), {})

    def test_what_a_session_does(self):
        self.start()
        session, _ = self.open()
        row = self.wait_session("the first counts", loads=0, stores=0, bytes_loaded=0, bytes_stored=0, refused=0)
        self.assertEqual({name: row[name] for name in ("users", "violations", "session-pid", "session-uid")},
                         {"users": 1, "violations": 0, "session-pid": os.getpid(), "session-uid": 0})
        for _ in range(3):
            session.write(0, 8, bytes(16))
        session.read(0, 8, 4)
        later = self.wait_session("what it did to be counted", loads=1, stores=3, bytes_loaded=4, bytes_stored=48, refused=0)
        self.assertGreater(later["counted"], row["counted"])

    def test_counts_are_for_the_sessions_user_and_root(self):
        self.start()
        self.open()
        self.wait_session("the first counts", loads=0)
        with self.acting_as():
            row = self.described()[test_session.PLAIN]
        self.assertEqual(set(row), {"address", "users", "violations", "session-pid", "session-uid"})

    def test_violations_of_a_function(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        vb.wait_until(lambda: pf.mode("sriov_numvfs") == 0o444, None, "it to be locked")
        self.assertEqual(self.described(), {})
        pf.chmod("sriov_numvfs", 0o644)
        vb.wait_until(lambda: PF in self.described(), None, "the violation to be counted")
        self.assertEqual(self.described()[PF], {"address": PF, "users": 0, "violations": 1})


if __name__ == "__main__":
    fixtures.main()
