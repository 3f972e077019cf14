#!/usr/bin/python3
"""What outlives the daemon: the lock itself, each file's own mode, the administrator's word."""

import ctypes
import json
import os
import struct

import fixtures
from test_lock import ALL, LockTest, SRIOV

PF = "0000:01:00.0"
PLAIN = "0000:02:00.0"


class Restart(LockTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True)

    def again(self, how):
        if how == "kill":
            self.kill()
            self.start()
        else:
            self.restart()

    def test_lock_stands_while_it_is_away(self):
        for how in ("kill", "stop"):
            with self.subTest(how):
                address = PF if how == "kill" else "0000:03:00.0"
                pf = self.sysfs.add_pf(address, driver="vfio-pci")
                self.start()
                self.assert_closed(pf, *SRIOV)
                (self.kill if how == "kill" else self.stop)()
                self.assert_closed(pf, *SRIOV)
                if how == "stop":
                    self.client.recorder.listeners.clear()

    def test_own_modes_are_known_again(self):
        pf = self.sysfs.add_pf(PF, slot="3")
        own = {"sriov_numvfs": 0o664, "reset": 0o220}
        for name, mode in own.items():
            pf.chmod(name, mode)
        self.start()
        self.client.lock(PF)
        for how in ("kill", "stop", "kill"):
            self.again(how)
            self.assert_closed(pf, *ALL, own=own)
            self.assertEqual(self.picture.function(PF)["ClosedFiles"], ALL + ["power"])
        self.client.unlock(PF)
        self.assert_closed(pf, own=own)
        self.assertEqual(self.sysfs.slot_mode("3"), 0o644)

    def test_administrators_lock_and_why(self):
        self.sysfs.add_pf(PF)
        self.start()
        self.client.lock(PF, "maintenance \"tonight\" – ü")
        for how in ("kill", "stop"):
            self.again(how)
            told = self.picture.function(PF)
            self.assertEqual((told["LockReasons"], told["LockWhy"]),
                             (["administrator"], "maintenance \"tonight\" – ü"))

    def test_unlock_is_remembered_too(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.client.lock(PF)
        self.client.unlock(PF)
        self.again("kill")
        self.assertIs(self.picture.function(PF)["Locked"], False)
        self.assert_closed(pf)

    def test_reason_gone_meanwhile(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        pf.chmod("sriov_numvfs", 0o664)
        self.start()
        self.assert_closed(pf, *SRIOV, own={"sriov_numvfs": 0o664})
        self.kill()
        self.sysfs.rebind(pf, "igb")
        self.start()
        self.assert_closed(pf, own={"sriov_numvfs": 0o664})
        self.assertIs(self.picture.function(PF)["Locked"], False)

    def test_reason_come_meanwhile(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.kill()
        self.sysfs.rebind(pf, "vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)

    def test_opened_meanwhile_is_closed_again(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.kill()
        pf.chmod("sriov_numvfs", 0o644)
        self.start()
        self.assert_closed(pf, *SRIOV)
        # Nobody could listen to a signal; the journal has it.
        self.assertEqual(len(self.daemon.lines(rf"{PF}.*sriov_numvfs got write permission")), 1)

    def test_replugged_meanwhile_has_modes_of_its_own(self):
        pf = self.sysfs.add_pf(PF)
        pf.chmod("sriov_numvfs", 0o664)
        self.start()
        self.sysfs.rebind(pf, "vfio-pci")
        self.assert_closed(pf, *SRIOV, own={"sriov_numvfs": 0o664})
        self.kill()
        self.sysfs.remove(pf)
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        # It came open, which is no violation of anything.
        self.assertEqual(self.daemon.lines("got write permission"), [])
        self.sysfs.rebind(pf, "igb")
        self.wait_property(PF, "Driver", "igb")
        self.assert_closed(pf)

    def test_replugged_meanwhile_is_another_device(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.client.lock(PF, "of the old one")
        self.kill()
        self.sysfs.remove(pf)
        pf = self.sysfs.add_pf(PF)
        self.start()
        told = self.picture.function(PF)
        self.assertEqual((told["Locked"], told["LockWhy"], told["Tainted"]), (False, "", False))
        self.assert_closed(pf)

    def test_gone_meanwhile(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.client.lock(PF)
        self.kill()
        self.sysfs.remove(pf)
        self.start()
        self.assertIsNone(self.picture.function(PF))

    def test_slot_of_a_function_that_went_meanwhile(self):
        pf = self.sysfs.add_pf(PF, slot="3")
        self.start()
        self.client.lock(PF)
        self.assertEqual(self.sysfs.slot_mode("3"), 0o444)
        self.kill()
        self.sysfs.remove(pf)
        self.start()
        self.wait_slot_mode("3", 0o644)

    def state_file(self):
        return os.path.join(self.state_dir, "state.json")

    def test_without_its_state_it_knows_the_kernels_modes(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.kill()
        os.unlink(self.state_file())
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.sysfs.rebind(pf, "igb")
        self.wait_property(PF, "Driver", "igb")
        self.assert_closed(pf)

    def test_without_its_state_and_reason_gone(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.kill()
        os.unlink(self.state_file())
        self.sysfs.rebind(pf, "igb")
        self.start()
        # For all it knows somebody else closed them. An administrator can unlock them.
        self.fence()
        self.assert_closed(pf, *SRIOV)
        self.assertEqual(sorted(self.client.manager("ReleaseAll")),
                         sorted(f"/sys/bus/pci/devices/{PF}/{name}" for name in SRIOV))
        self.assert_closed(pf)

    def test_without_its_state_every_file_has_the_kernels_mode(self):
        pf = self.sysfs.add_pf(PF, slot="3")
        self.start()
        self.client.lock(PF)
        self.assert_closed(pf, *ALL)
        self.kill()
        os.unlink(self.state_file())
        self.start()
        self.assertEqual(self.client.function(PF, "Locked"), False)
        self.assertEqual(len(self.client.manager("ReleaseAll")), len(ALL) + 1)
        self.assert_closed(pf)
        self.assertEqual(self.sysfs.slot_mode("3"), 0o644)

    def test_damaged_state_and_reason_gone(self):
        # There was a run before, so what is closed was closed by it.
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.kill()
        with open(self.state_file(), "wb") as file:
            file.write(b"{")
        self.sysfs.rebind(pf, "igb")
        self.start()
        self.assert_closed(pf)
        self.assertTrue(os.path.exists(self.state_file() + ".damaged"))

    def test_own_mode_is_on_disk_before_the_file_is_closed(self):
        # Else a crash between the two would lose it. One inotify descriptor tells the order.
        pf = self.sysfs.add_pf(PF)
        self.start()
        order = DirectoryEvents(self.state_dir, pf.directory)
        self.addCleanup(order.close)
        self.client.lock(PF)
        self.client.unlock(PF)
        names = order.read()
        self.assertLess(names.index("state.json"), names.index("sriov_numvfs"), names)
        # And it is forgotten only when the file is open again.
        self.assertEqual(names[-1], "state.json", names)

    def test_a_new_own_mode_is_on_disk_before_the_file_is_closed_again(self):
        """A mode that an administrator gives a closed file."""
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.fence()
        order = DirectoryEvents(self.state_dir, pf.directory)
        self.addCleanup(order.close)
        pf.chmod("sriov_numvfs", 0o660)
        self.wait_mode(pf, "sriov_numvfs", 0o440)
        self.assertEqual(order.read()[:3], ["sriov_numvfs", "state.json", "sriov_numvfs"])

    def test_the_same_while_no_daemon_ran(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.kill()
        pf.chmod("sriov_numvfs", 0o660)
        order = DirectoryEvents(self.state_dir, pf.directory)
        self.addCleanup(order.close)
        self.start()
        self.wait_mode(pf, "sriov_numvfs", 0o440)
        self.assertEqual(order.read()[:2], ["state.json", "sriov_numvfs"])
        self.sysfs.rebind(pf, "igb")
        self.wait_mode(pf, "sriov_numvfs", 0o660)

    def test_a_new_own_mode_when_the_reason_is_gone(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.kill()
        pf.chmod("sriov_numvfs", 0o600)
        self.sysfs.rebind(pf, "igb")
        self.start()
        self.wait_mode(pf, "sriov_drivers_autoprobe", 0o644)
        self.assertEqual(pf.mode("sriov_numvfs"), 0o600)

    def test_damaged_state(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        for damage in (b"", b"{", b"[]", b"null", b"\0" * 64, b'{"version":1,"files":7}',
                       b'{"files":[{"path":"/etc/passwd","inode":1,"mode":511}]}'):
            with self.subTest(damage):
                self.kill()
                with open(self.state_file(), "wb") as file:
                    file.write(damage)
                self.start()
                self.assert_closed(pf, *SRIOV)
        self.sysfs.rebind(pf, "igb")
        self.wait_property(PF, "Driver", "igb")
        self.assert_closed(pf)

    def test_state_directory_is_made(self):
        os.rmdir(self.state_dir)
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        try:
            self.start()
        except AssertionError:
            # Refusing is fair as well, as long as it says why: tmpfiles.d makes the directory.
            self.assertRegex(self.daemon.log, self.state_dir)
            self.crash_expected = True
            return
        self.assert_closed(pf, *SRIOV)


class DirectoryEvents:
    """Names of files that were put into directories, or whose mode changed, in their order."""

    IN_ATTRIB, IN_MOVED_TO = 0x4, 0x80

    def __init__(self, *directories):
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for directory in directories:
            if libc.inotify_add_watch(self._fd, os.fsencode(directory),
                                      self.IN_ATTRIB | self.IN_MOVED_TO) < 0:
                raise OSError(ctypes.get_errno(), directory)

    def read(self):
        data, names = os.read(self._fd, 1 << 20), []
        while data:
            length = struct.unpack_from("I", data, 12)[0]
            names.append(data[16:16 + length].rstrip(b"\0").decode())
            data = data[16 + length:]
        return names

    def close(self):
        os.close(self._fd)


class Taint(LockTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True)

    def facts(self):
        """Whether a userspace driver has or had the PF, and whether it was tampered with."""
        function = self.picture.function(PF)
        return function["UserspaceDriver"], function["Tainted"]

    def tamper(self, pf):
        """The number of VFs changes although the PF is locked: by a descriptor from before the lock."""
        self.sysfs.enable_vfs(pf, 2)
        self.wait_property(PF, "Tainted", True)
        self.sysfs.disable_vfs(pf)
        self.wait_property(PF, "NumVFs", 0)

    def replug(self, pf):
        self.sysfs.remove(pf)
        self.wait_function(PF, there=False)
        self.sysfs.add_pf(PF, announce=True)
        self.wait_property(PF, "Driver", "igb")
        self.fence()

    def test_a_userspace_driver_is_told_until_replugged_and_taints_nothing(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.assertEqual(self.facts(), (False, False))
        self.sysfs.rebind(pf, "vfio-pci")
        self.wait_property(PF, "UserspaceDriver", True)
        self.sysfs.rebind(pf, "igb")
        self.wait_property(PF, "Locked", False)
        self.fence()
        self.assertEqual(self.facts(), (True, False))
        self.replug(pf)
        self.assertEqual(self.facts(), (False, False))

    def test_tampering_taints_until_replugged(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.client.lock(PF)
        self.tamper(pf)
        self.assertEqual(self.facts(), (False, True))
        self.client.unlock(PF)
        self.fence()
        self.assertEqual(self.facts(), (False, True))
        self.replug(pf)
        self.assertEqual(self.facts(), (False, False))

    def test_both_outlive_the_daemon(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.sysfs.rebind(pf, "igb")
        self.wait_property(PF, "Locked", False)
        self.kill()
        self.start()
        self.assertEqual(self.facts(), (True, False))
        self.client.lock(PF)
        self.tamper(pf)
        self.kill()
        self.start()
        self.assertEqual(self.facts(), (True, True))
        self.restart()
        self.assertEqual(self.facts(), (True, True))

    def test_what_an_older_daemon_wrote_as_tainted_stays(self):
        """It may have meant either; a warning that is lost is worse than one too many."""
        self.sysfs.add_pf(PF)
        self.start()
        self.client.lock(PF)
        self.kill()
        path = os.path.join(self.state_dir, "state.json")
        with open(path, encoding="utf-8") as file:
            state = json.load(file)
        for function in state["functions"]:
            del function["userspace-driver"]
            function["tainted"] = True
        with open(path, "w", encoding="utf-8") as file:
            json.dump(state, file)
        self.start()
        self.assertEqual(self.facts(), (False, True))

    def test_administrators_lock_taints_nothing(self):
        self.sysfs.add_pf(PF)
        self.start()
        self.client.lock(PF)
        self.client.unlock(PF)
        self.fence()
        self.assertIs(self.picture.function(PF)["Tainted"], False)

    def test_plain_function_on_vfio_is_not_tainted(self):
        self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.assertIs(self.picture.function(PLAIN)["Tainted"], False)


if __name__ == "__main__":
    fixtures.main()
