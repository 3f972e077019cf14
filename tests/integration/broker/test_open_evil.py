#!/usr/bin/python3
"""Processes that open functions for the daemon and hang, or cannot be killed."""

import os

import fixtures
from fixtures import wait_until
from ioprocess import LOAD, READY, STATUS
from test_io_evil import EvilTest, OPENED, report
import test_open
from test_session import OTHER, PLAIN, ZPCI_IO
import test_vf_tokens
import vfwarden_bus as vb


class Hanging(fixtures.DaemonTest):
    """The daemon's SIGKILL ends nothing as long as a file is there, as where a process hangs in the kernel."""

    def setUp(self):
        super().setUp()
        self.deathless = os.path.join(self.sysfs.root, "deathless")
        with open(self.deathless, "w", encoding="ascii"):
            pass
        self.preload.append(os.environ["VFWARDEN_DEATHLESS"])


class Deathless(Hanging, EvilTest):
    """It hangs in the kernel: SIGKILL does not end it."""

    def problems(self):
        return self.client.manager_property("Problems")

    def test_a_session(self):
        self.start(io="MaxSessionsPerUser=1\n")
        end, puppet = self.session()
        puppet.say(report(STATUS))
        self.assert_closed(end)
        self.wait_property(PLAIN, "InUse", False)
        self.assertFalse(puppet.has_ended)
        wait_until(lambda: any(PLAIN in text and str(puppet.pid) in text for text in self.problems()), None,
                   lambda: f"the problem to be shown: {self.problems()}")
        message = self.assert_fails(vb.REFUSED, self.start_open().result)
        self.assertIn(f"process {puppet.pid} (vfwarden-io) hangs", message)
        self.assert_fails(vb.LIMITS_EXCEEDED, self.start_open(OTHER).result)
        os.unlink(self.deathless)
        puppet.connection.close()
        fixtures.wait_for_end(puppet.pidfd)
        wait_until(lambda: not self.problems(), None, "the problem to end")
        self.session()

    def test_the_memory_of_a_session(self):
        """What it may have pinned stays the user's."""
        self.start(io="MaxMappedMemoryPerUser=2\n")
        end, puppet = self.session(max_mapped_memory=1 << 20)
        puppet.say(report(STATUS))
        self.assert_closed(end)
        wait_until(self.problems, None, "it to be given up")
        self.assert_fails(vb.LIMITS_EXCEEDED, self.start_open(OTHER, max_mapped_memory=(1 << 20) + 4096).result)
        _, other = self.session(OTHER, max_mapped_memory=1 << 20)
        other.connection.close()
        self.wait_property(OTHER, "InUse", False)
        os.unlink(self.deathless)
        puppet.connection.close()
        wait_until(lambda: not self.problems(), None, "the problem to end")
        self.session(max_mapped_memory=2 << 20)

    def test_a_single_request(self):
        self.start()
        call = self.client.bus.start_call(vb.function_path(PLAIN), ZPCI_IO, "Load", "(ytq)", (0, 16, 8))
        puppet = self.puppet()
        puppet.say(report(READY))
        self.assertEqual(puppet.order(), LOAD)
        puppet.say(report(LOAD, length=7))
        self.assert_fails(vb.FAILED, call.result)
        wait_until(lambda: self.problems() and not self.users(PLAIN), None, "it to be given up")
        message = self.assert_fails(vb.REFUSED, self.call, PLAIN, "Load", "(ytq)", 0, 16, 8)
        self.assertIn(f"process {puppet.pid} (vfwarden-io) hangs", message)
        os.unlink(self.deathless)
        puppet.connection.close()
        wait_until(lambda: not self.problems(), None, "the problem to end")

    def test_the_daemon_ends(self):
        """It does not wait, and its successor is not confused."""
        self.start()
        _, puppet = self.session()
        puppet.say(report(STATUS))
        wait_until(self.problems, None, "it to be given up")
        self.stop()
        self.client.recorder.listeners.clear()
        self.start()
        self.assertEqual(self.users(PLAIN), [])
        puppet.connection.close()


class Openers(Hanging, test_open.OpenTest):
    """The process that opens hangs in the kernel."""

    def test_it_hangs(self):
        self.polkit.verdicts["org.vfwarden1.zpci-io"] = True
        self.start()
        self.vfio.hang()
        opening = self.start_open(test_open.ONE)
        session = self.client.bus.start_call(vb.function_path(test_open.TWO), ZPCI_IO, "OpenSession", "(a{sv})", ({},))
        for call in (opening, session):
            with self.assertRaises(vb.BusError) as caught:
                call.result(OPENED)
            self.assertEqual(caught.exception.name, vb.TIMEOUT)
        for address in (test_open.ONE, test_open.TWO):
            self.wait_property(address, "InUse", False)
        self.assertEqual(self.client.manager("ListUsers"), [], "nothing is left behind")
        pids = self.helpers("vfwarden-open")
        self.assertEqual(len(pids), 2)
        for call in (self.start_open(test_open.ONE),
                     self.client.bus.start_call(vb.function_path(test_open.TWO), ZPCI_IO, "OpenSession", "(a{sv})",
                                                ({},))):
            with self.assertRaises(vb.BusError) as caught:
                call.result()
            self.assertEqual(caught.exception.name, vb.REFUSED)
            self.assertIn("(vfwarden-open) hangs in the kernel", caught.exception.message)
        wait_until(lambda: len(self.client.manager_property("Problems")) == 2, None, "the problems")
        os.unlink(self.deathless)
        self.vfio.go_on()
        wait_until(lambda: not self.client.manager_property("Problems"), None, "the problems to end")
        fd, _ = self.open(test_open.ONE)
        os.close(fd)
        self.wait_property(test_open.ONE, "InUse", False)


class TokenOpeners(test_vf_tokens.TokenTest):
    def test_imposing_hangs(self):
        """The callers of GetVfToken() and of Open() get errors, and nothing is left behind."""
        self.start()
        self.vfio.hang()
        pf, vf = test_vf_tokens.PF, test_vf_tokens.VFS[0]
        token = self.client.bus.start_call(vb.function_path(pf), vb.PHYSICAL, "GetVfToken")
        opening = self.start_open(vf)
        for call in (token, opening):
            with self.assertRaises(vb.BusError) as caught:
                call.result(OPENED)
            self.assertEqual(caught.exception.name, vb.TIMEOUT)
        for address in (pf, vf):
            self.wait_property(address, "InUse", False)
        self.assertEqual(self.client.manager("ListUsers"), [])
        wait_until(lambda: not self.helpers("vfwarden-open"), None, "the process to be ended")
        self.vfio.go_on()
        fd, _ = self.open(vf)
        os.close(fd)
        self.wait_property(vf, "InUse", False)


if __name__ == "__main__":
    fixtures.main()
