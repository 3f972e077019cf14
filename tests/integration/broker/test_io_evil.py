#!/usr/bin/python3
"""A vfwarden-io that was taken over, is deaf or hangs: it harms its own session, and nobody else.

The process is a puppet (puppet-io.py): the test has its end of the control socket."""

import errno
import json
import os
import select
import shutil
import signal
import socket
import struct
import tempfile

from gi.repository import GLib

import fixtures
from fixtures import wait_until
from ioprocess import CLOSED, DRAIN, END, FAILED, GONE, LOAD, READY, REPORT, STATUS, STORE
import test_session
from test_session import LONG, PLAIN, ZPCI_IO
import vfwarden_bus as vb

ORDER = struct.Struct("=I")

# The daemon's own deadlines: for an order, and to open something.
ORDERED = 5 + fixtures.DEADLINE
OPENED = 20 + fixtures.DEADLINE


def report(kind, error=0, violation=0, length=0, data=b"", backend=b"emulated", maximum=4096, relaxed=0, pieces=0):
    return REPORT.pack(kind, error, violation, length, data, *[0] * 9, backend, *[0] * 6, maximum, relaxed, pieces, 0)


# Packets that no process may begin with.
NOT_READY = {
    "a back end that is no text": report(READY, backend=b"\xff\xfe\x80bad"),
    "a back end with orders to a terminal": report(READY, backend=b"\x1b[2J\x1b[31mEVIL\n"),
    "an unknown back end": report(READY, backend=b"evil"),
    "a back end without an end": report(READY, backend=b"emulatedemulated"),
    "no back end": report(READY, backend=b""),
    "a back end of another kind of device": report(READY, backend=b"vfio-pci"),
    "no block": report(READY, maximum=0),
    "a block above a page": report(READY, maximum=65535),
    "neither relaxed nor strict": report(READY, relaxed=2),
    "ready with an error": report(READY, error=-5),
    "failed without an error": report(FAILED),
    "failed with an error that is none": report(FAILED, error=-2**31),
    "the end before the beginning": report(CLOSED),
    "an answer that nobody asked for": report(STATUS),
    "data that nobody asked for": report(LOAD, length=8),
    "kind 0": report(0),
    "a kind that is none": report(2**32 - 1),
    "too short": b"x",
    "too long": report(READY) + b"x",
    "much too long": report(READY) * 100,
}

# After READY, without an order.
UNASKED = {kind: report(kind) for kind in (READY, FAILED, STATUS, DRAIN, END, GONE, LOAD, STORE)}


def wait_readable(end, what):
    """The stand-ins, polkit's for one, go on meanwhile."""
    ready = []

    def on_ready(*_):
        ready.append(True)
        return GLib.SOURCE_REMOVE

    GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, end.fileno(), GLib.IOCondition.IN | GLib.IOCondition.HUP, on_ready)
    wait_until(lambda: ready, ORDERED, what)


class Puppet:
    def __init__(self, connection):
        packet, fds, _, _ = socket.recv_fds(connection, 64, 1)
        self.connection = connection
        self.control = socket.socket(fileno=fds[0])
        self.control.settimeout(fixtures.DEADLINE)
        self.pid = int(packet)
        self.pidfd = os.pidfd_open(self.pid)

    def say(self, packet):
        """Nobody may listen any more."""
        try:
            self.control.send(packet)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def order(self):
        """The kind of the next one."""
        wait_readable(self.control, "an order")
        return ORDER.unpack_from(self.control.recv(8192))[0]

    @property
    def has_ended(self):
        return bool(select.select([self.pidfd], [], [], 0)[0])

    def close(self):
        self.connection.close()
        self.control.close()
        os.close(self.pidfd)


class EvilTest(test_session.SessionTest):
    def setUp(self):
        super().setUp()
        self.program = tempfile.mkdtemp(prefix="vfwarden-test-")
        self.addCleanup(shutil.rmtree, self.program, ignore_errors=True)
        os.chmod(self.program, 0o755)
        shutil.copy(os.path.join(fixtures.HERE, "puppet-io.py"), os.path.join(self.program, "vfwarden-io"))
        os.chmod(os.path.join(self.program, "vfwarden-io"), 0o755)
        self.strings = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.strings.bind(os.path.join(self.program, "strings"))
        os.chmod(os.path.join(self.program, "strings"), 0o777)
        self.strings.listen()
        self.strings.settimeout(fixtures.DEADLINE)
        self.addCleanup(self.strings.close)

    def io_options(self):
        return [f"--io-program={self.program}/vfwarden-io", "--io-user=nobody"]

    def puppet(self):
        wait_readable(self.strings, "the process")
        puppet = Puppet(self.strings.accept()[0])
        self.addCleanup(puppet.close)
        return puppet

    def begin(self, packet=None, address=PLAIN, **options):
        """(the call, the process), which has said that it is ready, or `packet`"""
        call = self.start_open(address, **options)
        puppet = self.puppet()
        puppet.say(report(READY) if packet is None else packet)
        return call, puppet

    def session(self, address=PLAIN, **options):
        """(the client's socket, the process)"""
        call, puppet = self.begin(address=address, **options)
        call.result()
        end = socket.socket(fileno=call.fds[0])
        end.settimeout(fixtures.DEADLINE)
        self.addCleanup(end.close)
        return end, puppet

    def wait_for_end(self, puppet, what):
        fixtures.wait_for_end(puppet.pidfd, OPENED, what)
        self.wait_property(PLAIN, "InUse", False)

    def assert_closed(self, end):
        """The client sees the end of its session."""
        wait_readable(end, "the end of the session")
        self.assertEqual(end.recv(1), b"")

    def assert_unharmed(self):
        """What everybody reads is whole, and says nothing of what the process said."""
        objects = self.client.managed_objects()
        self.assertEqual(objects[vb.function_path(PLAIN)][ZPCI_IO]["Backend"], "emulated")
        self.assertEqual(objects[vb.function_path(PLAIN)][ZPCI_IO]["MaxStoreBlock"], 4096)
        json.loads(self.client.manager("Describe"))
        self.assertTrue(self.daemon.running)
        self.assertNotIn("EVIL", self.daemon.log)


class Reports(EvilTest):
    def test_beginnings(self):
        self.start()
        for what, packet in NOT_READY.items():
            with self.subTest(what):
                call, puppet = self.begin(packet)
                self.assert_fails(vb.FAILED, call.result)
                self.wait_for_end(puppet, what)
                self.assert_unharmed()
        self.assertEqual(list(self.notify.store), [])

    def test_errors_of_the_beginning(self):
        self.start()
        for error, name in ((-errno.EOPNOTSUPP, vb.NOT_SUPPORTED), (-errno.EDQUOT, vb.FAILED), (-4095, vb.FAILED)):
            call, puppet = self.begin(report(FAILED, error=error))
            self.assert_fails(name, call.result)
            self.wait_for_end(puppet, error)

    def test_unasked(self):
        self.start()
        for kind, packet in UNASKED.items():
            with self.subTest(kind):
                end, puppet = self.session()
                mark = self.daemon.log_mark()
                puppet.say(packet)
                self.wait_for_end(puppet, kind)
                self.assert_closed(end)
                self.daemon.wait_log(r"I/O session of .* has ended: vfwarden-io was ended: a report", mark)
                self.assert_unharmed()

    def test_a_flood(self):
        """It is read once; clients of the daemon see nothing of it."""
        self.start()
        end, puppet = self.session()
        self.fence()
        mark = self.mark()
        puppet.control.setblocking(False)
        try:
            for _ in range(100000):
                puppet.control.send(report(STATUS, maximum=8))
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
        self.wait_for_end(puppet, "the flood")
        self.assert_closed(end)
        values = [s.args[1]["MaxStoreBlock"] for s in self.client.recorder.since(
            mark, "PropertiesChanged", vb.function_path(PLAIN)) if "MaxStoreBlock" in s.args[1]]
        self.assertEqual(values, [])
        self.assert_unharmed()

    def test_answers_twice(self):
        self.start()
        end, puppet = self.session()
        unplug = self.client.start_unplug(PLAIN, LONG)
        self.assertEqual(puppet.order(), DRAIN)
        puppet.say(report(DRAIN))
        puppet.say(report(DRAIN))
        self.assert_closed(end)
        unplug.result(ORDERED)
        self.wait_function(PLAIN, there=False)

    def test_a_back_end_that_changes(self):
        self.start()
        end, puppet = self.session()
        unplug = self.client.start_unplug(PLAIN, LONG)
        self.assertEqual(puppet.order(), DRAIN)
        puppet.say(report(DRAIN, maximum=8))
        self.assert_closed(end)
        unplug.result(ORDERED)

    def test_errors_of_single_requests(self):
        cases = (
            (report(LOAD, length=8, data=b"12345678"), None),
            (report(LOAD, error=-errno.EINVAL, violation=7), vb.INVALID_ARGS),
            (report(LOAD, error=-errno.ENODEV), vb.GONE),
            (report(LOAD, error=-errno.EDQUOT), vb.FAILED),
            (report(LOAD, error=-errno.EACCES), vb.FAILED),
            (report(LOAD, error=-errno.EINVAL, violation=2**31 - 1), vb.FAILED),
            (report(LOAD, error=-errno.EINVAL), vb.FAILED),
            (report(LOAD, error=5), vb.FAILED),
            (report(LOAD, error=2**31 - 1), vb.FAILED),
            (report(LOAD, error=-2**31), vb.FAILED),
            (report(LOAD, error=-100000), vb.FAILED),
            (report(LOAD, length=2**32 - 1), vb.FAILED),
            (report(LOAD), vb.FAILED),
            (report(STORE), vb.FAILED),
            (report(READY), vb.FAILED),
            (b"", vb.FAILED),
        )
        self.start()
        for packet, name in cases:
            with self.subTest(packet[:8]):
                call = self.client.bus.start_call(vb.function_path(PLAIN), ZPCI_IO, "Load", "(ytq)", (0, 16, 8))
                puppet = self.puppet()
                puppet.say(report(READY))
                self.assertEqual(puppet.order(), LOAD)
                if packet:
                    puppet.say(packet)
                else:
                    puppet.control.shutdown(socket.SHUT_RDWR)
                if name:
                    self.assert_fails(name, lambda call=call: call.result(ORDERED))
                else:
                    self.assertEqual(bytes(call.result()[0]), b"12345678")
                self.wait_for_end(puppet, name)
                self.assert_unharmed()


class Orders(EvilTest):
    """Each has a deadline."""

    def start_end(self):
        """(the client's socket, the process, the unplug) when the process was ordered to end, or that the function has gone"""
        end, puppet = self.session()
        unplug = self.client.start_unplug(PLAIN, LONG, insist=True)
        self.assertEqual(puppet.order(), DRAIN)
        puppet.say(report(DRAIN))
        self.assertIn(puppet.order(), (END, GONE))
        return end, puppet, unplug

    def test_deaf_to_drain(self):
        self.start()
        end, puppet = self.session()
        unplug = self.client.start_unplug(PLAIN, LONG)
        self.assert_closed(end)
        unplug.result(ORDERED)
        self.assertTrue(puppet.has_ended)
        self.daemon.wait_log("vfwarden-io did not obey in time")

    def test_stopped(self):
        self.start()
        end, puppet = self.session()
        os.kill(puppet.pid, signal.SIGSTOP)
        unplug = self.client.start_unplug(PLAIN, LONG)
        self.assert_closed(end)
        unplug.result(ORDERED)

    def test_deaf_to_the_end(self):
        self.start()
        end, puppet, unplug = self.start_end()
        self.assert_closed(end)
        unplug.result(ORDERED)
        self.assertTrue(puppet.has_ended)

    def test_deaf_when_the_function_has_gone(self):
        self.start()
        end, puppet = self.session()
        self.sysfs.remove(self.sysfs[PLAIN])
        order = puppet.order()
        if order == DRAIN:      # its driver was seen to go first
            order = puppet.order()
        self.assertEqual(order, GONE)
        self.assert_closed(end)

    def test_says_that_it_ends_and_stays(self):
        self.start()
        end, puppet = self.session()
        puppet.say(report(CLOSED))
        self.wait_for_end(puppet, "a process that has said good-bye")
        self.assert_closed(end)

    def test_closes_its_socket_and_stays(self):
        self.start()
        end, puppet = self.session()
        puppet.control.close()
        self.wait_for_end(puppet, "a process that cannot be ordered")
        self.assert_closed(end)

    def test_ends_and_leaves_its_socket_open(self):
        """As a grandchild might."""
        self.start()
        end, puppet = self.session()
        puppet.connection.close()
        self.wait_for_end(puppet, "the process")
        self.assert_closed(end)
        self.assert_unharmed()

    def test_stopped_before_it_is_ready(self):
        self.start()
        call = self.start_open()
        puppet = self.puppet()
        os.kill(puppet.pid, signal.SIGSTOP)
        self.assert_fails(vb.TIMEOUT, lambda: call.result(OPENED))
        self.wait_for_end(puppet, "a process that is not ready in time")

    def test_asked_for_before_it_is_ready(self):
        """The session is refused: nothing would tell its client that the function is asked for, or end it."""
        for options in ({}, {"insist": True}):
            with self.subTest(**options):
                self.start()
                call = self.start_open()
                puppet = self.puppet()
                unplug = self.client.start_unplug(PLAIN, LONG, **options)
                self.assertIn("taken away", self.assert_fails(vb.REFUSED, call.result))
                fixtures.wait_for_end(puppet.pidfd, OPENED, "a process that is not ready")
                unplug.result()
                self.wait_function(PLAIN, there=False)
                self.stop()
                self.client.recorder.listeners.clear()
                self.sysfs.add(PLAIN, driver="vfio-pci")

    def test_asked_again_and_again(self):
        """One order at a time; it does not help to be slow."""
        self.start()
        end, puppet = self.session()
        for _ in range(20):
            with self.assertRaises(vb.BusError):
                self.client.start_unplug(PLAIN, 0.02).result()
        self.assertEqual(puppet.order(), DRAIN)
        self.assertEqual(select.select([puppet.control], [], [], 0)[0], [])
        self.assert_closed(end)

    def test_over_a_restart(self):
        self.start()
        end, puppet = self.session()
        self.stop()
        self.client.recorder.listeners.clear()
        puppet.say(report(STATUS, backend=b"\xff\xff"))
        self.start()
        self.wait_for_end(puppet, "the process")
        self.assert_closed(end)
        self.assert_unharmed()

    def test_deaf_over_a_restart(self):
        self.start()
        end, puppet = self.session()
        self.stop()
        self.client.recorder.listeners.clear()
        self.start()
        self.assertEqual(puppet.order(), STATUS)
        self.wait_for_end(puppet, "the process")
        self.assert_closed(end)


if __name__ == "__main__":
    fixtures.main()
