#!/usr/bin/python3
"""state.json, whatever has become of it: the daemon starts, guards, and opens no file that a lock closed."""

import json
import os

import fixtures
from test_lock import ALL, LockTest, SRIOV
import vfwarden_bus as vb

PF = "0000:01:00.0"
LOCKED = "0000:02:00.0"
OTHER = "0000:03:00.0"

INHIBITOR = {"number": "1", "address": LOCKED, "what": "reset", "who": "x", "why": "y", "uid": "0", "pid": "1"}
SESSION = {"number": "1", "address": LOCKED, "inode": "1", "io-pid": "1", "io-start-time": "0", "max-mapped": "0",
           "uid": "0", "pid": "1", "since": "0", "command": "", "unit": ""}
LEASE = {"generation": "fffffffffffffffe", "address": LOCKED, "inode": "1", "binding": "0", "group": "7fffffff",
         "node": "", "kind": "group", "uid": "0", "pid": "1", "since": "0", "command": "", "unit": ""}


class Damaged(LockTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True, inhibit=True)
        self.path = os.path.join(self.state_dir, "state.json")
        self.pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.plain = self.sysfs.add(LOCKED)
        self.plain.chmod("reset", 0o220)
        self.sysfs.add(OTHER)

    def good(self):
        """A state with a lock, and what the locks closed."""
        self.start(picture=False)
        self.client.lock(LOCKED, "mine")
        self.stop()
        with open(self.path, encoding="utf-8") as file:
            return file.read()

    def assert_guards(self, what):
        """It is up in time, and the PF that is bound to a userspace driver is locked."""
        with self.subTest(what):
            self.start(picture=False)
            self.assert_closed(self.pf, *SRIOV)
            self.assertEqual(self.client.function(PF, "LockReasons"), ["userspace-driver"])
            self.client.managed_objects()

    def assert_aside(self, there=True):
        self.assertEqual(any(".damaged" in name for name in os.listdir(self.state_dir)), there)

    def test_texts(self):
        good = self.good()
        for what, text in (
                ("empty", ""), ("truncated", good[:len(good) // 2]), ("nul bytes", "\0" * 1000),
                ("a byte order mark", "\ufeff" + good), ("deep arrays", "[" * (1 << 20)),
                ("deep objects", '{"a":' * (1 << 20)),
                ("deep in a member that nobody reads", good.rstrip()[:-1] + ',"x":' + "[" * 200000 + "]" * 200000 + "}"),
                ("deep behind a comment", '/*"*/' + "[" * (1 << 20)),
                ("a million values", good.rstrip()[:-1] + ',"x":[' + "0," * (1 << 20) + "0]}"),
                ("64 MiB", good.rstrip()[:-1] + ',"x":"' + "y" * (64 << 20) + '"}')):
            with open(self.path, "w", encoding="utf-8") as file:
                file.write(text)
            self.assert_guards(what)
            self.assert_aside()
            self.stop()
            os.unlink(self.path + ".damaged")

    def test_entries(self):
        good = json.loads(self.good())
        wrong = ((name, [entry]) for name in good if name != "released"
                 for entry in (None, 5, "x", {}, [], [[]], {"address": 5}, {"path": {}, "name": [], "what": None}))
        more = (("inhibitors", [INHIBITOR] * 1000), ("sessions", [SESSION] * 3), ("leases", [LEASE] * 3),
                ("operations", [{"address": LOCKED, "inode": "1", "pid": "1", "start-time": "0", "since": "0",
                                 "what": "reset"}] * 3),
                ("functions", [{"address": OTHER, "inode": "1"}] * 1000))
        for name, entries in (*wrong, *more):
            with open(self.path, "w", encoding="utf-8") as file:
                json.dump({**good, name: good[name] + entries}, file)
            self.assert_guards(f"{name}: {entries[0]}")
            # What is right beside it still holds.
            self.assertEqual(self.client.function(LOCKED, "LockWhy"), "mine", (name, entries[0]))
            self.assert_closed(self.plain, "reset", "reset_method", "remove", own={"reset": 0o220})
            self.assert_aside()
            self.stop()
            os.unlink(self.path + ".damaged")

    def test_paths_open_no_locked_file(self):
        good = json.loads(self.good())
        inode = f"{os.stat(self.plain.path('reset')).st_ino:x}"
        for path in (f"/sys/bus/pci/devices/{LOCKED}/./reset", f"/sys/bus/pci/devices/{LOCKED}//reset",
                     f"/sys/bus/pci/devices/../devices/{LOCKED}/reset", f"/sys/bus/pci/./devices/{LOCKED}/reset",
                     f"/sys/bus/pci/devices/{OTHER}/../{LOCKED}/reset"):
            entry = {"path": path, "inode": inode, "mode": "1b6"}
            with open(self.path, "w", encoding="utf-8") as file:
                json.dump({**good, "files": [entry] + good["files"]}, file)
            self.assert_guards(path)
            self.assert_closed(self.plain, "reset", "reset_method", "remove", own={"reset": 0o220})
            self.stop()

    def test_a_duplicate_takes_no_inhibitor_along(self):
        self.start(picture=False)
        fd = self.client.inhibit(OTHER, "reset")
        self.addCleanup(os.close, fd)
        self.kill()
        with open(self.path, encoding="utf-8") as file:
            state = json.load(file)
        state["inhibitors"] *= 2
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(state, file)
        for _ in range(2):
            self.start(picture=False)
            self.assertEqual(self.client.function(OTHER, "LockReasons"), ["inhibitor"])
            self.kill()

    def test_no_file_at_all(self):
        self.good()

        def directory():
            os.mkdir(self.path)
            with open(os.path.join(self.path, "full"), "w", encoding="ascii"):
                pass

        for what, make in (("a directory", directory), ("a FIFO", lambda: os.mkfifo(self.path)),
                           ("a dangling link", lambda: os.symlink("/nonexistent/x", self.path)),
                           ("a link to a file", lambda: os.symlink("/etc/passwd", self.path)),
                           ("a link without end", lambda: os.symlink("/dev/zero", self.path)),
                           ("a link to itself", lambda: os.symlink("state.json", self.path))):
            os.unlink(self.path)
            make()
            self.assert_guards(what)
            self.assert_aside()
            # It saves again.
            self.assertTrue(os.path.isfile(self.path) and not os.path.islink(self.path), what)
            self.stop()

    def test_left_over_files_are_removed(self):
        self.good()
        left = self.path + ".x1Y2z3"
        with open(left, "w", encoding="ascii") as file:
            file.write("{")
        self.start()
        self.assertFalse(os.path.exists(left))
        self.assertEqual(self.client.function(LOCKED, "LockWhy"), "mine")


class Directory(LockTest):
    """The directory itself."""

    def assert_guards(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)

    def test_is_missing(self):
        os.rmdir(self.state_dir)
        self.assert_guards()
        self.assertTrue(os.path.exists(os.path.join(self.state_dir, "state.json")))

    def test_is_a_link(self):
        os.rmdir(self.state_dir)
        os.mkdir(self.state_dir + "-real")
        os.symlink(self.state_dir + "-real", self.state_dir)
        self.assert_guards()
        self.assertTrue(os.path.exists(os.path.join(self.state_dir + "-real", "state.json")))

    def test_is_a_link_that_leads_nowhere(self):
        os.rmdir(self.state_dir)
        os.symlink("/nonexistent/x", self.state_dir)
        self.assert_guards()
        self.daemon.wait_log(rf"err: .*{self.state_dir}")

    def test_goes_while_the_daemon_runs(self):
        self.start_polkit(configure=True)
        self.sysfs.add(OTHER)
        self.start()
        for name in os.listdir(self.state_dir):
            os.unlink(os.path.join(self.state_dir, name))
        os.rmdir(self.state_dir)
        self.client.lock(OTHER, "mine")
        self.kill()
        self.start()
        self.assertEqual(self.client.function(OTHER, "LockWhy"), "mine")


if __name__ == "__main__":
    fixtures.main()
