#!/usr/bin/python3
"""Inhibitors: who holds the descriptor keeps operations from being done, over restarts of the daemon too."""

import os
import pwd
import socket
import subprocess
import textwrap

import fixtures
from fixtures import DEADLINE
import vfwarden_bus as vb
from test_lock import LockTest, SRIOV

PF = "0000:01:00.0"
PLAIN = "0000:02:00.0"

# Makes an inhibitor, says so, and lives until its standard input ends.
HOLDER = textwrap.dedent("""
    import sys
    from gi.repository import Gio, GLib
    bus = Gio.DBusConnection.new_for_address_sync(sys.argv[1], Gio.DBusConnectionFlags(1 | 8), None, None)
    kept = []
    for _ in range(int(sys.argv[4])):
        try:
            kept.append(bus.call_with_unix_fd_list_sync(
                "org.vfwarden1", "/org/vfwarden1", "org.vfwarden1.Manager", "Inhibit",
                GLib.Variant("(ssss)", (sys.argv[2], sys.argv[3], "holder", "")), None,
                Gio.DBusCallFlags.NONE, -1, None, None)[1])
            print("ok", flush=True)
        except GLib.Error as error:
            print(Gio.DBusError.get_remote_error(error), flush=True)
    sys.stdin.read()
""")


class InhibitTest(LockTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True, inhibit=True)
        self._fds = []
        self.addCleanup(lambda: [os.close(fd) for fd in self._fds])

    def inhibit(self, *args):
        fd = self.client.inhibit(*args)
        self._fds.append(fd)
        return fd

    def release(self, fd):
        self._fds.remove(fd)
        os.close(fd)

    def listed(self):
        return self.client.manager("ListInhibitors")

    def wait_listed(self, *names):
        """Until exactly these inhibit, in this order. Nothing else shows an inhibitor that locks no file."""
        vb.wait_until(lambda: [row[2] for row in self.listed()] == list(names), None,
                      lambda: f"the inhibitors {names}, are {self.listed()}")

    def lines_of(self, process, count):
        """So many lines of its standard output; the main loop runs meanwhile."""
        buffer = bytearray()
        os.set_blocking(process.stdout.fileno(), False)
        source = vb.GLib.unix_fd_add_full(
            vb.GLib.PRIORITY_DEFAULT, process.stdout.fileno(), vb.GLib.IOCondition.IN,
            lambda *_: buffer.extend(process.stdout.read() or b"") or vb.GLib.SOURCE_CONTINUE)
        try:
            vb.wait_until(lambda: buffer.count(b"\n") >= count, 4 * DEADLINE, f"{count} lines")
        finally:
            vb.GLib.source_remove(source)
        return buffer.decode().split("\n")[:count]

    def holder(self, address, what, count=1, **kwargs):
        process = subprocess.Popen(
            ["/usr/bin/python3", "-c", HOLDER, self.bus.address, address, what, str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", **kwargs)
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdin.close(),
                                 process.stdout.close()))
        return process

    def person(self, uid, count):
        """Takes inhibitors as another user; lines_of() returns the results."""
        return self.holder(PF, "bind", count, user=uid, group=65534, extra_groups=[], env={"PATH": "/usr/bin:/bin"})


class Life(InhibitTest):
    def test_ends_with_the_descriptor(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        fd = self.inhibit(PF, "set-num-vfs", "backup", "until six")
        # When the call returns the files are closed.
        self.assertEqual(pf.mode("sriov_numvfs"), 0o444)
        self.assert_closed(pf, "sriov_numvfs")
        self.wait_property(PF, "LockReasons", ["inhibitor"])
        self.wait_property(PF, "ClosedFiles", ["sriov_numvfs"])
        self.assertEqual(self.listed(), [(PF, "set-num-vfs", "backup", "until six", 0, os.getpid())])
        self.release(fd)
        self.wait_property(PF, "LockReasons", [])
        self.wait_property(PF, "ClosedFiles", [])
        self.assert_closed(pf)
        self.assertEqual(self.listed(), [])

    def test_each_operation_closes_its_files(self):
        pf = self.sysfs.add_pf(PF, slot="3")
        self.start()
        for what, files in (("set-num-vfs", ["sriov_numvfs"]), ("set-autoprobe", ["sriov_drivers_autoprobe"]),
                            ("reset", ["reset", "reset_method"]), ("remove", ["remove", "power"]),
                            ("power-off", ["power"]), ("bind", []), ("unbind", ["remove", "power"]), ("open", []),
                            ("disable-pasid", []), ("reset:bind:set-num-vfs",
                                                    ["sriov_numvfs", "reset", "reset_method"])):
            with self.subTest(what):
                fd = self.inhibit(PF, what)
                self.fence()
                self.assertEqual(self.picture.function(PF)["ClosedFiles"], files)
                self.assertEqual(self.picture.function(PF)["LockReasons"], ["inhibitor"] if files else [])
                self.assert_closed(pf, *[name for name in files if name != "power"])
                self.assertEqual(self.sysfs.slot_mode("3"), 0o444 if "power" in files else 0o644)
                self.assertEqual(set(self.listed()[0][1].split(":")), set(what.split(":")))
                self.release(fd)
                self.wait_listed()
                self.assert_closed(pf)

    def test_on_a_vf_it_closes_what_takes_the_vf_away(self):
        pf = self.sysfs.add_pf(PF, vfs=2, slot="3")
        vf = pf.vfs[1].address
        self.start()
        for what, files in (("unbind", ["sriov_numvfs", "remove", "power"]),
                            ("remove", ["sriov_numvfs", "remove", "power"]),
                            ("reset", ["reset", "reset_method"]), ("power-off", ["power"]),
                            ("bind", []), ("open", []), ("disable-pasid", [])):
            with self.subTest(what):
                fd = self.inhibit(vf, what)
                # When the call returns the PF's files are closed.
                self.assert_closed(pf, *[name for name in files if name != "power"])
                self.assertEqual(self.sysfs.slot_mode("3"), 0o444 if "power" in files else 0o644)
                self.wait_property(PF, "ClosedFiles", files)
                self.assertEqual(self.picture.function(PF)["LockReasons"], ["inhibitor"] if files else [])
                self.assertEqual(self.picture.function(pf.vfs[0].address)["LockReasons"], [])
                self.release(fd)
                self.wait_listed()
                self.wait_property(PF, "LockReasons", [])
                self.assert_closed(pf)
                self.assertEqual(self.sysfs.slot_mode("3"), 0o644)

    def test_vfs_taken_away_against_an_inhibitor_of_one(self):
        pf = self.sysfs.add_pf(PF, driver="igb", vfs=1)
        self.start()
        self.inhibit(pf.vfs[0].address, "unbind")
        self.wait_property(PF, "Locked", True)
        mark = self.mark()
        self.sysfs.disable_vfs(pf)   # as by a descriptor that was open before
        self.wait_property(PF, "Tainted", True)
        self.assertEqual([s.args for s in self.signals_since(mark) if s.member == "Violation"],
                         [(PF, "set-num-vfs", {"num-vfs-before": 1, "num-vfs": 0, "reasons": ["inhibitor"]})])

    def test_two_on_one_function(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        one = self.inhibit(PF, "reset", "one")
        two = self.inhibit(PF, "reset:remove", "two")
        self.wait_listed("one", "two")
        self.assert_closed(pf, "reset", "reset_method", "remove")
        self.release(two)
        self.wait_listed("one")
        self.assert_closed(pf, "reset", "reset_method")
        self.release(one)
        self.wait_listed()
        self.assert_closed(pf)

    def test_with_other_reasons(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.client.lock(PF)
        fd = self.inhibit(PF, "remove")
        self.wait_property(PF, "LockReasons", ["userspace-driver", "inhibitor", "administrator"])
        self.client.unlock(PF)
        self.assert_closed(pf, *SRIOV, "remove")
        self.release(fd)
        self.assert_closed(pf, *SRIOV)

    def test_a_copy_holds_it(self):
        self.sysfs.add_pf(PF)
        self.start()
        fd = self.inhibit(PF, "reset")
        copy = os.dup(fd)
        self.release(fd)
        self.fence()
        self.wait_listed("test")
        os.close(copy)
        self.wait_listed()

    def test_passed_on(self):
        self.sysfs.add_pf(PF)
        self.start()
        fd = self.inhibit(PF, "reset")
        ours, theirs = socket.socketpair()
        with ours, theirs:
            socket.send_fds(ours, [b"x"], [fd])
            self.release(fd)
            self.fence()
            self.wait_listed("test")    # while it is in progress
            _, (received,), *_ = socket.recv_fds(theirs, 1, 1)
        self.fence()
        self.wait_listed("test")
        os.close(received)
        self.wait_listed()

    def test_what_is_written_to_it_does_no_harm(self):
        self.sysfs.add_pf(PF)
        self.start()
        fd = self.inhibit(PF, "reset")
        try:
            while True:
                os.write(fd, b"x" * 65536)
        except BlockingIOError:
            pass
        self.fence()
        self.wait_listed("test")
        self.release(fd)
        self.wait_listed()

    def test_the_death_of_its_holder(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        process = self.holder(PF, "reset")
        self.assertEqual(self.lines_of(process, 1), ["ok"])
        self.assertEqual(self.listed(), [(PF, "reset", "holder", "", 0, process.pid)])
        process.kill()
        self.wait_listed()
        self.wait_property(PF, "Locked", False)
        self.assert_closed(pf)

    def test_waits_while_the_device_is_away(self):
        function = self.sysfs.add(PLAIN, driver="igb")
        self.start()
        fd = self.inhibit(PLAIN, "reset:open")
        self.sysfs.remove(function)
        self.wait_function(PLAIN, there=False)
        self.wait_listed("test")
        self.fence()
        function = self.sysfs.add(PLAIN, announce=True)
        self.wait_function(PLAIN)
        self.wait_property(PLAIN, "LockReasons", ["inhibitor"])
        self.assert_closed(function, "reset", "reset_method")
        self.sysfs.remove(function)
        self.wait_function(PLAIN, there=False)
        self.release(fd)
        self.wait_listed()
        self.fence()
        function = self.sysfs.add(PLAIN, announce=True)
        self.wait_function(PLAIN)
        self.fence()
        self.assert_closed(function)

    def test_violation(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.inhibit(PF, "remove")
        mark = self.mark()
        pf.chmod("remove", 0o220)
        signal_ = self.client.recorder.wait_for("Violation", mark=mark)
        self.assertEqual(signal_.args[:2], (PF, "remove"))
        self.assertEqual(signal_.args[2]["reasons"], ["inhibitor"])
        self.assert_closed(pf, "remove")


class Arguments(InhibitTest):
    def test_words(self):
        self.sysfs.add_pf(PF)
        self.start()
        for what in ("", ":", "reset:", ":reset", "reset::remove", "reset:reset", "Reset", "sleep",
                     "reset,remove", "reset remove", "reset:unplug", ":".join(["reset"] * 1000)):
            self.assert_bus_error(vb.INVALID_ARGS, self.inhibit, PF, what)
        self.assert_bus_error(vb.INVALID_ARGS, self.inhibit, "0000:01", "reset")
        self.assert_bus_error(vb.NO_SUCH_FUNCTION, self.inhibit, "0000:44:00.0", "reset")
        self.assertEqual(self.listed(), [])

    def test_texts(self):
        self.sysfs.add_pf(PF)
        self.start()
        for who, why in (("", ""), ("x" * 257, ""), ("x", "y" * 257), ("ä" * 129, "")):
            self.assert_bus_error(vb.INVALID_ARGS, self.inhibit, PF, "reset", who, why)
        self.assertEqual(self.listed(), [])
        self.inhibit(PF, "reset", "ä" * 128, "y" * 256)
        self.assertEqual(self.listed()[0][2:4], ("ä" * 128, "y" * 256))

    def test_needs_its_action(self):
        self.sysfs.add_pf(PF)
        self.start()
        self.polkit.verdicts = {"org.vfwarden1.configure": True}
        with self.acting_as():
            error = self.assert_bus_error(vb.ACCESS_DENIED, self.inhibit, PF, "reset")
        self.assertIn("org.vfwarden1.inhibit", error.message)
        self.assertEqual([q.action for q in self.polkit.questions], ["org.vfwarden1.inhibit"])
        self.assertEqual(self.listed(), [])

    def test_many_users_leave_room_for_root(self):
        self.sysfs.add_pf(PF)
        self.start()
        *users, last = [entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0][:15]
        for uid in users:
            client = self.client_of(uid)
            self._fds += [client.inhibit(PF, "reset") for _ in range(64)]
        self.assertEqual(len(self.listed()), 896)
        self.assert_bus_error(vb.LIMITS_EXCEEDED, self.client_of(last).inhibit, PF, "reset")
        self.inhibit(PF, "reset", "libvirt")
        self.assertEqual(self.listed()[-1][2], "libvirt")

    def test_sixty_four_of_one_user(self):
        self.sysfs.add_pf(PF)
        self.sysfs.add(PLAIN)
        self.start()
        one = self.person(65534, 65)
        self.assertEqual(self.lines_of(one, 65), ["ok"] * 64 + [vb.LIMITS_EXCEEDED])
        # Another user has a count of their own, and root has none: libvirt's domains may be many.
        other = self.person(1, 65)
        self.assertEqual(self.lines_of(other, 65), ["ok"] * 64 + [vb.LIMITS_EXCEEDED])
        for i in range(65):
            self.inhibit(PF if i % 2 else PLAIN, "bind", f"n{i}")
        self.assertEqual(len(self.listed()), 193)
        self.assertEqual({row[4] for row in self.listed()}, {0, 1, 65534})
        one.kill()
        vb.wait_until(lambda: len(self.listed()) == 129, None, "64 less")
        self.assertEqual(self.lines_of(self.person(65534, 1), 1), ["ok"])
        other.kill()


class Restart(InhibitTest):
    """The fixture plays systemd, which keeps the descriptors (FDSTORE=1)."""

    def again(self, how):
        if how == "kill":
            self.kill()
            self.start()
        else:
            self.restart()

    def test_it_outlives_the_daemon(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        fd = self.inhibit(PF, "reset:bind", "backup", "until \"six\" – ü")
        self.inhibit(PF, "open", "other")
        before = self.listed()
        for how in ("kill", "stop", "kill"):
            self.again(how)
            self.assertEqual(self.listed(), before)
            self.assert_closed(pf, "reset", "reset_method")
            self.assertEqual(self.picture.function(PF)["LockReasons"], ["inhibitor"])
        self.release(fd)
        self.wait_property(PF, "Locked", False)
        self.wait_listed("other")
        # It has been ordered to forget what ended.
        vb.wait_until(lambda: len(self.notify.store) == 1, None, "systemd to forget")
        self.again("kill")
        self.wait_listed("other")
        self.assert_closed(pf)

    def test_let_go_while_the_daemon_is_away(self):
        for systemd_noticed in (True, False):
            with self.subTest(systemd_noticed):
                address = PF if systemd_noticed else "0000:05:00.0"
                pf = self.sysfs.add_pf(address)
                if self.daemon is None:
                    self.start()
                else:
                    self.sysfs.change(pf)
                    self.wait_function(address)
                fd = self.inhibit(address, "remove", "ends")
                kept = self.inhibit(address, "reset", "stays")
                self.kill()
                self.release(fd)
                if not systemd_noticed:
                    self.notify.forget_hung_up = lambda: None
                self.start()
                self.wait_listed("stays")
                self.assert_closed(pf, "reset", "reset_method")
                vb.wait_until(lambda: len(self.notify.store) == 1, None, "systemd to forget")
                self.release(kept)
                self.wait_listed()

    def test_state_without_descriptors(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.inhibit(PF, "remove")
        self.kill()
        self.notify._forget(lambda *_: True)     # pylint: disable=protected-access
        self.start()
        self.assertEqual(self.listed(), [])
        self.assert_closed(pf)
        self.assertIs(self.picture.function(PF)["Locked"], False)

    def test_descriptors_without_state(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.inhibit(PF, "remove")
        self.kill()
        with open(os.path.join(self.state_dir, "state.json"), "w", encoding="ascii") as file:
            file.write("{")
        self.start()
        self.assertEqual(self.listed(), [])
        vb.wait_until(lambda: not self.notify.store, None, "systemd to forget what nobody knows")
        self.assert_closed(pf)

    def test_descriptors_under_strange_names(self):
        self.sysfs.add_pf(PF)
        self.start()
        self.inhibit(PF, "remove")
        self.kill()
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        for name in ("inhibitor-", "inhibitor-x", "inhibitor-99", "stored", "inhibitor--1"):
            self.notify.store.append((name, os.dup(reading)))
        os.close(reading)
        self.start()
        self.wait_listed("test")
        vb.wait_until(lambda: len(self.notify.store) == 1, None, "systemd to forget the others")

    def test_numbers_are_not_used_twice(self):
        self.sysfs.add_pf(PF)
        self.start()
        self.inhibit(PF, "remove", "one")
        self.inhibit(PF, "remove", "two")
        self.again("kill")
        self.inhibit(PF, "remove", "three")
        names = [name for name, _ in self.notify.store]
        self.assertEqual(len(set(names)), 3, names)
        self.again("kill")
        self.wait_listed("one", "two", "three")

    def test_the_limit_counts_those_of_before(self):
        self.sysfs.add_pf(PF)
        self.start()
        process = self.person(65534, 64)
        self.assertEqual(self.lines_of(process, 64), ["ok"] * 64)
        self.again("kill")
        self.assertEqual(len(self.listed()), 64)
        another = self.person(65534, 1)
        self.assertEqual(self.lines_of(another, 1), [vb.LIMITS_EXCEEDED])

    def test_a_device_that_came_meanwhile(self):
        function = self.sysfs.add(PLAIN)
        self.start()
        self.inhibit(PLAIN, "reset")
        self.kill()
        self.sysfs.remove(function)
        function = self.sysfs.add(PLAIN)
        self.start()
        self.assert_closed(function, "reset", "reset_method")
        self.assertEqual(self.picture.function(PLAIN)["LockReasons"], ["inhibitor"])


if __name__ == "__main__":
    fixtures.main()
