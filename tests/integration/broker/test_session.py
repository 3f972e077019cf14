#!/usr/bin/python3
"""I/O sessions over the daemon: opened, limited, seen, drained, kept; with the emulated back end and the real vfwarden-io."""

import errno
import os
import select
import signal
import socket
import statistics
import subprocess
import time

from gi.repository import GLib

import fixtures
from fixtures import wait_until
import pace
from reachable import reachable
import vfio_user
import vfwarden_bus as vb

PLAIN = "0000:02:00.0"
OTHER = "0000:03:00.0"
PF = "0000:04:00.0"
VF = "0000:04:10.0"
ZPCI_IO = "org.vfwarden1.ZpciIo"
LONG = 600      # seconds: does not pass in a test


class SessionTest(fixtures.DaemonTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(zpci_io=True, unplug=True, inhibit=True, configure=True)
        self.start_kernel()
        self.sysfs.add(PLAIN, driver="vfio-pci")
        self.sysfs.add(OTHER, driver="vfio-pci")
        self.sessions = []

    def io_options(self):
        return [f"--io-program={reachable(os.environ['VFWARDEN_IO'])}", "--io-user=nobody"]

    def start(self, *options, io="", drain=1, **kwargs):
        self.configure(f"[Io]\nEmulatedFunctions={PLAIN} {OTHER} {VF}\nDrainSeconds={drain}\n{io}")
        return super().start(*self.io_options(), *options, **kwargs)

    def call(self, address, method, signature, *arguments, client=None):
        return (client or self.client).bus.call(vb.function_path(address), ZPCI_IO, method, signature, arguments)

    def start_open(self, address=PLAIN, client=None, **options):
        values = {name.replace("_", "-"): GLib.Variant("t", value) for name, value in options.items()}
        return (client or self.client).bus.start_call(vb.function_path(address), ZPCI_IO, "OpenSession", "(a{sv})",
                                                      (values,), with_fds=True)

    def open(self, address=PLAIN, **options):
        """(a client of vfio-user, what OpenSession told)"""
        call = self.start_open(address, **options)
        _, facts = call.result()
        end = socket.socket(fileno=call.fds[0])
        end.settimeout(fixtures.DEADLINE)
        session = vfio_user.Client(end)
        session.version()
        self.sessions.append(session)
        self.addCleanup(session.close)
        return session, facts

    def property(self, address, name):
        return self.picture.objects[vb.function_path(address)][ZPCI_IO][name]

    def users(self, address):
        return [row[1:3] for row in self.client.manager("ListUsers") if row[0] == address]

    def assert_fails(self, name, call, *arguments, **kwargs):
        with self.assertRaises(vb.BusError) as caught:
            call(*arguments, **kwargs)
        self.assertEqual(caught.exception.name, name, caught.exception)
        return caught.exception.message

    def io_pid(self):
        """Of the one process vfwarden-io."""
        pids = self.helpers("vfwarden-io")
        self.assertEqual(len(pids), 1, pids)
        return pids[0]


class Sessions(SessionTest):
    def test_one_client_one_function(self):
        self.start()
        self.assertEqual(self.property(PLAIN, "Backend"), "emulated")
        mark = self.mark()
        session, facts = self.open()
        self.assertEqual(facts, {"backend": "emulated", "max-store-block": 4096, "relaxed": False, "pieces": False,
                                 "config-region": 7, "zpci-region": 9})
        session.write(0, 0, bytes(range(16)))
        self.assertEqual(session.read(0, 8, 8), bytes(range(8, 16)))
        self.wait_property(PLAIN, "InUse", True)
        self.assertEqual(self.users(PLAIN), [(os.getpid(), os.getuid())])
        allowed, blockers, _ = self.client.manager("Check", "(ss)", PLAIN, "unbind")
        self.assertFalse(allowed)
        self.assertEqual([(kind, subject, pid) for kind, subject, _, pid in blockers],
                         [("session", PLAIN, os.getpid())])
        message = self.assert_fails(vb.REFUSED, self.start_open().result)
        self.assertIn(f"pid {os.getpid()}", message)
        self.assert_fails(vb.REFUSED, self.call, PLAIN, "Load", "(ytq)", 0, 0, 8)
        self.assertEqual(self.users(OTHER), [])
        session.close()
        self.wait_property(PLAIN, "InUse", False)
        changes = [s.args[1]["InUse"] for s in self.client.recorder.since(
            mark, "PropertiesChanged", vb.function_path(PLAIN)) if "InUse" in s.args[1]]
        self.assertEqual(changes, [True, False])

    def test_data_stays(self):
        self.start()
        session, _ = self.open()
        session.write(0, 0, b"to stay.")
        session.close()
        self.wait_property(PLAIN, "InUse", False)
        self.assertEqual(bytes(self.call(PLAIN, "Load", "(ytq)", 0, 0, 8)[0]), b"to stay.")

    def test_limits(self):
        self.start(io="MaxSessionsPerUser=1\nMaxMappedMemoryPerUser=2\n")
        self.assert_fails(vb.LIMITS_EXCEEDED, self.start_open(max_mapped_memory=(2 << 20) + 1).result)
        first, _ = self.open(max_mapped_memory=2 << 20)
        self.assert_fails(vb.LIMITS_EXCEEDED, self.start_open(OTHER, max_mapped_memory=0).result)
        memory = os.memfd_create("guest")
        os.ftruncate(memory, 4 << 20)
        with self.assertRaises(vfio_user.ErrorReply):
            first.map(0, 4 << 20, memory)
        first.map(0, 2 << 20, memory)
        os.close(memory)
        first.close()
        self.wait_property(PLAIN, "InUse", False)
        self.open(OTHER, max_mapped_memory=0)

    def test_wrong_options(self):
        self.start()
        self.assert_fails(vb.INVALID_ARGS, self.start_open(colour=1).result)
        self.assert_fails(vb.INVALID_ARGS, self.start_open(max_mapped_memory=1 << 51).result)

    def listen(self):
        """A listening socket, at a name of the kernel's own."""
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind("")
        listener.listen(1)
        return listener

    def start_open_at(self, listener):
        return self.client.bus.start_call(vb.function_path(PLAIN), ZPCI_IO, "OpenSession", "(a{sv})",
                                          ({"listener": GLib.Variant("h", 0)},), with_fds=True, fds=[listener.fileno()])

    def open_at(self, listener):
        """What OpenSession gave, for a client that connects by itself."""
        call = self.start_open_at(listener)
        call.result()
        held = socket.socket(fileno=call.fds[0])
        held.settimeout(fixtures.DEADLINE)
        self.addCleanup(held.close)
        return held

    def connect(self, listener):
        end = socket.socket(socket.AF_UNIX)
        end.settimeout(fixtures.DEADLINE)
        end.connect(listener.getsockname())
        session = vfio_user.Client(end)
        self.addCleanup(session.close)
        session.version()
        return session

    def test_a_client_that_connects(self):
        """To a socket of its own, at any later time."""
        self.start()
        listener = self.listen()
        held = self.open_at(listener)
        self.wait_property(PLAIN, "InUse", True)
        session = self.connect(listener)
        listener.close()
        session.write(0, 0, bytes(range(16)))
        self.assertEqual(session.read(0, 8, 8), bytes(range(8, 16)))
        session.close()
        self.assertEqual(held.recv(1), b"", "the end of the session")
        self.wait_property(PLAIN, "InUse", False)

    def test_nobody_connects(self):
        self.start()
        self.open_at(self.listen()).close()
        self.wait_property(PLAIN, "InUse", False)

    def test_a_client_that_connects_after_a_restart(self):
        self.start()
        listener = self.listen()
        held = self.open_at(listener)
        self.restart()
        session = self.connect(listener)
        session.write(0, 0, bytes(8))
        self.wait_property(PLAIN, "InUse", True)
        session.close()
        self.assertEqual(held.recv(1), b"")
        self.wait_property(PLAIN, "InUse", False)

    def test_what_is_no_listener(self):
        self.start()
        ours, theirs = socket.socketpair()
        with ours, theirs, socket.socket(socket.AF_UNIX) as silent, socket.socket() as net, \
                socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as packets, open("/dev/null", "rb") as null:
            net.bind(("127.0.0.1", 0))
            packets.bind("")
            for sock in (net, packets):
                sock.listen(1)
            for other in (ours, silent, net, packets, null):
                message = self.assert_fails(vb.INVALID_ARGS, self.start_open_at(other).result)
                self.assertIn("listener", message)
        self.wait_property(PLAIN, "InUse", False)

    def test_killed(self):
        self.start()
        session, _ = self.open()
        os.kill(self.io_pid(), signal.SIGKILL)
        session.expect_close()
        self.wait_property(PLAIN, "InUse", False)
        self.daemon.wait_log(r"the I/O session of .* has ended: vfwarden-io was killed by SIGKILL")
        self.open()

    def test_a_client_that_is_gone_takes_all_along(self):
        """Process, memory and device within 100 ms; the middle of some, for what else the machine does."""
        self.start()
        laps = []
        for _ in range(5):
            session, _ = self.open(max_mapped_memory=1 << 20)
            memory = os.memfd_create("guest")
            os.ftruncate(memory, 1 << 20)
            session.map(0, 1 << 20, memory)
            pidfd = os.pidfd_open(self.io_pid())
            client = subprocess.Popen(["sleep", "infinity"], pass_fds=[session.socket.fileno(), memory])
            os.close(memory)
            session.close()
            start = time.monotonic()
            client.kill()
            self.assertTrue(select.select([pidfd], [], [], fixtures.DEADLINE)[0])
            laps.append(time.monotonic() - start)
            os.close(pidfd)
            client.wait()
            self.wait_property(PLAIN, "InUse", False)
        self.assertLess(statistics.median(laps), pace.at_most(0.1), laps)

    def test_without_the_program(self):
        self.configure(f"[Io]\nEmulatedFunctions={PLAIN}\n")
        fixtures.DaemonTest.start(self, "--io-program=/nowhere", "--io-user=nobody")
        self.assert_fails(vb.FAILED, self.start_open().result)
        self.wait_property(PLAIN, "InUse", False)

    def test_a_client_that_leaves_before_the_answer(self):
        self.start()
        client = vb.Client(self.bus.address)
        call = self.start_open(client=client)
        client.bus.connection.flush_sync(None)
        client.close()
        wait_until(lambda: call.done, None, "the call to end with its connection")
        # The answer may have been quicker, and has brought the socket.
        for fd in call.fds:
            os.close(fd)
        self.fence()
        wait_until(lambda: not self.users(PLAIN), None, "the session to end with its socket")
        self.open()

    def test_over_a_restart(self):
        self.start()
        session, _ = self.open()
        session.write(0, 0, b"before..")
        for again in (self.restart_daemon, self.crash_daemon):
            again()
            self.assertEqual(session.read(0, 0, 8), b"before..")
            self.assertEqual(self.users(PLAIN), [(os.getpid(), os.getuid())])
            wait_until(lambda: self.property(PLAIN, "MaxStoreBlock") == 4096, None, "the session's facts")
            self.assert_fails(vb.REFUSED, self.start_open().result)
        session.close()
        self.wait_property(PLAIN, "InUse", False)

    def restart_daemon(self):
        self.stop()
        self.client.recorder.listeners.clear()
        self.start()

    def crash_daemon(self):
        fixtures.DaemonTest.kill(self)
        self.start()

    def test_ended_while_the_daemon_is_down(self):
        self.start()
        session, _ = self.open()
        self.stop()
        self.client.recorder.listeners.clear()
        session.close()
        self.start()
        wait_until(lambda: not self.users(PLAIN), None, "the session to be gone")


class Unplugged(SessionTest):
    @staticmethod
    def wait_refused(session):
        """The order to end reaches vfwarden-io on another way than requests do."""
        def is_refused():
            try:
                session.read(0, 0, 8)
            except vfio_user.ErrorReply as error:
                return error.errno == errno.ENODEV
            return False
        wait_until(is_refused, None, "ENODEV")

    def start_unplug(self, timeout=LONG, address=PLAIN, **options):
        return self.client.start_unplug(address, timeout, **options)

    def test_a_client_that_lets_go(self):
        self.start()
        session, _ = self.open()
        mark = self.mark()
        call = self.start_unplug()
        self.client.recorder.wait_for("UnplugRequested", mark=mark)
        session.write(0, 0, b"the last")     # served while it winds down
        self.assertEqual(session.read(0, 0, 8), b"the last")
        session.close()
        call.result()
        self.assertIsNone(self.picture.function(PLAIN))

    def test_a_client_that_does_not(self):
        self.start()
        session, _ = self.open()
        call = self.start_unplug(0.3)
        self.assert_fails(vb.TIMEOUT, call.result)
        session.write(0, 0, b"goes on.")
        self.wait_property(PLAIN, "State", "present")

    def test_insisting(self):
        self.start()
        session, _ = self.open()
        mark = self.mark()
        call = self.start_unplug(insist=True)
        self.client.recorder.wait_for("UnplugRequested", mark=mark)
        call.result()
        self.wait_function(PLAIN, there=False)
        self.wait_refused(session)

    def end_on_a_vf(self):
        """A session that an unplug has ended; the VF has no driver any more, and stays."""
        self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci")
        self.hold(VF)
        self.start()
        session, _ = self.open(VF)
        call = self.start_unplug(address=VF, insist=True)
        self.wait_property(VF, "State", "removing")
        self.wait_refused(session)
        self.kernel.let_go(self.sysfs[VF])
        call.result()
        return session

    def test_insisting_on_a_vf(self):
        """A client that keeps its socket keeps nothing else: neither the VF nor the number of VFs."""
        session = self.end_on_a_vf()
        self.wait_property(VF, "InUse", False)
        self.assertEqual(self.users(VF), [])
        self.assertEqual(self.client.check(PF, "set-num-vfs")[1], [])
        self.client.start_function_call(VF, "Bind", "(s)", "vfio-pci").result()
        again, _ = self.open(VF)
        again.write(0, 0, b"again...")
        self.wait_refused(session)
        session.close()
        self.assertEqual(again.read(0, 0, 8), b"again...")
        self.assertEqual(self.users(VF), [(os.getpid(), os.getuid())])

    def test_insisting_on_a_vf_before_a_restart(self):
        session = self.end_on_a_vf()
        self.wait_property(VF, "InUse", False)
        self.restart()
        self.wait_refused(session)
        self.assertEqual(self.users(VF), [])

    def begin_external_removal(self):
        """The kernel has taken the driver's link away, and waits for the user."""
        function = self.sysfs[PLAIN]
        self.sysfs.detach_driver(function, keep_enable=True)
        self.sysfs.change(function)
        self.wait_property(PLAIN, "State", "removing")

    def assert_ends(self, session):
        """The client sends requests all the time, and they are answered until then."""
        end = time.monotonic() + fixtures.DEADLINE
        with self.assertRaises(vfio_user.ErrorReply) as caught:
            while time.monotonic() < end:
                session.read(0, 0, 8)
        self.assertEqual(caught.exception.errno, errno.ENODEV)

    def test_an_external_removal(self):
        self.start()
        session, _ = self.open()
        self.begin_external_removal()
        self.assert_ends(session)

    def test_an_external_removal_after_a_crash(self):
        self.start()
        session, _ = self.open()
        self.kill()
        self.start()
        self.begin_external_removal()
        self.assert_ends(session)

    def test_an_external_removal_that_a_crash_interrupts(self):
        """The time to drain is counted anew."""
        self.start(drain=3600)
        session, _ = self.open()
        self.begin_external_removal()
        session.write(0, 0, b"goes on.")
        self.kill()
        self.start()
        self.assert_ends(session)

    def test_an_external_removal_after_a_request(self):
        """The request had no end; the removal has one."""
        self.start()
        session, _ = self.open()
        call = self.start_unplug()
        self.wait_property(PLAIN, "State", "unplug-requested")
        self.begin_external_removal()
        self.assert_ends(session)
        self.assert_fails(vb.FAILED, call.result)

    def hold(self, address=PLAIN):
        """An unbind waits, as the kernel does while the device is open."""
        self.kernel.held.add(address)

    def test_insisting_after_an_inhibitor(self):
        self.hold()
        self.start()
        session, _ = self.open()
        delay = self.client.delay(PLAIN, "unbind:remove:power-off", "guest")
        self.start_unplug(insist=True)
        self.wait_property(PLAIN, "State", "unplug-requested")
        session.write(0, 0, b"goes on.")
        os.close(delay)
        self.wait_property(PLAIN, "State", "removing")
        self.assert_ends(session)

    def test_insisting_that_a_crash_interrupts(self):
        """The time to drain is counted anew."""
        self.hold()
        self.start(drain=3600)
        session, _ = self.open()
        self.start_unplug(insist=True)
        self.wait_property(PLAIN, "State", "removing")
        self.kernel.wait_for("vfio-pci/unbind")
        session.write(0, 0, b"goes on.")
        self.kill()
        self.start()
        self.assert_ends(session)

    def test_taken_by_surprise_on_s390(self):
        """The kernel waits for the user, and its directory in sysfs stays; but the function's handle lacks the enable bit."""
        function = self.sysfs[PLAIN]
        for name, value in (("vfn", "0x0000"), ("function_handle", "0x80020000")):
            function.write(name, value)
        self.start(drain=3600)
        session, _ = self.open()
        function.write("function_handle", "0x00020000")
        self.assertEqual(session.read(0, 0, 8), bytes(8), "nothing has reported it")
        mark = self.mark()
        self.sysfs.detach_driver(function, keep_enable=True)
        self.sysfs.change(function)
        self.wait_refused(session)
        self.wait_property(PLAIN, "InUse", False)
        # It passes in a moment.
        self.assertIn("removing", self.states(PLAIN, mark))

    def test_surprise(self):
        self.start()
        session, _ = self.open()
        function = self.sysfs[PLAIN]
        self.sysfs.remove(function)
        self.wait_function(PLAIN, there=False)
        self.wait_refused(session)
        self.sysfs.add(PLAIN, driver="vfio-pci", announce=True)
        self.wait_function(PLAIN)
        self.fence()
        self.assertEqual(self.users(PLAIN), [], "it is nobody's")
        self.open()


if __name__ == "__main__":
    fixtures.main()
