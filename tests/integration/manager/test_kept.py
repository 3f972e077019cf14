#!/usr/bin/python3
"""What is answered with yes outlives the daemon; where it would not, the call fails and nothing has changed."""

import errno
import os

import fixtures
from fixtures import wait_until
from fakesystemd import Systemd
from smalldisk import SmallDisk
from test_lock import LockTest, SRIOV
from test_open import ONE, OpenTest
from test_operations import OperationTest
from test_session import PLAIN, SessionTest
from test_unplug import LONG, UnplugTest
from test_vf_tokens import PF as TOKEN_PF, TokenTest
import vfwarden_bus as vb

PF = "0000:01:00.0"
OTHER = "0000:04:00.0"


class FullDisk:
    """For a test case, before its own set-up: the state is on a disk that is full from fill() to free()."""

    def setUp(self):
        super().setUp()
        self.disk = SmallDisk(self.state_dir)
        self.addCleanup(self.disk.close)

    def spoil(self):
        self.disk.fill()

    def mend(self):
        self.disk.free()

    REASON = os.strerror(errno.ENOSPC)

    def assert_unsaved(self, call, *arguments, **kwargs):
        """The error says where the state could not be saved, and why."""
        with self.assertRaises(vb.BusError) as caught:
            call(*arguments, **kwargs)
        self.assertEqual(caught.exception.name, vb.FAILED, caught.exception)
        self.assertIn(f"in {self.state_dir}: {self.REASON}", caught.exception.message)

    def problems(self):
        return self.client.manager_property("Problems")


class Locks(FullDisk, LockTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True, inhibit=True, unplug=True)
        self.pf = self.sysfs.add_pf(PF)

    def told(self):
        told = self.client.function(PF)
        return told["LockReasons"], told["LockWhy"], told["ClosedFiles"]

    def signals_of_locks(self, mark):
        return [s for s in self.signals_since(mark) if s.member == "PropertiesChanged" and s.path != vb.ROOT]

    def test_lock(self):
        self.start()
        self.spoil()
        mark = self.mark()
        self.assert_unsaved(self.client.lock, PF, "mine")
        problem, = self.problems()
        self.assertIn("what must outlive the daemon is refused", problem)
        self.assertEqual(self.told(), ([], "", []))
        self.assert_closed(self.pf)
        self.assertEqual(self.signals_of_locks(mark), [])
        self.assertEqual(self.daemon.lines(r"locked"), [])
        self.mend()
        self.client.lock(PF, "mine")
        self.kill()
        self.start()
        self.assertEqual(self.told()[:2], (["administrator"], "mine"))

    def test_another_text(self):
        self.start()
        self.client.lock(PF, "first")
        self.spoil()
        mark = self.mark()
        self.assert_unsaved(self.client.lock, PF, "second")
        self.assertEqual(self.told()[:2], (["administrator"], "first"))
        self.assertEqual(self.signals_of_locks(mark), [])
        self.kill()
        self.start(picture=False)   # the problem may be told after the picture was taken
        self.assertEqual(self.told()[:2], (["administrator"], "first"))

    def test_unlock(self):
        self.pf.chmod("reset", 0o220)
        self.start()
        self.client.lock(PF, "mine")
        before = self.modes(self.pf)
        self.spoil()
        mark = self.mark()
        self.assert_unsaved(self.client.unlock, PF)
        self.assertEqual(self.modes(self.pf), before)
        self.assertEqual(self.told()[:2], (["administrator"], "mine"))
        self.assertEqual(self.signals_of_locks(mark), [])
        self.kill()
        self.start(picture=False)
        self.assertEqual(self.told()[:2], (["administrator"], "mine"))
        self.assertEqual(self.modes(self.pf), before)
        self.mend()
        self.client.unlock(PF)
        self.assert_closed(self.pf, own={"reset": 0o220})
        self.kill()
        self.start()
        self.assertEqual(self.told(), ([], "", []))

    def test_inhibit(self):
        self.start()
        first = self.client.inhibit(PF, "reset", "first")
        self.addCleanup(os.close, first)
        before = self.modes(self.pf)
        self.spoil()
        mark = self.mark()
        self.assert_unsaved(self.client.inhibit, PF, "remove:set-num-vfs", "second")
        self.assertEqual([row[2] for row in self.client.manager("ListInhibitors")], ["first"])
        self.assertEqual(self.modes(self.pf), before)
        self.assertEqual(self.signals_of_locks(mark), [])
        wait_until(lambda: len(self.notify.store) == 1, None, "systemd to forget the descriptor")
        self.mend()
        second = self.client.inhibit(PF, "remove", "third")
        self.addCleanup(os.close, second)
        self.kill()
        self.start()
        self.assertEqual([row[2] for row in self.client.manager("ListInhibitors")], ["first", "third"])

    def test_release_all(self):
        self.start()
        self.client.lock(PF, "mine")
        before = self.modes(self.pf)
        self.spoil()
        self.assert_unsaved(self.client.manager, "ReleaseAll")
        self.assertEqual(self.modes(self.pf), before)
        self.assertEqual(self.told()[:2], (["administrator"], "mine"))
        self.assertEqual(self.client.manager_property("Enforcement"), "enforce")
        self.mend()
        self.client.manager("ReleaseAll")
        self.assert_closed(self.pf)

    def test_reload_that_ends_a_release(self):
        """The next daemon would find the release still written down, and lock nothing."""
        self.systemd = Systemd(self.bus.address)
        self.addCleanup(self.systemd.close)
        self.sysfs.rebind(self.pf, "vfio-pci")
        self.start()
        self.client.manager("ReleaseAll")
        self.spoil()
        self.assert_unsaved(self.client.manager, "Reload")
        self.assertEqual(self.client.manager_property("Enforcement"), "advise")
        self.assert_closed(self.pf)
        self.mend()
        self.client.manager("Reload")
        self.assertEqual(self.client.manager_property("Enforcement"), "enforce")
        self.assert_closed(self.pf, *SRIOV)
        self.kill()
        self.systemd.n_restarts += 1
        self.start()
        self.assertEqual(self.client.manager_property("Enforcement"), "enforce")

    def test_unplug(self):
        self.start()
        self.spoil()
        self.assert_unsaved(self.client.start_unplug(PF, 10).result)
        self.assertEqual(self.client.function(PF, "State"), "present")

    def test_events_close_all_the_same(self):
        """What nobody asked for cannot be refused: to close is more important than to remember the mode."""
        self.start()
        self.spoil()
        self.sysfs.rebind(self.pf, "vfio-pci")
        self.assert_closed(self.pf, *SRIOV)
        self.assertRegex("\n".join(self.problems()), rf"{self.state_dir}: {self.REASON}")
        self.mend()
        # Nothing else has to happen for it to be saved.
        wait_until(lambda: not self.problems(), 3 * fixtures.DEADLINE, "the state to be saved")
        with open(os.path.join(self.state_dir, "state.json"), encoding="utf-8") as file:
            self.assertIn("sriov_numvfs", file.read())

    def test_nothing_is_left_over(self):
        self.start()
        self.spoil()
        for _ in range(5):
            self.assert_unsaved(self.client.lock, PF, "mine")
        # It may be in the middle of trying again.
        wait_until(lambda: os.listdir(self.state_dir) == ["ballast"], None, lambda: os.listdir(self.state_dir))


class LocksReadOnly(Locks):
    """The same where the file system is read-only."""

    REASON = os.strerror(errno.EROFS)

    def spoil(self):
        self.disk.read_only()

    def mend(self):
        self.disk.read_only(False)

    def test_nothing_is_left_over(self):
        self.start()
        self.spoil()
        self.assert_unsaved(self.client.lock, PF, "mine")
        self.assertEqual(os.listdir(self.state_dir), [])


class Leases(FullDisk, OpenTest):
    def test_open(self):
        self.start()
        self.spoil()
        self.assert_unsaved(self.open)
        self.wait_users([])
        wait_until(lambda: not self.notify.store, None, "systemd to forget the descriptor")
        self.mend()
        fd, _ = self.open()
        self.kill()
        self.start()
        self.wait_users([(os.getpid(), True)])
        os.close(fd)


class Sessions(FullDisk, SessionTest):
    def test_open_session(self):
        self.start()
        self.spoil()
        self.assert_unsaved(self.open)
        self.wait_property(PLAIN, "InUse", False)
        wait_until(lambda: not self.notify.store, None, "systemd to forget the descriptor")
        self.mend()
        session, _ = self.open()
        session.write(0, 0, b"before..")
        self.kill()
        self.start()
        self.assertEqual(session.read(0, 0, 8), b"before..")


class Tokens(FullDisk, TokenTest):
    def test_get_vf_token(self):
        self.start()
        self.spoil()
        self.assert_unsaved(self.token)
        self.mend()
        token = self.token()
        self.kill()
        self.start()
        self.assertEqual(self.token(), token)


class Operations(FullDisk, OperationTest):
    def assert_refused(self, call, *arguments):
        """Nothing was written, and no process is left that would."""
        self.assert_unsaved(call, *arguments)
        self.assertEqual(self.writes, [])
        self.assertIsNone(self.operation(PF))
        self.assertEqual(self.helpers("vfwarden-worker"), [])

    def test_none_begins(self):
        self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci", driver="igb")
        self.sysfs.add(OTHER, driver="igb")
        self.kernel.add_driver("ixgbe")
        self.start()
        self.spoil()
        for call, arguments in ((self.set_num_vfs, (PF, 0)), (self.set_autoprobe, (PF, False)), (self.reset, (OTHER,)),
                                (self.unbind, (OTHER,)), (self.bind, (OTHER, "ixgbe"))):
            with self.subTest(call.__name__):
                self.assert_refused(call, *arguments)
        self.mend()
        self.unbind(OTHER)
        self.set_num_vfs(PF, 0)
        self.assertEqual((self.writes[0], self.writes[-1]), (("igb/unbind", OTHER), (f"{PF}/sriov_numvfs", "0")))


class Unplugs(FullDisk, UnplugTest):
    def start_used(self):
        self.function = self.sysfs.add(OTHER, driver="vfio-pci")
        self.start()
        self.use(self.function)
        unplug = self.client.start_unplug(OTHER, LONG)
        self.wait_property(OTHER, "State", "unplug-requested")
        return unplug

    def let_go(self):
        self.kernel.held.discard(OTHER)
        self.function.write("enable", "0")

    def test_it_does_not_begin_to_unbind(self):
        """The disk was not full when it was requested."""
        unplug = self.start_used()
        self.spoil()
        self.let_go()
        self.assert_unsaved(unplug.result)
        self.assertEqual(self.writes, [])
        self.wait_property(OTHER, "State", "present")
        self.mend()
        self.unplug(OTHER)
        self.assertEqual(self.writes, [("vfio-pci/unbind", OTHER), (f"{OTHER}/remove", "1")])

    def test_one_that_has_begun_waits(self):
        """It cannot be cancelled, neither by this."""
        unplug = self.start_used()
        self.kernel.hang.add("vfio-pci/unbind")
        self.let_go()
        write = self.kernel.wait_for("vfio-pci/unbind")
        self.spoil()
        self.kernel.release(write)
        wait_until(lambda: not self.client.function(OTHER, "Driver"), None, "the unbind")
        wait_until(self.problems, None, "a problem")
        self.fence()
        self.assertEqual(self.writes, [("vfio-pci/unbind", OTHER)])
        self.assertEqual(self.client.function(OTHER, "State"), "removing")
        self.mend()
        unplug.result()
        self.assertEqual(self.writes[1:], [(f"{OTHER}/remove", "1")])


class FullStore:
    """For a test case: systemd keeps `MAX` descriptors and closes what comes after without a word."""

    MAX = 2

    def setUp(self):
        super().setUp()
        self.notify.max = self.MAX
        self.environment["FDSTORE"] = str(self.MAX)
        self.sysfs.add(OTHER)

    def fill(self, n=MAX):
        return [self.client.inhibit(OTHER, "reset", f"number {i}") for i in range(n)]

    def assert_no_room(self, call, *arguments, **kwargs):
        with self.assertRaises(vb.BusError) as caught:
            call(*arguments, **kwargs)
        self.assertEqual(caught.exception.name, vb.FAILED, caught.exception)
        self.assertIn("FileDescriptorStoreMax=", caught.exception.message)


class InhibitorsInFullStore(FullStore, LockTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True, inhibit=True)

    def listed(self):
        return [row[2] for row in self.client.manager("ListInhibitors")]

    def test_inhibit(self):
        self.start()
        fds = self.fill()
        self.assert_no_room(self.client.inhibit, OTHER, "remove", "one too many")
        self.assertEqual(self.listed(), ["number 0", "number 1"])
        os.close(fds.pop())
        wait_until(lambda: self.listed() == ["number 0"], None, "the inhibitor's end")
        fds.append(self.client.inhibit(OTHER, "remove", "another"))
        self.kill()
        self.start()
        self.assertEqual(self.listed(), ["number 0", "another"])
        # What an earlier daemon stored counts.
        self.assert_no_room(self.client.inhibit, OTHER, "remove", "one too many")
        for fd in fds:
            os.close(fd)

    def test_a_lock_needs_no_descriptor(self):
        self.start()
        fds = self.fill()
        self.client.lock(OTHER, "mine")
        for fd in fds:
            os.close(fd)


class LeasesInFullStore(FullStore, OpenTest):
    def test_open(self):
        self.start()
        fds = self.fill()
        self.assert_no_room(self.open)
        self.wait_users([])
        os.close(fds.pop())
        wait_until(lambda: len(self.client.manager("ListInhibitors")) == 1, None, "the inhibitor's end")
        fds.append(self.open()[0])
        self.wait_users([(os.getpid(), True)])
        for fd in fds:
            os.close(fd)


class SessionsInFullStore(FullStore, SessionTest):
    def test_open_session(self):
        self.start()
        fds = self.fill()
        self.assert_no_room(self.open)
        self.wait_property(PLAIN, "InUse", False)
        os.close(fds.pop())
        wait_until(lambda: len(self.client.manager("ListInhibitors")) == 1, None, "the inhibitor's end")
        self.open()
        os.close(fds.pop())


class TokensInFullStore(FullStore, TokenTest):
    def test_get_vf_token(self):
        self.start()
        fds = self.fill()
        with self.assertRaises(vb.BusError) as caught:
            self.token(TOKEN_PF)
        self.assertEqual(caught.exception.name, vb.FAILED)
        for fd in fds:
            os.close(fd)
        wait_until(lambda: not self.client.manager("ListInhibitors"), None, "the inhibitors' end")
        self.token(TOKEN_PF)


# What these import to stand on has its own file.
del LockTest, OpenTest, SessionTest, TokenTest


if __name__ == "__main__":
    fixtures.main()
