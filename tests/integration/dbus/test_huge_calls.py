#!/usr/bin/python3
"""Calls with a million elements delay no other client."""

import json
import os
import struct
import time

import fixtures
import vfwarden_bus as vb
from gi.repository import GLib
from raw_client import RawClient

PLAIN = "0000:02:00.0"
NOBODY = 65534
# The bus carries 32 MiB. To receive those takes a turn of 20 ms by itself, and more where memory is checked.
LARGE = (1 if os.environ.get("VFWARDEN_SANITIZED") else 8) << 20
# In microseconds, by the processor's time, besides what the memory for it costs.
LONGEST_TURN = 20000 * (4 if os.environ.get("VFWARDEN_SANITIZED") else 1)


def pad(data, to):
    return data + bytes(-len(data) % to)


def text(value):
    return pad(struct.pack("=I", len(value)) + value.encode() + b"\0", 4)


def empty_texts():
    """An array of a million texts: each has its length and a NUL. Padding behind the last is not its."""
    return struct.pack("=I", LARGE - 3) + bytes(LARGE)


def same_options(name, value, behind=0):
    """A dictionary with one entry some hundred thousand times, which begins `behind` bytes behind a multiple of 8."""
    key = struct.pack("=I", len(name)) + name.encode() + b"\0"
    if isinstance(value, bool):
        entry = pad(key + b"\x01b\0", 4) + struct.pack("=I", value)
    else:
        entry = pad(key + b"\x01s\0", 4) + struct.pack("=I", len(value)) + value.encode() + b"\0"
    entries = pad(entry, 8) * (LARGE // len(pad(entry, 8)) - 1) + entry
    return struct.pack("=I", len(entries)) + bytes(4 - behind) + entries


def memory_cost():
    """Microseconds of the processor's time to fill three times the memory of a call, as who receives it does. Pages are very
    dear in some virtual machines."""
    before = time.process_time()
    data = bytes(bytearray(LARGE)) + b"\0"
    return (time.process_time() - before) * 1000000 if data else 0


class HugeCalls(fixtures.DaemonTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(inhibit=False, open_device=False, configure=False)
        self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start(picture=False)

    def connect(self, uid):
        os.seteuid(uid)     # what the bus sees of a new connection (SO_PEERCRED)
        try:
            client = RawClient(self.bus.address)
        finally:
            os.seteuid(0)
        client.socket.settimeout(4 * fixtures.DEADLINE)
        self.addCleanup(client.close)
        return client

    def send(self, uid, path, interface, member, arguments, body, end):
        """The call's line in the log has the pattern `end`."""
        mark = self.daemon.log_mark()
        self.connect(uid).send_body(vb.NAME, path, interface, member, arguments, body)
        self.daemon.wait_log(rf"{member}\(.* by uid {uid}, .*{end}", mark)
        for line in self.daemon.lines(rf"{member}\(", mark):
            self.assertLess(len(line), 1000)
        longest = json.loads(self.client.manager("Describe"))["LongestTurnCpu"]
        self.assertLess(longest, LONGEST_TURN + memory_cost())

    def inhibit_many(self, uid, end):
        tail = pad(text("reset") + text("me") + text("why"), 4) + struct.pack("=I", 0)
        body = pad(empty_texts() + tail, 8)
        self.send(uid, vb.ROOT, vb.MANAGER, "InhibitMany",
                  GLib.Variant("(assssa{sv})", ([], "reset", "me", "why", {})), body, end)

    def function_call(self, uid, member, arguments, body, end):
        self.send(uid, vb.function_path(PLAIN), vb.FUNCTION, member, arguments, body, end)

    def test_texts_of_one_who_may_not(self):
        """So many functions at once are root's alone, whatever polkit says."""
        self.inhibit_many(NOBODY, "LimitsExceeded: ")

    def test_texts_of_root(self):
        self.inhibit_many(0, "InvalidArgs: ")

    def test_options_of_one_who_may_not(self):
        self.function_call(NOBODY, "Open", GLib.Variant("(a{sv})", ({},)), same_options("x", True), "AccessDenied: ")

    def test_options_of_root(self):
        self.function_call(0, "Unplug", GLib.Variant("(ta{sv})", (0, {})), bytes(8) + same_options("insist", False),
                           "InvalidArgs: more than")
        body = pad(text(PLAIN) + text("reset") + text("me") + text("why"), 4)
        body += same_options("mode", "block", len(body) % 8)
        self.send(0, vb.ROOT, vb.MANAGER, "InhibitWithOptions",
                  GLib.Variant("(ssssa{sv})", (PLAIN, "reset", "me", "why", {})), body,
                  "InvalidArgs: more than")


class LongPaths(fixtures.DaemonTest):
    def test_of_many_parts(self):
        """Longer ones are ignored by sd-bus, which takes seconds for these."""
        self.start(picture=False)
        os.seteuid(NOBODY)
        try:
            client = RawClient(self.bus.address, 4 * fixtures.DEADLINE)
        finally:
            os.seteuid(0)
        self.addCleanup(client.close)
        for call in ((vb.INTROSPECTABLE, "Introspect"), (vb.FUNCTION, "Unlock"), (vb.PROPERTIES, "GetAll", GLib.Variant("(s)", ("",)))):
            serials = client.send_many(1, [], vb.NAME, vb.ROOT + "/a" * 30000, *call)
            self.client.ping()
            reply, = client.read_replies(serials)
            self.assertEqual(reply.get_error_name(), "org.freedesktop.DBus.Error.UnknownObject")
        longest = json.loads(self.client.manager("Describe"))["LongestTurnCpu"]
        self.assertLess(longest, LONGEST_TURN)


if __name__ == "__main__":
    fixtures.main()
