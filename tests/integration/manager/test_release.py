#!/usr/bin/python3
"""After release-all nothing is closed again, until somebody reloads or starts the daemon."""

import os
import signal

import fixtures
from fakesystemd import Systemd
from test_lock import LockTest, SRIOV
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
