#!/usr/bin/python3
"""What nobody should do and somebody will: malformed calls, odd bytes, floods, broken disks."""

import os
import signal
import socket
import struct
import time

import fixtures
from fixtures import DEADLINE
from programs import descriptors
import vfwarden_bus as vb
from gi.repository import Gio, GLib
from test_lock import ALL, LockTest, SRIOV

PF = "0000:01:00.0"
PLAIN = "0000:02:00.0"

UNKNOWN = ("org.freedesktop.DBus.Error.UnknownMethod", "org.freedesktop.DBus.Error.UnknownObject",
           "org.freedesktop.DBus.Error.UnknownInterface",
           "org.freedesktop.DBus.Error.UnknownProperty")


class Calls(LockTest):
    def refused(self, names, function, *args, **kwargs):
        with self.assertRaises(vb.BusError) as caught:
            function(*args, **kwargs)
        self.assertIn(caught.exception.name, names)

    def send_bare(self, path, member):
        """A call without an interface, which D-Bus allows; returns the error's name or None."""
        message = Gio.DBusMessage.new_method_call(vb.NAME, path, None, member)
        message.set_body(GLib.Variant("(s)", ("x",)))
        replies = []

        def done(connection, result):
            replies.append(connection.send_message_with_reply_finish(result))
        self.client.bus.connection.send_message_with_reply(
            message, Gio.DBusSendMessageFlags.NONE, 60000, None, done)
        vb.wait_until(lambda: replies, None, "a reply")
        return replies[0].get_error_name()

    def test_without_an_interface(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.assertIn(self.send_bare(vb.function_path(PF), "Lock"), UNKNOWN)
        self.assertIn(self.send_bare(vb.ROOT, "GetFunction"), UNKNOWN)
        self.fence()
        self.assert_closed(pf)

    def test_wrong_arguments(self):
        self.sysfs.add_pf(PF)
        self.start()
        path = vb.function_path(PF)
        for signature, arguments in (("(u)", (1,)), ("()", ()), ("(ss)", ("a", "b")),
                                     ("(as)", (["a"],))):
            with self.subTest(signature):
                self.refused((vb.INVALID_ARGS,), self.client.bus.call, path, vb.FUNCTION, "Lock",
                             signature, arguments)
                self.refused((vb.INVALID_ARGS,), self.client.bus.call, vb.ROOT, vb.MANAGER,
                             "GetFunction", signature, arguments)
        self.assertIs(self.client.function(PF, "Locked"), False)

    def test_what_there_is_not(self):
        self.sysfs.add_pf(PF)
        self.start()
        path = vb.function_path(PF)
        call = self.client.bus.call
        self.refused(UNKNOWN, call, path, vb.FUNCTION, "Explode")
        self.refused(UNKNOWN, call, vb.ROOT, vb.FUNCTION, "Unlock")
        self.refused(UNKNOWN, call, path, vb.MANAGER, "Reload")
        self.refused(UNKNOWN, call, path, "org.vfwarden1.Nothing", "Lock", "(s)", ("x",))
        self.refused(UNKNOWN, call, "/", vb.MANAGER, "ListFunctions")
        self.refused(UNKNOWN, self.client.get, path, vb.FUNCTION, "Colour")
        self.refused(UNKNOWN, self.client.get, path, vb.VIRTUAL, "Index")
        # The same function spelt otherwise is no object: one function, one path.
        for other in (path.upper().replace(vb.ROOT.upper(), vb.ROOT), path + "_", path + "/x",
                      f"{vb.ROOT}/function/{vb.encode('0000:01:00.0 ')}",
                      f"{vb.ROOT}/function/_3{vb.encode('000:01:00.0')}",
                      f"{vb.ROOT}/function"):
            with self.subTest(other):
                self.refused(UNKNOWN, call, other, vb.FUNCTION, "Lock", "(s)", ("x",))

    def test_every_property_is_read_only(self):
        pf = self.sysfs.add_pf(PF, vfs=1)
        self.start()
        before = self.client.managed_objects()
        for path, interfaces in before.items():
            for interface, properties in interfaces.items():
                for name in properties:
                    self.refused(("org.freedesktop.DBus.Error.PropertyReadOnly",), self.client.set,
                                 path, interface, name, GLib.Variant("s", "mine"))
        for name in ("Version", "Enforcement", "FunctionCount"):
            self.refused(("org.freedesktop.DBus.Error.PropertyReadOnly",), self.client.set,
                         vb.ROOT, vb.MANAGER, name, GLib.Variant("s", "advise"))
        self.assertEqual(self.client.managed_objects(), before)
        self.assert_closed(pf)

    def test_huge_text(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        huge = "x" * (8 << 20)
        self.assert_bus_error(vb.INVALID_ARGS, self.client.manager, "GetFunction", "(s)", huge)
        self.assert_bus_error(vb.INVALID_ARGS, self.client.lock, PF, huge)
        self.assert_closed(pf)

    def test_a_refused_text_leaves_the_lock_as_it_was(self):
        self.sysfs.add_pf(PF)
        self.start()
        self.client.lock(PF, "mine")
        self.assert_bus_error(vb.INVALID_ARGS, self.client.lock, PF, "x" * 513)
        self.assertEqual(self.client.function(PF, "LockWhy"), "mine")
        # The limit is in bytes.
        self.assert_bus_error(vb.INVALID_ARGS, self.client.lock, PF, "ü" * 257)
        self.client.lock(PF, "ü" * 256)
        self.wait_property(PF, "LockWhy", "ü" * 256)

    def test_control_characters(self):
        pf = self.sysfs.add_pf(PF)
        self.start_polkit(configure=True, inhibit=True)
        self.start()
        for char in "\x01\x02\x03\r\x1b\x7f\x9b\u2028\u202e\u2066":
            with self.subTest(f"U+{ord(char):04X}"):
                self.refused((vb.INVALID_ARGS,), self.client.lock, PF, f"a{char}b")
                self.refused((vb.INVALID_ARGS,), self.client.inhibit, PF, "reset", f"a{char}b")
                self.refused((vb.INVALID_ARGS,), self.client.inhibit, PF, "reset", "a", f"a{char}b")
        self.refused((vb.INVALID_ARGS,), self.client.inhibit, PF, "reset", "two\nlines")
        self.assert_closed(pf)
        self.assertEqual(self.client.manager("ListInhibitors"), [])
        os.close(self.client.inhibit(PF, "reset", "one line", "two\nlines"))

    def test_no_text_makes_a_line_of_the_log(self):
        self.sysfs.add_pf(PF)
        self.start()
        mark = self.daemon.log_mark()
        self.client.lock(PF, "one\nvfwardend: error: forged")
        self.wait_property(PF, "LockWhy", "one\nvfwardend: error: forged")
        self.daemon.wait_log("one vfwardend: error: forged", mark)
        self.assertEqual(self.daemon.lines("^vfwardend: error", mark), [])

    def test_errors_are_short(self):
        """Whatever a client said, and however much of it."""
        self.sysfs.add_pf(PF)
        self.start()
        much = "ä" * (1 << 20)
        for call in ((self.client.check, much, "reset"), (self.client.check, PF, much),
                     (self.client.manager, "GetFunction", "(s)", much), (self.client.lock, PF, much),
                     (self.client.inhibit, PF, much), (self.client.start_bind(PF, much).result,)):
            error = self.assert_bus_error(vb.INVALID_ARGS, *call)
            self.assertLess(len(error.message.encode()), 10000)

    def test_empty_text(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        mark = self.mark()
        self.client.lock(PF, "")
        self.wait_property(PF, "LockReasons", ["administrator"])
        self.assert_closed(pf, *ALL)
        # LockWhy was empty before, so nothing may be said of it (the faults of the inventory show that, too).
        told = {name for s in self.client.recorder.since(mark, "PropertiesChanged")
                if s.path == vb.function_path(PF) for name in s.args[1]}
        self.assertEqual(told, {"Locked", "LockReasons", "ClosedFiles"})
        self.kill()
        self.start()
        self.assertEqual(self.picture.function(PF)["LockReasons"], ["administrator"])
        self.client.unlock(PF)
        self.wait_property(PF, "Locked", False)
        self.assert_closed(pf)

    def test_a_second_equal_lock_is_silent(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.client.lock(PF, "mine")
        self.fence()
        mark = self.mark()
        self.client.lock(PF, "mine")
        self.assertEqual(self.signals_since(mark), [])
        self.assert_closed(pf, *ALL)
        self.client.unlock(PF)
        self.assert_closed(pf)


class Descriptors(LockTest):
    LINGER_SECONDS = 3600

    def full_socket(self):
        """A socket with data that nobody takes; its last close waits for them to be taken."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            sender = socket.create_connection(server.getsockname())
            self.addCleanup(server.accept()[0].close)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, self.LINGER_SECONDS))
        sender.setblocking(False)
        try:
            while True:
                sender.send(bytes(65536))
        except BlockingIOError:
            return sender

    def send_the_last(self, sender, path, interface, method, *arguments):
        """Sends a call with the socket; the daemon, which is stopped, is the only one to have it then."""
        name = os.readlink(f"/proc/self/fd/{sender.fileno()}")
        call = self.client.bus.start_call(path, interface, method, *arguments, with_fds=True, fds=[sender.fileno()])
        self.client.bus.connection.flush_sync()
        sender.close()
        vb.wait_until(lambda: name not in descriptors(self.bus.pid).values() and
                      name not in descriptors("self").values(), None, "the socket to be on its way")
        return call

    def test_whose_last_close_waits(self):
        self.sysfs.add_pf(PF)
        self.start()
        path = vb.function_path(PF)
        for what in ((vb.ROOT, vb.PEER, "Ping"), (path, vb.FUNCTION, "Lock", "(s)", ("x",)), (path, "no.such", "Member")):
            with self.subTest(what):
                senders = [self.full_socket() for _ in range(3)]
                os.kill(self.daemon.pid, signal.SIGSTOP)
                calls = [self.send_the_last(sender, *what) for sender in senders]
                started = time.monotonic()
                os.kill(self.daemon.pid, signal.SIGCONT)
                vb.Client(self.bus.address).ping()
                self.assertLess(time.monotonic() - started, self.LINGER_SECONDS / 2)
                vb.wait_until(lambda calls=calls: all(call.done for call in calls), None, "the answers")


class Bytes(LockTest):
    def test_override_that_is_no_text(self):
        function = self.sysfs.add(PLAIN)
        self.start()
        function.write("driver_override", b"vf\xffio\xc3\n")
        self.wait_property(PLAIN, "DriverOverride", "vf\ufffdio\ufffd")
        self.client.manager("Describe")

    def test_override_that_is_long(self):
        function = self.sysfs.add(PLAIN)
        self.start()
        function.write("driver_override", "d" * 4000)
        self.wait_property(PLAIN, "DriverOverride", "d" * 4000)
        # The kernel's limit is a page; what is longer is none of its answers.
        function.write("driver_override", "d" * 5000)
        self.wait_property(PLAIN, "DriverOverride", "")

    def test_autoprobe_that_is_no_number(self):
        pf = self.sysfs.add_pf(PF)
        pf.write("sriov_drivers_autoprobe", "2")
        pf.write("sriov_totalvfs", "99999")
        self.start()
        told = self.picture.function(PF)
        self.assertEqual((told["Kind"], told["TotalVFs"], told["DriversAutoprobe"]), ("pf", 0, True))

    def test_links_that_are_none(self):
        pf = self.sysfs.add_pf(PF, vfs=1)
        for name, target in (("virtfn", "../x"), ("virtfnx", "../0000:09:00.0"),
                             ("virtfn99999999999", "../0000:09:00.0"), ("virtfn7", "../nonsense"),
                             ("virtfn8", "../" + PF)):
            os.symlink(target, pf.path(name))
        os.symlink("../../../kernel/iommu_groups/many", pf.vfs[0].path("group"))
        os.unlink(pf.path("iommu_group"))
        os.symlink("../../../kernel/iommu_groups/many", pf.path("iommu_group"))
        self.start()
        told = self.picture.function(PF)
        self.assertEqual(told["VirtualFunctions"], [vb.function_path(pf.vfs[0].address)])
        self.assertEqual(told["IommuGroup"], -1)

    def test_a_vf_of_itself(self):
        function = self.sysfs.add(PLAIN)
        os.symlink("../" + PLAIN, function.path("physfn"))
        self.start()
        self.assertEqual(self.picture.function(PLAIN)["PhysicalFunction"], "/")


class Disk(LockTest):
    def test_state_cannot_be_written(self):
        # Whatever the reason is (full, read-only), root is stopped by this one.
        os.rmdir(self.state_dir)
        with open(self.state_dir, "w", encoding="ascii"):
            pass
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.daemon.wait_log(rf"err: .*{self.state_dir}")
        # Said once, not with each event.
        for driver in ("igb", "vfio-pci", "igb"):
            self.sysfs.rebind(pf, driver)
            self.wait_property(PF, "Driver", driver)
        self.fence()
        self.assertEqual(len(self.daemon.lines(rf"err: .*{self.state_dir}")), 1)
        self.assert_closed(pf)
        # Once it can be written, it is, though nothing else changed: the own mode is at stake.
        self.sysfs.rebind(pf, "vfio-pci")
        self.assert_closed(pf, *SRIOV)
        self.fence()
        os.unlink(self.state_dir)
        os.mkdir(self.state_dir)
        self.fence()
        with open(os.path.join(self.state_dir, "state.json"), encoding="utf-8") as file:
            self.assertIn("sriov_numvfs", file.read())

    def test_state_is_nobody_elses_to_read(self):
        self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        state = os.stat(os.path.join(self.state_dir, "state.json"))
        self.assertEqual(state.st_mode & 0o077, 0)

    def test_record_of_a_file_that_is_not_ours(self):
        victim = os.path.join(self.directory, "victim")
        with open(victim, "w", encoding="ascii"):
            pass
        os.chmod(victim, 0o600)
        inode = os.stat(victim).st_ino
        self.start()
        self.stop()
        self.client.recorder.listeners.clear()
        for path in (victim, "/sys/bus/pci/../../../../victim"):
            with open(os.path.join(self.state_dir, "state.json"), "w", encoding="ascii") as file:
                file.write('{"files":[{"path":"%s","inode":"%x","mode":"1ff"}],"functions":[]}'
                           % (path, inode))
            self.restart() if self.daemon.running else self.start()
            self.assertEqual(os.stat(victim).st_mode & 0o7777, 0o600)


class Floods(LockTest):
    def test_a_thousand_functions(self):
        for number in range(1000):
            self.sysfs.add(f"0000:{number >> 5:02x}:{number & 31:02x}.0", driver="e1000e")
        self.start()
        self.assertEqual(len(self.client.managed_objects()), 1001)
        self.assertEqual(len(self.client.list_functions()), 1001)

    def test_changes_of_files_are_lost(self):
        # More than inotify keeps: its overflow must lead to the same end as its events.
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as file:
            limit = int(file.read())
        mark, log = self.mark(), self.daemon.log_mark()
        self.daemon.kill(signal.SIGSTOP)
        for _ in range(limit // 2 + 10):        # equal neighbours are merged, so two in turn
            pf.chmod("enable", 0o644)
            pf.chmod("numa_node", 0o644)
        pf.chmod("sriov_numvfs", 0o644)
        self.sysfs.set_override(pf, "igb")
        self.daemon.kill(signal.SIGCONT)
        self.wait_mode(pf, "sriov_numvfs", 0o444)
        self.wait_property(PF, "DriverOverride", "igb")
        self.client.recorder.wait_for("Violation", mark=mark)
        self.daemon.wait_log("lost", log)
        self.assertEqual([s.args[0] for s in self.signals_since(mark) if s.member == "Violation"],
                         [PF])

    def test_bit_restored_where_inotify_sees_nothing(self):
        # Another network namespace has a sysfs of its own: other inodes, the same mode bits. A second
        # name of the file in an unwatched directory is as unseen.
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        other = os.path.join(self.directory, "other-name")
        os.link(pf.path("sriov_numvfs"), other)
        self.fence()
        for _ in range(2):
            mark = self.mark()
            os.chmod(other, 0o644)
            self.client.recorder.wait_for("Violation", mark=mark, deadline=3 * DEADLINE)
            self.wait_mode(pf, "sriov_numvfs", 0o444)

    def test_every_function_comes_and_goes_ten_times(self):
        self.start_polkit(configure=True)
        self.start()
        self.fence()
        before = self.count_watches()
        for _ in range(10):
            pf = self.sysfs.add_pf(PF, announce=True, driver="vfio-pci", slot="3")
            self.wait_property(PF, "Locked", True)
            self.client.lock(PF, "again")
            # Somebody has the directory open, so its node lives on, as nodes of sysfs do: the watch on
            # it does not go by itself.
            self.addCleanup(os.close, os.open(pf.directory, os.O_PATH))
            self.sysfs.remove(pf)
            self.wait_function(PF, there=False)
            self.wait_slot_mode("3", 0o644)
        self.fence()
        # Nothing of it is kept: descriptors and watches are what they were.
        self.assertEqual(self.count_watches(), before)

    def count_watches(self):
        with open(f"/proc/{self.daemon.pid}/fdinfo/{self.inotify_descriptor()}", encoding="ascii") as file:
            return sum(line.startswith("inotify") for line in file)

    def inotify_descriptor(self):
        for number, link in fixtures.descriptors(self.daemon.pid).items():
            if link == "anon_inode:inotify":
                return number
        self.fail("no inotify descriptor")
        return None


if __name__ == "__main__":
    fixtures.main()
