#!/usr/bin/python3
"""After release-all nothing is closed again, until somebody reloads or starts the daemon."""

import errno
import os
import signal

import fixtures
from fakesystemd import Systemd
from test_lock import ALL, LockTest, SRIOV
import vfwarden_bus as vb

PF = "0000:01:00.0"


class Release(LockTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True, inhibit=True)
        self.systemd = Systemd(self.bus.address)
        self.addCleanup(self.systemd.close)
        self.pf = self.sysfs.add_pf(PF, driver="vfio-pci")

    def release(self):
        self.start()
        self.client.lock(PF, "mine")
        self.client.manager("ReleaseAll")
        self.assert_released()

    def assert_released(self):
        self.assert_closed(self.pf)
        self.assertEqual(self.client.manager_property("Enforcement"), "advise")
        problem, = self.client.manager_property("Problems")
        self.assertIn("release-all", problem)
        self.assertEqual(self.client.function(PF, "LockWhy"), "")

    def assert_guards(self):
        self.assert_closed(self.pf, *SRIOV)
        self.assertEqual(self.client.manager_property("Enforcement"), "enforce")
        self.assertEqual(self.client.manager_property("Problems"), [])

    def restart_by_itself(self):
        """As systemd does after a crash."""
        self.systemd.n_restarts += 1
        self.start(picture=False)

    def test_a_crash_closes_nothing(self):
        self.release()
        for number in (signal.SIGKILL, signal.SIGABRT):     # the watchdog's is SIGABRT
            self.client.recorder.listeners.clear()
            self.picture = None
            self.daemon.kill(number)
            self.daemon.wait_exit()
            vb.wait_until(lambda: self.client.bus.name_owner() is None, None, "the name to be free")
            self.restart_by_itself()
            self.assert_released()
            # Nor does what comes then.
            self.sysfs.rebind(self.pf, "igb")
            self.sysfs.rebind(self.pf, "vfio-pci")
            self.fence()
            self.assert_released()
            os.close(self.client.inhibit(PF, "remove"))
            self.assert_closed(self.pf)

    def test_a_reload_after_a_crash_guards(self):
        self.release()
        self.kill()
        self.restart_by_itself()
        self.client.manager("Reload")
        self.assert_guards()
        self.kill()
        self.restart_by_itself()
        self.assert_guards()

    def test_a_reload_that_fails_does_not(self):
        self.release()
        self.configure("nonsense\n")
        self.assert_bus_error(vb.FAILED, self.client.manager, "Reload")
        self.assert_closed(self.pf)
        self.assertEqual(self.client.manager_property("Enforcement"), "advise")

    def test_a_start_guards(self):
        """Also where the daemon did not end by itself: after a crash, systemd had given up, say."""
        self.release()
        self.kill()
        self.systemd.n_restarts = 0
        self.start(picture=False)
        self.assert_guards()

    def test_a_restart_guards(self):
        self.release()
        self.stop()
        self.client.recorder.listeners.clear()
        self.start()
        self.assert_guards()

    def test_without_systemds_answer(self):
        """An end in order is somebody's; all else may have been a crash."""
        self.systemd.close()
        self.release()
        self.kill()
        self.start(picture=False)
        self.assert_released()
        self.stop()
        self.start(picture=False)
        self.assert_guards()

    # --- what cannot be unlocked

    def path(self, name):
        return f"/sys/bus/pci/devices/{PF}/{name}"

    def assert_fails(self, path, number):
        error = self.assert_bus_error(vb.FAILED, self.client.manager, "ReleaseAll")
        self.assertEqual(error.message, f"{path} stays locked: {os.strerror(number)}")

    def start_locked(self):
        self.faults = self.start_faults()
        self.start()
        self.client.lock(PF, "mine")
        self.assert_closed(self.pf, *ALL)

    def test_a_file_that_cannot_be_unlocked(self):
        self.start_locked()
        self.faults.set(("chmod", errno.EROFS, f"*/{PF}/reset"))
        self.assert_fails(self.path("reset"), errno.EROFS)
        self.assert_closed(self.pf, "reset")
        self.assertEqual(self.client.manager_property("Enforcement"), "advise")
        # Nor is it the next time, until the reason is gone.
        self.assert_fails(self.path("reset"), errno.EROFS)
        self.faults.clear()
        self.assertEqual(self.client.manager("ReleaseAll"), [self.path("reset")])
        self.assert_released()

    def test_several_files_that_cannot_be_unlocked(self):
        self.start_locked()
        self.faults.set(("chmod", errno.EACCES, f"*/{PF}/sriov_*"))
        error = self.assert_bus_error(vb.FAILED, self.client.manager, "ReleaseAll")
        self.assertIn(error.message, [f"{self.path(name)} stays locked: {os.strerror(errno.EACCES)} (and 1 more)"
                                      for name in SRIOV])
        self.assert_closed(self.pf, *SRIOV)

    def test_a_file_without_a_record_that_cannot_be_unlocked(self):
        self.start_locked()
        other = self.sysfs.add("0000:02:00.0", driver="igb", announce=True)
        self.wait_function(other.address)
        other.chmod("reset", 0)
        path = f"/sys/bus/pci/devices/{other.address}/reset"
        for call, number in (("chmod", errno.EPERM), ("stat", errno.EIO)):
            with self.subTest(call):
                self.faults.set((call, number, f"*/{other.address}/reset"))
                self.assert_fails(path, number)
                self.assert_closed(self.pf)
                self.assert_closed(other, "reset")
        self.faults.clear()
        self.assertEqual(self.client.manager("ReleaseAll"), [path])
        self.assert_closed(other)

    def test_files_of_a_function_that_cannot_be_read(self):
        """The record of an earlier run says what is locked."""
        self.start_locked()
        unreadable = ("open", errno.EIO, f"/sys/bus/pci/devices/{PF}")
        self.kill()
        self.faults.set(unreadable, ("chmod", errno.EROFS, f"*/{PF}/reset"))
        self.start(picture=False)
        vb.wait_until(lambda: any(PF in problem for problem in self.client.manager_property("Problems")), None,
                      "the problem")
        self.assert_closed(self.pf, *ALL)
        self.assert_fails(self.path("reset"), errno.EROFS)
        self.assert_closed(self.pf, "reset")
        self.faults.set(unreadable)
        self.assertEqual(self.client.manager("ReleaseAll"), [self.path("reset")])
        self.assert_closed(self.pf)


class Store(LockTest):
    def test_systemd_tells_how_many_descriptors_it_keeps(self):
        self.start_polkit(inhibit=True)
        systemd = Systemd(self.bus.address)
        self.addCleanup(systemd.close)
        systemd.fd_store_max = self.notify.max = 1
        self.sysfs.add_pf(PF)
        self.start()
        fd = self.client.inhibit(PF, "reset", "first")
        error = self.assert_bus_error(vb.FAILED, self.client.inhibit, PF, "reset", "second")
        self.assertIn("FileDescriptorStoreMax=", error.message)
        os.close(fd)


if __name__ == "__main__":
    fixtures.main()
