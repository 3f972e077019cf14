#!/usr/bin/python3
"""How many calls of one user may wait for the kernel or for a holder."""

import os
import subprocess
import textwrap

import fixtures
from fixtures import DEADLINE
import vfwarden_bus as vb

LIMIT = 32

# Unplugs each function named, all at once; prints "ADDRESS NAME-OF-ERROR" for each reply.
UNPLUGGER = textwrap.dedent("""
    import sys
    from gi.repository import Gio, GLib
    bus = Gio.DBusConnection.new_for_address_sync(sys.argv[1], Gio.DBusConnectionFlags(1 | 8), None, None)
    loop = GLib.MainLoop()
    left = set(sys.argv[2:])
    def done(connection, result, path):
        try:
            connection.call_finish(result)
            name = "done"
        except GLib.Error as error:
            name = Gio.DBusError.get_remote_error(error)
        print(path, name, flush=True)
        left.discard(path)
        if not left:
            loop.quit()
    for path in sys.argv[2:]:
        bus.call("org.vfwarden1", path, "org.vfwarden1.Function", "Unplug",
                 GLib.Variant("(ta{sv})", (600 * 10**6, {})), None, Gio.DBusCallFlags.NONE, 600000, None, done, path)
    loop.run()
""")


class Limits(fixtures.DaemonTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True, unplug=True)
        self.functions = [self.sysfs.add(f"0000:{bus:02x}:00.0", driver="vfio-pci")
                          for bus in range(2, LIMIT + 6)]
        for function in self.functions:
            function.write("enable", "1")
        self.start()

    def unplug(self, addresses, uid=65534):
        process = subprocess.Popen(
            ["/usr/bin/python3", "-c", UNPLUGGER, self.bus.address,
             *(vb.function_path(address) for address in addresses)],
            stdout=subprocess.PIPE, user=uid, group=uid, extra_groups=[], cwd="/",
            env={"PATH": "/usr/bin:/bin"})
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close()))
        os.set_blocking(process.stdout.fileno(), False)
        process.seen = bytearray()
        source = vb.GLib.unix_fd_add_full(
            vb.GLib.PRIORITY_DEFAULT, process.stdout.fileno(), vb.GLib.IOCondition.IN,
            lambda *_: process.seen.extend(process.stdout.read() or b"") or vb.GLib.SOURCE_CONTINUE)
        self.addCleanup(vb.GLib.source_remove, source)
        return process

    def replies(self, process):
        """path -> name of the error, of those that came."""
        return dict(line.split() for line in process.seen.decode().split("\n")[:-1])

    def wait_replies(self, process, count):
        vb.wait_until(lambda: len(self.replies(process)) >= count, 4 * DEADLINE,
                      lambda: f"{count} replies, are {self.replies(process)}")
        self.fence()
        return self.replies(process)

    def asked(self):
        return [f for f in self.functions
                if self.picture.function(f.address)["State"] == "unplug-requested"]

    def test_unplugs_that_wait(self):
        addresses = [function.address for function in self.functions]
        process = self.unplug(addresses)
        refused = self.wait_replies(process, len(addresses) - LIMIT)
        self.assertEqual(set(refused.values()), {vb.LIMITS_EXCEEDED})
        self.assertEqual(len(refused), len(addresses) - LIMIT)
        vb.wait_until(lambda: len(self.asked()) == LIMIT, None, "the others to be asked for")
        # It is the user who has too many, not the function; and other things they may do.
        free = next(f.address for f in self.functions if f not in self.asked())
        self.assert_bus_error(vb.LIMITS_EXCEEDED, self.as_other_user, vb.function_path(free), vb.FUNCTION, "Unbind")
        self.as_other_user(vb.function_path(free), vb.FUNCTION, "Lock", "(s)", ("mine",))
        self.assert_bus_error(vb.REFUSED, self.client.bus.call, vb.function_path(free), vb.FUNCTION, "Unbind")
        self.as_other_user(vb.function_path(free), vb.FUNCTION, "Unlock")
        # What has ended does not count.
        self.client.cancel_unplug(self.asked()[0].address)
        self.wait_replies(process, len(refused) + 1)
        again = self.unplug([free])
        vb.wait_until(lambda: self.picture.function(free)["State"] == "unplug-requested", 4 * DEADLINE,
                      "the next to be asked for")
        self.assertEqual(self.replies(again), {})

    def test_one_who_leaves_ends_nothing(self):
        process = self.unplug([f.address for f in self.functions[:LIMIT]])
        vb.wait_until(lambda: len(self.asked()) == LIMIT, 4 * DEADLINE, "all to be asked for")
        process.kill()
        process.wait()
        self.fence()
        self.assertEqual(len(self.asked()), LIMIT)
        another = self.functions[LIMIT].address
        self.assert_bus_error(vb.LIMITS_EXCEEDED, self.as_other_user, vb.function_path(another), vb.FUNCTION, "Unbind")

    def test_root_has_a_higher_one(self):
        calls = [self.client.start_unplug(function.address, 600) for function in self.functions]
        vb.wait_until(lambda: len(self.asked()) == len(self.functions), 4 * DEADLINE, "all to be asked for")
        self.assertFalse(any(call.done for call in calls))
        for function in self.functions:
            self.client.cancel_unplug(function.address)
        for call in calls:
            with self.assertRaises(vb.BusError) as caught:
                call.result()
            self.assertEqual(caught.exception.name, vb.FAILED)


if __name__ == "__main__":
    fixtures.main()
