#!/usr/bin/python3
"""Requests and events that concern all functions: each turn of the loop judges some, and others are served in between."""

import os
import signal

import fixtures
from fakesystemd import Systemd
from smalldisk import SmallDisk
from test_lock import LockTest
import vfwarden_bus as vb

FUNCTIONS = 200

# So many functions are judged in one turn (APPLY_ROUND_FUNCTIONS); no function here has a PF.
SLICE = 32

OPEN, LOCKED = {0o200}, {0}


class SlicesTest(LockTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True, inhibit=True)
        self.systemd = Systemd(self.bus.address)
        self.addCleanup(self.systemd.close)
        self.functions = []
        self.addCleanup(self.let_go)
        self._fds = []

    def let_go(self):
        for fd in self._fds:
            os.close(fd)

    def add(self, driver):
        self.functions = [self.sysfs.add(f"0000:{0x10 + n // 256:02x}:{n // 8 % 32:02x}.{n % 8}", driver=driver)
                          for n in range(FUNCTIONS)]
        self.addresses = [function.address for function in self.functions]

    def start_inhibited(self, picture=False):
        self.add("e1000e")
        self.start(picture=picture)
        self._fds.append(self.client.inhibit_many(self.addresses, "reset", "web1")[0])
        self.assert_modes(LOCKED)
        self.mark = self.daemon.log_mark()

    def paths(self):
        return {f"/sys/bus/pci/devices/{address}/reset" for address in self.addresses}

    def modes(self):
        return {function.mode("reset") for function in self.functions}

    def assert_modes(self, modes):
        self.assertEqual({oct(mode) for mode in self.modes()}, {oct(mode) for mode in modes})

    def wait_modes(self, modes):
        vb.wait_until(lambda: self.modes() == modes, None, lambda: f"modes {modes}, are {self.modes()}")

    def wait_any(self, mode):
        vb.wait_until(lambda: mode in self.modes(), None, f"a function with mode {mode:o}")

    def assert_sliced(self, mark):
        """That many functions were judged since `mark`, and never many in one turn."""
        numbers = self.daemon.judged(mark)
        self.assertGreaterEqual(sum(numbers), FUNCTIONS)
        self.assertLessEqual(max(numbers), SLICE)

    def call(self, method):
        return self.client.bus.start_call(vb.ROOT, vb.MANAGER, method)

    def restart_by_itself(self):
        """As systemd does after a crash."""
        self.kill()
        self.systemd.n_restarts += 1
        self.start(picture=False)

    def assert_enforcement(self, word):
        self.assertEqual(self.client.manager_property("Enforcement"), word)


class FirstSearch(SlicesTest):
    def test_its_end_unlocks_all(self):
        """Until it has ended, every function of a VFIO driver counts as used."""
        self.add("vfio-pci")
        mark = len(self.notify.messages)
        self.spawn()
        vb.wait_until(lambda: self.notify.having("READY", mark), 4 * fixtures.DEADLINE, "READY=1")
        self.wait_modes(OPEN)
        numbers = self.daemon.judged()
        # The first round is the start's, before the loop.
        self.assertEqual(numbers[0], FUNCTIONS)
        self.assertGreaterEqual(sum(numbers[1:]), FUNCTIONS)
        self.assertLessEqual(max(numbers[1:]), SLICE)


class ReleaseAll(SlicesTest):
    def test_it_unlocks_all(self):
        self.start_inhibited()
        self.client.lock(self.addresses[0], "mine")
        self.client.lock(self.addresses[-1], "mine, too")
        mark = self.daemon.log_mark()
        files = self.client.manager("ReleaseAll")
        self.assert_modes(OPEN)
        self.assertLessEqual(self.paths(), set(files))
        self.assert_sliced(mark)
        self.assert_enforcement("advise")
        self.assertEqual([self.client.function(address, "LockWhy") for address in (self.addresses[0], self.addresses[-1])],
                         ["", ""])

    def test_what_comes_meanwhile_locks_nothing(self):
        self.start_inhibited(picture=True)
        release = self.call("ReleaseAll")
        lock = self.client.start_function_call(self.addresses[5], "Lock", "(s)", "mine")
        self.wait_any(0o200)
        for function in (self.functions[3], self.functions[-3]):
            self.sysfs.rebind(function, "vfio-pci")
        late = self.sysfs.add("0000:40:00.0", driver="vfio-pci", announce=True)
        release.result()
        lock.result()
        self.wait_function(late.address)
        self.fence()
        self.assert_modes(OPEN)
        self.assertEqual(late.mode("reset"), 0o200)

    def test_a_crash_in_its_midst(self):
        """The next daemon does the rest."""
        self.start_inhibited()
        release = self.call("ReleaseAll")
        self.wait_any(0o200)
        self.restart_by_itself()
        self.wait_modes(OPEN)
        self.assert_enforcement("advise")
        try:
            release.result()
        except vb.BusError as error:
            self.assertEqual(error.name, "org.freedesktop.DBus.Error.NoReply")

    def test_a_full_disk_changes_nothing(self):
        disk = SmallDisk(self.state_dir, "512k")
        self.addCleanup(disk.close)
        self.start_inhibited()
        for address in (self.addresses[0], self.addresses[-1]):
            self.client.lock(address, "mine")
        disk.fill()
        error = self.assert_bus_error(vb.FAILED, self.client.manager, "ReleaseAll")
        self.assertIn(self.state_dir, error.message)
        self.assert_modes(LOCKED)
        self.assert_enforcement("enforce")
        for address in (self.addresses[0], self.addresses[-1]):
            self.assertEqual(self.client.function(address, "LockWhy"), "mine")

    def test_two_at_a_time(self):
        self.start_inhibited()
        calls = [self.call("ReleaseAll") for _ in range(2)]
        for call in calls:
            call.result()
        self.assert_modes(OPEN)

    def test_a_reload_in_its_midst_counts(self):
        self.start_inhibited()
        release, reload = self.call("ReleaseAll"), self.call("Reload")
        try:
            release.result()
        except vb.BusError as error:
            self.assertEqual((error.name, error.message), (vb.FAILED, "the configuration was read again meanwhile"))
        reload.result()
        self.assert_enforcement("enforce")
        self.assert_modes(LOCKED)
        self.restart_by_itself()
        self.assert_enforcement("enforce")
        self.wait_modes(LOCKED)


class Reload(SlicesTest):
    def released(self):
        self.start_inhibited()
        self.client.manager("ReleaseAll")
        self.mark = self.daemon.log_mark()

    def test_it_locks_all(self):
        self.released()
        self.client.manager("Reload")
        self.assert_modes(LOCKED)
        self.assert_sliced(self.mark)
        self.assert_enforcement("enforce")

    def test_nothing_is_locked_any_more(self):
        self.start_inhibited()
        self.configure("[Lock]\nEnforcement=advise\n")
        self.client.manager("Reload")
        self.assert_modes(OPEN)
        self.assert_sliced(self.mark)

    def test_two_at_a_time(self):
        """The last one counts, and each is answered when all is as it wants."""
        self.released()
        first = self.call("Reload")
        self.wait_any(0)
        self.configure("[Lock]\nEnforcement=advise\n")
        second = self.call("Reload")
        first.result()
        second.result()
        self.assert_modes(OPEN)
        self.assert_enforcement("advise")

    def test_a_release_in_its_midst_counts(self):
        self.released()
        reload, release = self.call("Reload"), self.call("ReleaseAll")
        reload.result()
        release.result()
        self.assert_modes(OPEN)
        self.assert_enforcement("advise")

    def test_a_crash_in_its_midst(self):
        self.released()
        self.call("Reload")
        self.wait_any(0)
        self.restart_by_itself()
        self.assert_enforcement("enforce")
        self.wait_modes(LOCKED)

    def test_sighup_is_answered_when_all_is_done(self):
        self.released()
        mark = len(self.notify.messages)
        self.daemon.kill(signal.SIGHUP)
        vb.wait_until(lambda: self.notify.having("READY", mark), None, "READY=1")
        self.assert_modes(LOCKED)
        self.assertEqual(len(self.notify.having("RELOADING", mark)), 1)


if __name__ == "__main__":
    fixtures.main()
