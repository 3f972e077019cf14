#!/usr/bin/python3
"""Functions that vfwarden-spawn opens for the daemon, and sessions that it starts."""

import errno
import os
import signal
import socket
import time

import fixtures
from fixtures import BusError, wait_until
from ioprocess import CLOSED, READY
from pace import DEADLINE
from programs import descriptors
import test_io_evil
import test_open
import test_session
from test_spawn import ENDED, receive, STARTED, wait_readable
import vfwarden_bus as vb


class OpenByService(test_open.OpenTest):
    """The daemon's clients, when the service is not as it should be."""
    SPAWN_SERVICE = True

    def problems(self):
        return [text for text in self.client.manager_property("Problems") if "vfwarden-spawn" in text]

    def failing(self, call):
        with self.assertRaises(BusError) as caught:
            call.result(2 * DEADLINE)
        return caught.exception.name

    def assert_opens(self):
        fd, _ = self.open()
        os.close(fd)
        self.wait_free()
        self.assertEqual(self.problems(), [])

    def test_it_is_stopped(self):
        """Nobody waits for it but the client whose order it has."""
        self.start()
        self.spawn_service.kill(signal.SIGSTOP)
        calls = [self.start_open(address) for address in (test_open.ONE, test_open.TWO)]
        began = time.monotonic()
        for _ in range(20):
            self.client.ping()
            self.client.manager("Check", "(ss)", test_open.ONE, "unbind")
        self.assertLess(time.monotonic() - began, DEADLINE / 2)
        for call in calls:
            self.assertIn(self.failing(call), (vb.FAILED, vb.TIMEOUT))
        wait_until(self.problems, None, "the problem")
        for address in (test_open.ONE, test_open.TWO):
            self.wait_free(address)
        self.spawn_service.kill(signal.SIGCONT)
        self.assert_opens()
        wait_until(lambda: not self.spawn_service.children(), None, "what came too late to end")

    def test_it_is_killed_in_the_midst(self):
        """An order that it has is lost; one behind is served by the next."""
        self.start()
        service = self.spawn_service
        service.kill(signal.SIGSTOP)
        first = self.start_open(test_open.ONE)
        wait_until(lambda: self.client.function(test_open.ONE, "InUse"), None, "the opening to begin")
        service.kill(signal.SIGKILL)
        service.wait_exit()
        service.close()
        service.run()
        fd = first.result()[0]
        for number in first.fds:
            os.close(number)
        self.assertGreaterEqual(fd, 0)
        self.wait_free()
        # It ends while a process is opening for it.
        self.vfio.hang()
        second = self.start_open(test_open.TWO)
        # The process has received its task, which the daemon sends when it knows the pid.
        wait_until(lambda: any("anon_inode:inotify" in descriptors(pid).values() for pid in self.helpers("vfwarden-open")),
                   None, "the process that opens to hang")
        service.kill(signal.SIGKILL)
        service.wait_exit()
        # It goes on.
        self.vfio.go_on()
        second.result()
        for number in second.fds:
            os.close(number)
        self.wait_free(test_open.TWO)

    def test_it_is_not_there(self):
        self.start()
        service = self.spawn_service
        os.rename(service.path, service.path + ".away")
        self.assertEqual(self.failing(self.start_open()), vb.FAILED)
        self.assertEqual(len(self.problems()), 1)
        self.wait_free()
        os.rename(service.path + ".away", service.path)
        self.assert_opens()

    def test_it_lies(self):
        """What the service says is judged, too."""
        self.start()
        self.spawn_service.kill(signal.SIGTERM)
        self.spawn_service.wait_exit()
        listening = self.spawn_service.listening
        null = os.open("/dev/null", os.O_RDWR)
        self.addCleanup(os.close, null)
        for answer, fds in ((b"", []), (b"x", []), (STARTED.pack(0, 1), [null]), (STARTED.pack(0, os.getpid()), []),
                            (STARTED.pack(0, -1), [null]), (STARTED.pack(-1, 0), []), (STARTED.pack(22, 0), [null]),
                            (STARTED.pack(0, 2**31 - 1), [null]), (STARTED.pack(0, os.getpid()), [null] * 3),
                            (STARTED.pack(12, 0), []), (ENDED.pack(9), [])):
            call = self.start_open()
            wait_readable(listening, "a connection")
            connection, _ = listening.accept()
            receive(connection, "the order")
            if answer:
                socket.send_fds(connection, [answer], fds)
            connection.close()
            self.assertEqual(self.failing(call), vb.FAILED, (answer, fds))
            self.wait_free()


class LastReports(test_io_evil.EvilTest):
    SPAWN_SERVICE = True

    @staticmethod
    def is_stopped(pid):
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"

    def test_they_are_heard_before_the_end(self):
        """It reports and ends, and the service has reported the end, before the daemon has a turn."""
        self.start()
        call = self.start_open()
        puppet = self.puppet()
        self.daemon.kill(signal.SIGSTOP)
        try:
            wait_until(lambda: self.is_stopped(self.daemon.pid), None, "the daemon to stop")
            puppet.say(test_io_evil.report(READY))
            puppet.say(test_io_evil.report(CLOSED, error=-errno.EUCLEAN))
            puppet.connection.send(b"x")    # it ends
            wait_until(lambda: not self.spawn_service.children(), None, "the service to reap it")
        finally:
            self.daemon.kill(signal.SIGCONT)
        call.result()
        os.close(call.fds[0])
        self.daemon.wait_log(f"the I/O session of .* has ended: {os.strerror(errno.EUCLEAN)}")


class SessionsByService(test_session.SessionTest):
    SPAWN_SERVICE = True

    def test_sessions_outlive_it(self):
        self.start()
        session, _ = self.open()
        pid = self.io_pid()
        self.spawn_service.kill(signal.SIGKILL)
        self.spawn_service.wait_exit()
        session.write(0, 0, b"lives...")
        self.assertEqual(session.read(0, 0, 8), b"lives...")
        self.assertEqual(self.users(test_session.PLAIN), [(os.getpid(), os.getuid())])
        os.kill(pid, signal.SIGKILL)
        self.wait_property(test_session.PLAIN, "InUse", False)
        self.daemon.wait_log(r"the I/O session of .* has ended")

    def test_by_which_signal_a_session_ended(self):
        self.start()
        session, _ = self.open()
        os.kill(self.io_pid(), signal.SIGABRT)
        session.expect_close()
        self.daemon.wait_log("vfwarden-io was killed by SIGABRT")

    def test_it_is_stopped_when_a_session_ends(self):
        """That the process has ended, the kernel tells."""
        self.start()
        session, _ = self.open()
        pid = self.io_pid()
        self.spawn_service.kill(signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        session.expect_close()
        self.wait_property(test_session.PLAIN, "InUse", False)
        self.assertEqual(self.users(test_session.PLAIN), [])


if __name__ == "__main__":
    fixtures.main()
