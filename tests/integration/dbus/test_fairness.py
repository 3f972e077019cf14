#!/usr/bin/python3
"""One user's calls do not hold up another's, however many they are and however large their answers."""

import contextlib
import os
import re
import signal
import time

import fixtures
from fixtures import DEADLINE
import vfwarden_bus as vb
from gi.repository import GLib
from raw_client import RawClient

NOBODY, DAEMON = 65534, 1
ROOT_CALL = (vb.NAME, vb.ROOT, vb.MANAGER)
MANAGED = (vb.NAME, vb.ROOT, vb.OBJECT_MANAGER, "GetManagedObjects")
# What CALL_QUEUE_CLIENT_MAX and CALL_QUEUE_UID_MAX are in policy/call-queue.h.
CLIENT_MAX, UID_MAX = 16, 32
# What READ_TIMEOUT_USEC is in dbus/clients.c, in seconds.
READ_TIMEOUT = 5
# What the bus allows one connection.
PENDING_MAX = 128
MEMORY_MAX = 16 << 20


class Fairness(fixtures.DaemonTest):
    # Answers of some hundreds of kilobytes, which take many turns of the daemon's loop.
    FUNCTIONS = 500

    def setUp(self):
        super().setUp()
        self.addresses = [f"{i >> 8:04x}:{i & 255:02x}:01.0" for i in range(self.FUNCTIONS)]
        for address in self.addresses:
            self.sysfs.add(address, driver="igb")

    def connect(self, uid):
        """A client that reads when the test orders it."""
        with self.as_user(uid):
            client = RawClient(self.bus.address)
        client.socket.settimeout(4 * DEADLINE)
        self.addCleanup(client.close)
        return client

    @contextlib.contextmanager
    def as_user(self, uid):
        os.seteuid(uid)     # what the bus sees of a new connection (SO_PEERCRED)
        try:
            yield
        finally:
            os.seteuid(0)

    def memory(self):
        with open(f"/proc/{self.daemon.pid}/status", encoding="ascii") as file:
            return int(re.search(r"^VmRSS:\s+(\d+)", file.read(), re.MULTILINE).group(1)) << 10

    @staticmethod
    def errors(replies):
        return [reply.get_error_name() for reply in replies if reply.get_error_name()]

    def introduce(self, *clients):
        """The daemon knows whose they are from here on."""
        for client in clients:
            client.read_replies(client.send_many(1, [], *ROOT_CALL, "ListInhibitors"))


class Order(Fairness):
    def test_others_do_not_wait_for_the_large_answers_of_one(self):
        self.start(picture=False)
        flooder = self.connect(NOBODY)
        self.introduce(flooder)
        serials = flooder.send_many(CLIENT_MAX, [], *MANAGED)
        # Each of these comes after the 16 large ones, and is answered before most of them are even made.
        for _ in range(3):
            self.client.check(self.addresses[0], "open")
        flooder.socket.setblocking(False)
        seen = b""
        with contextlib.suppress(BlockingIOError):
            while data := flooder.socket.recv(1 << 20):
                seen += data
        size = len(GLib.Variant("a{sv}", {}).get_data_as_bytes().get_data()) + 1000 * self.FUNCTIONS
        self.assertLess(len(seen), CLIENT_MAX // 2 * size)
        flooder.socket.setblocking(True)
        # What was read is lost to it, but the rest comes in order.
        self.assertEqual(len(serials), CLIENT_MAX)

    def test_users_take_turns_and_root_is_first(self):
        self.start(picture=False)
        first, second, root = self.connect(NOBODY), self.connect(DAEMON), self.connect(0)
        self.introduce(first, second, root)
        asked = [(client, client.send_many(count, [], *ROOT_CALL, "ListFunctions"))
                 for client, count in ((first, 12), (second, 3), (root, 1))]
        order = []
        for client, serials in asked:
            for reply in client.read_replies(serials):
                self.assertIsNone(reply.get_error_name())
                # The daemon counts its messages: this is the order in which it sent them.
                order.append((reply.get_serial(), client))
        order = [client for _, client in sorted(order, key=lambda pair: pair[0])]
        # The first had some answers before the others had called; from then on they take turns.
        start = order.index(root)
        self.assertLess(start, 8, "root is not first")
        last = max(i for i, client in enumerate(order) if client is second)
        self.assertLess(last, len(order) - 3, "the second user waited for all of the first")
        between = [client for client in order[start:last + 1] if client is first]
        self.assertLessEqual(len(between), 4)

    def test_too_many_are_refused(self):
        self.start(picture=False)
        flooder = self.connect(NOBODY)
        self.introduce(flooder)
        replies = flooder.read_replies(flooder.send_many(100, [], *MANAGED))
        errors = self.errors(replies)
        self.assertEqual(set(errors), {vb.LIMITS_EXCEEDED})
        self.assertGreaterEqual(len(replies) - len(errors), CLIENT_MAX)
        self.assertGreater(len(errors), 100 - 2 * CLIENT_MAX)
        # It is that user's alone, and over as soon as their answers are there.
        self.assertGreaterEqual(len(self.client.managed_objects()), self.FUNCTIONS)
        replies = flooder.read_replies(flooder.send_many(1, [], *MANAGED))
        self.assertEqual(self.errors(replies), [])

    def test_who_reads_is_served_however_long_it_takes(self):
        """Many that were asked for at once; making them takes longer than anybody has for reading."""
        self.start(picture=False)
        client = self.connect(NOBODY)
        self.introduce(client)
        serials = client.send_many(CLIENT_MAX, [], *MANAGED)
        first = client.read_replies(serials[:1])
        self.daemon.kill(signal.SIGSTOP)
        client.keep_reading(READ_TIMEOUT + 1)       # the daemon is as slow as that
        self.daemon.kill(signal.SIGCONT)
        self.assertEqual(self.errors(first + client.read_replies(serials[1:])), [])

    def test_small_calls_are_refused_when_they_are_too_many_and_all_are_answered(self):
        self.start(picture=False)
        flooders = [self.connect(NOBODY) for _ in range(24)]
        self.introduce(*flooders)
        path = vb.function_path(self.addresses[0])
        asked = [(flooder, flooder.send_many(PENDING_MAX - 1, [], vb.NAME, path, vb.PROPERTIES, "GetAll",
                                             GLib.Variant("(s)", (vb.FUNCTION,))))
                 for flooder in flooders]
        self.client.check(self.addresses[0], "open")
        replies = [reply for flooder, serials in asked for reply in flooder.read_replies(serials)]
        self.assertLessEqual(set(self.errors(replies)), {vb.LIMITS_EXCEEDED})
        self.assertEqual(len(replies), len(flooders) * (PENDING_MAX - 1))
        # A user with one connection, and all the calls that the bus allows, gets all of them served.
        # (The bus counts a call as pending for some moments after its answer.)
        for client in (flooders[0], self.connect(0)):
            for call in ((vb.PROPERTIES, "GetAll", GLib.Variant("(s)", (vb.FUNCTION,))), (vb.INTROSPECTABLE, "Introspect")):
                replies = client.read_replies(client.send_many(PENDING_MAX - 1, [], vb.NAME, path, *call))
                self.assertEqual(self.errors(replies), [])


class Bounds(Fairness):
    def test_who_reads_nothing_stops_nobody(self):
        self.start(picture=False)
        before = self.memory()
        flooders = [self.connect(NOBODY) for _ in range(4)]
        asked = [(flooder, flooder.send_many(100, [], *MANAGED)) for flooder in flooders]
        end = time.monotonic() + DEADLINE
        grown = 0
        for _ in range(100):
            self.client.check(self.addresses[0], "open")
            grown = max(grown, self.memory() - before)
        self.assertLess(time.monotonic(), end)
        self.assertGreaterEqual(len(self.client.managed_objects()), self.FUNCTIONS)
        if not os.environ.get("VFWARDEN_SANITIZED"):    # which keeps what is freed
            self.assertLess(grown, MEMORY_MAX)
        # When they read, each call turns out to have an answer.
        for flooder, serials in asked:
            self.assertLessEqual(set(self.errors(flooder.read_replies(serials))), {vb.LIMITS_EXCEEDED})

    def test_who_reads_nothing_is_refused_in_time(self):
        self.start(picture=False)
        client = self.connect(NOBODY)
        self.introduce(client)
        serials = client.send_many(CLIENT_MAX, [], *MANAGED)
        # The bus keeps the first, of which the socket has room for a part, and then the refusals.
        vb.wait_until(lambda: self.statistics(client)["OutgoingMessages"] == CLIENT_MAX, 4 * DEADLINE, "the refusals")
        replies = client.read_replies(serials)
        self.assertEqual(self.errors(replies), [vb.LIMITS_EXCEEDED] * (CLIENT_MAX - 1))

    def test_answers_that_are_not_read_are_not_sent_for_ever(self):
        self.start(picture=False)
        flooder = self.connect(NOBODY)
        self.introduce(flooder)
        path = vb.function_path(self.addresses[0])
        size = len(self.client.introspect(path))
        # The bus has room for all of these, 127 MiB; the daemon stops long before.
        for _ in range(40):
            flooder.send_many(100, [], vb.NAME, path, vb.INTROSPECTABLE, "Introspect")
            self.client.ping()
        self.assertGreater(4000 * size, 16 << 20)
        self.assertLess(self.statistics(flooder)["OutgoingBytes"], 10 << 20)

    def statistics(self, client):
        return self.client.bus.call("/org/freedesktop/DBus", "org.freedesktop.DBus.Debug.Stats", "GetConnectionStats",
                                    "(s)", (self.unique_name(client),), destination="org.freedesktop.DBus")[0]

    def unique_name(self, client):
        """RawClient does not read the answer to its Hello; the bus has numbered its clients in order."""
        names = self.client.bus.call("/org/freedesktop/DBus", "org.freedesktop.DBus", "ListNames",
                                     destination="org.freedesktop.DBus")[0]
        for name in names:
            if name.startswith(":") and self.client.bus.call(
                    "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetConnectionUnixUser", "(s)", (name,),
                    destination="org.freedesktop.DBus")[0] == NOBODY:
                return name
        self.fail("the bus does not know the client")
        return None

    def test_descriptors_of_calls_do_not_pile_up(self):
        self.start(picture=False)
        self.client.ping()
        before = len(fixtures.descriptors(self.daemon.pid))
        flooder = self.connect(NOBODY)
        self.introduce(flooder)
        with open("/dev/null", "rb") as null:
            serials = flooder.send_many(100, [null.fileno()] * 16, *MANAGED)
        self.client.check(self.addresses[0], "open")
        self.assertLessEqual(len(fixtures.descriptors(self.daemon.pid)), before + 16 * (CLIENT_MAX + 2))
        flooder.read_replies(serials)
        # A look at users, which has nothing to do with the flood, holds a few for its moment.
        end = time.monotonic() + vb.DEADLINE
        while len(fixtures.descriptors(self.daemon.pid)) > before and time.monotonic() < end:
            self.client.ping()
        self.assertLessEqual(len(fixtures.descriptors(self.daemon.pid)), before)

    def test_who_leaves_is_forgotten(self):
        self.start(picture=False)
        flooder = self.connect(NOBODY)
        self.introduce(flooder)
        flooder.send_many(CLIENT_MAX, [], *MANAGED)
        self.client.ping()
        flooder.close()
        other = self.connect(NOBODY)
        vb.wait_until(lambda: not self.errors(other.read_replies(other.send_many(1, [], *MANAGED))), DEADLINE,
                      "the user to have room again")


class Sizes(Fairness):
    """What is not read counts by its size, whatever was asked for."""
    FUNCTIONS = 0
    # What CLIENTS_UID_MAX is in dbus/clients.h, and what is on its way when that is reached.
    UNREAD_MAX = 12 << 20
    WHY = "w" * 200

    def setUp(self):
        super().setUp()
        self.pf = self.sysfs.add_pf("0100:00:00.0", vfs=128, total=128, vf_driver="vfio-pci")

    def unread(self):
        """The bytes of the daemon that nobody has read: what max_incoming_bytes limits."""
        owner, = self.client.bus.call("/org/freedesktop/DBus", "org.freedesktop.DBus", "GetNameOwner", "(s)", (vb.NAME,),
                                      destination="org.freedesktop.DBus")
        return self.client.bus.call("/org/freedesktop/DBus", "org.freedesktop.DBus.Debug.Stats", "GetConnectionStats",
                                    "(s)", (owner,), destination="org.freedesktop.DBus")[0]["IncomingBytes"]

    def flood(self, size, *call):
        """Asks for answers of `size` bytes at least, which nobody reads, for twice as many as there may be."""
        flooders = [self.connect(NOBODY) for _ in range(5)]
        self.introduce(*flooders)
        for _ in range(2 * self.UNREAD_MAX // (5 * 50 * size) + 1):
            for flooder in flooders:
                flooder.send_many(50, [], *call)
            self.client.ping()
        unread = self.unread()
        self.assertLess(unread, self.UNREAD_MAX)
        self.assertGreater(unread, self.UNREAD_MAX // 4, "the answers are smaller than the test says")
        # Who reads is served again, the same user, too.
        for flooder in flooders:
            flooder.close()
        reader = self.connect(NOBODY)
        vb.wait_until(lambda: not self.errors(reader.read_replies(reader.send_many(1, [], *ROOT_CALL, "ListFunctions"))),
                      DEADLINE, "the user to have room again")

    def test_a_property(self):
        self.start(picture=False)
        self.flood(128 * 48, vb.NAME, vb.function_path(self.pf.address), vb.PROPERTIES, "Get",
                   GLib.Variant("(ss)", (vb.PHYSICAL, "VirtualFunctions")))

    def test_all_properties(self):
        self.start(picture=False)
        self.flood(128 * 48, vb.NAME, vb.function_path(self.pf.address), vb.PROPERTIES, "GetAll",
                   GLib.Variant("(s)", (vb.PHYSICAL,)))

    def test_blockers(self):
        self.start(picture=False)
        for _ in range(64):
            self.addCleanup(os.close, self.client.inhibit(self.pf.address, "reset", why=self.WHY))
        self.flood(64 * len(self.WHY), *ROOT_CALL, "Check", GLib.Variant("(ss)", (self.pf.address, "reset")))

    def test_errors(self):
        self.start(picture=False)
        self.flood(4000, *ROOT_CALL, "Check", GLib.Variant("(ss)", ("x" * 8000, "open")))

    def test_names_that_cannot_be(self):
        """sd-bus repeats them in its errors."""
        self.start(picture=False)
        flooder = self.connect(NOBODY)
        self.introduce(flooder)
        long = "x" * 100000
        path = vb.function_path(self.pf.address)
        for method, arguments in (("GetAll", GLib.Variant("(s)", (long,))),
                                  ("Get", GLib.Variant("(ss)", (long, "Driver"))),
                                  ("Get", GLib.Variant("(ss)", (vb.FUNCTION, long)))):
            with self.subTest(method):
                reply, = flooder.read_replies(flooder.send_many(1, [], vb.NAME, path, vb.PROPERTIES, method, arguments))
                self.assertEqual(reply.get_error_name(), vb.INVALID_ARGS)
                self.assertLess(len(reply.get_body().unpack()[0]), 1000)


class Answers(Fairness):
    FUNCTIONS = 300

    def setUp(self):
        super().setUp()
        self.pf = self.sysfs.add_pf("0100:00:00.0", vfs=4, vf_driver="vfio-pci")
        self.addresses += [self.pf.address, *(self.sysfs.vf_address(self.pf, i) for i in range(4))]

    def test_managed_objects_say_what_the_objects_say(self):
        self.start()
        objects = self.client.bus.call(vb.ROOT, vb.OBJECT_MANAGER, "GetManagedObjects")[0]
        paths = {vb.function_path(address) for address in [*self.addresses, self.SENTINEL]}
        self.assertEqual(set(objects), paths)
        for path in (vb.function_path(address) for address in self.addresses[-8:]):
            standard = {name for name in objects[path] if not name.startswith(vb.PREFIX)}
            self.assertEqual(standard, {vb.PEER, vb.INTROSPECTABLE, vb.PROPERTIES})
            xml = self.client.introspect(path)
            self.assertEqual(set(objects[path]), set(re.findall(r'interface name="([^"]+)"', xml)))
            for interface in set(objects[path]) - standard:
                self.assertEqual(objects[path][interface], self.client.get_all(path, interface))

    def test_the_folder_lists_all_functions(self):
        self.start()
        xml = self.client.introspect(f"{vb.ROOT}/function")
        self.assertEqual({f"{vb.ROOT}/function/{name}" for name in re.findall(r'<node name="([^"]+)"', xml)},
                         {vb.function_path(address) for address in [*self.addresses, self.SENTINEL]})
        self.assertEqual(set(re.findall(r'interface name="([^"]+)"', xml)),
                         {vb.PEER, vb.INTROSPECTABLE, vb.PROPERTIES})

    def test_what_changes_while_the_answer_is_made(self):
        self.start_polkit(configure=True)
        self.start()
        first = self.addresses[0]
        path = vb.function_path(first)
        for round_ in range(20):
            with self.subTest(round_):
                call = self.client.bus.start_call(vb.ROOT, vb.OBJECT_MANAGER, "GetManagedObjects")
                marks = []
                call.on_done = lambda: marks.append(self.client.recorder.mark())
                (self.client.unlock if round_ % 2 else self.client.lock)(first)
                objects = call.result()[0]
                mark, = marks
                self.fence()
                known = dict(objects[path][vb.FUNCTION])
                for signal in self.client.recorder.since(mark, "PropertiesChanged", path):
                    if signal.args[0] == vb.FUNCTION:
                        known.update(signal.args[1])
                self.assertEqual(known, self.client.get_all(path, vb.FUNCTION))
        self.picture.faults.clear()     # it was told once more what it had heard already


if __name__ == "__main__":
    fixtures.main()
