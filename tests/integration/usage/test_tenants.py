#!/usr/bin/python3
"""Attacks by a user without privilege on the look at processes: the daemon answers, keeps locks, and finds the
users of others' functions."""

import json
import os
import resource
import signal
import stat
import subprocess
import time

import fixtures
from fixtures import wait_until
from reachable import reachable
from test_open import ONE, TWO, OpenTest
import vfwarden_bus as vb

TENANT = os.environ["VFWARDEN_TENANT"]
NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}
# Of one process, as systemd allows everybody, or what is allowed here; and of all processes with tables of their own.
DESCRIPTORS = min(524288, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
ALL_DESCRIPTORS = 4 * 524288
# No turn of the event loop is longer: in microseconds, by the processor's time, which a busy machine does not change.
LONGEST_TURN = 20000 * (4 if os.environ.get("VFWARDEN_SANITIZED") else 1)
# Processes of one user that cost the daemon a descriptor, and a function's users that are listed one by one.
WATCHED = LISTED = 64


class TenantTest(OpenTest):
    def setUp(self):
        super().setUp()
        self.tenants = []

    def tearDown(self):
        # A process that hangs for them ends with them, and the daemon's processes are waited for.
        for process in self.tenants:
            self.end_tenant(process)
        super().tearDown()

    def tenant(self, *arguments, pass_fds=(), **identity):
        """One that is at it."""
        process = subprocess.Popen([reachable(TENANT), *map(str, arguments)], stdout=subprocess.PIPE, cwd="/",
                                   pass_fds=pass_fds, **identity)
        self.tenants.append(process)
        self.assertEqual(process.stdout.readline(), b"ready\n", arguments)
        return process

    @staticmethod
    def end_tenant(process):
        process.kill()
        process.wait()
        process.stdout.close()

    def assert_loop_was_free(self):
        longest = json.loads(self.client.manager("Describe"))["LongestTurnCpu"]
        self.assertLess(longest, LONGEST_TURN)

    def unknown(self, address=ONE):
        return [user.get("unknown", False) for user in self.client.manager("DescribeUsers", "(s)", address)]

    def check(self, address, operation):
        allowed, blockers, _ = self.client.manager("Check", "(ss)", address, operation)
        return allowed, [reason for _, _, reason, _ in blockers]


class Tables(TenantTest):
    """Large tables of descriptors: reading one takes seconds."""

    def test_shared_by_many(self):
        """Each process shows the same half a million descriptors, which are read once."""
        self.start()
        self.stop()
        self.picture = None
        self.client.recorder.listeners.clear()
        self.tenant("table", DESCRIPTORS, 40, "shared", **NOBODY)
        self.start()
        fd, _ = self.open()
        self.wait_users([(os.getpid(), True)])
        os.close(fd)
        self.wait_free()
        self.assert_loop_was_free()

    def test_before_all_are_looked_at(self):
        """The daemon serves; what it does not know yet counts as in use, and nothing is opened that was closed."""
        function = self.functions[ONE]
        self.start()
        fd, _ = self.open()
        self.wait_users([(os.getpid(), True)])
        self.kill()
        closed = function.mode("reset")
        self.assertEqual(closed & 0o222, 0)
        self.client.recorder.listeners.clear()
        self.picture = None
        tenant = self.tenant("table", DESCRIPTORS, ALL_DESCRIPTORS // DESCRIPTORS, "own", **NOBODY)
        self.start(users_known=False)
        self.assertEqual(self.unknown(TWO), [True])
        allowed, reasons = self.check(TWO, "reset")
        self.assertFalse(allowed)
        self.assertIn("not known yet", "\n".join(reasons))
        self.assertEqual(self.functions[TWO].mode("reset") & 0o222, 0)
        self.assertEqual(function.mode("reset"), closed)
        self.assertFalse(self.check(ONE, "reset")[0])
        self.end_tenant(tenant)
        self.client.wait_users_known(4 * fixtures.DEADLINE)
        self.assertEqual(self.check(TWO, "reset"), (True, []))
        self.wait_users([(os.getpid(), True)])
        self.assertEqual(function.mode("reset"), closed)
        self.assert_loop_was_free()
        os.close(fd)
        self.wait_free()

    def test_nobody_else_waits(self):
        """A search among them does not end, and what needs none is done."""
        self.start()
        self.tenant("table", DESCRIPTORS, ALL_DESCRIPTORS // DESCRIPTORS, "own", **NOBODY)
        fd, _ = self.open(ONE)      # its delivery makes the daemon look at all
        for _ in range(3):
            self.client.bus.call(vb.function_path(TWO), vb.FUNCTION, "Reset", "()", ())
            second, _ = self.open(TWO)
            self.assertFalse(self.check(TWO, "reset")[0])
            os.close(second)
            self.wait_free(TWO)
        self.assert_loop_was_free()
        os.close(fd)


class Opens(TenantTest):
    """Thousands of processes a second open a node that is their own, and end."""

    def assert_others_are_known(self, node):
        self.start()
        os.chmod(node, 0o666)
        tenant = self.tenant("open", node, 4, **NOBODY)
        for _ in range(20):
            fd, _ = self.open(ONE)
            os.close(fd)
            self.client.bus.call(vb.function_path(ONE), vb.FUNCTION, "Reset", "()", ())
        self.assert_loop_was_free()
        self.end_tenant(tenant)

    def test_a_function_of_their_own(self):
        self.assert_others_are_known(self.vfio.path(f"vfio/{self.functions[TWO].group}"))
        self.wait_free(TWO)

    def test_a_mediated_device(self):
        """Its group is no PCI function's."""
        node = self.vfio.path("vfio/77")
        os.mknod(node, stat.S_IFCHR, os.makedev(1, self.vfio.OTHER))
        self.assert_others_are_known(node)


class Scanner(TenantTest):
    """The process that looks at others hangs as well."""

    def problems(self):
        return "\n".join(self.client.manager_property("Problems"))

    def test_another_takes_over(self):
        tenant = self.tenant("table", DESCRIPTORS, ALL_DESCRIPTORS // DESCRIPTORS, "own", **NOBODY)
        self.start(users_known=False)
        scanner, = fixtures.children(self.daemon.pid, "vfwarden-scan")
        os.kill(scanner, signal.SIGSTOP)        # at one of them
        wait_until(lambda: "Failed to look at process" in self.problems(), 4 * fixtures.DEADLINE, "the problem")
        self.assertNotIn(scanner, fixtures.children(self.daemon.pid, "vfwarden-scan"))
        # Who opens something is found all the same.
        fd = self.vfio.open_group(self.functions[ONE])
        self.wait_property(ONE, "InUse", True)
        os.close(fd)
        # The process that it stood at is alive, and is looked at again.
        self.client.wait_users_known(4 * fixtures.DEADLINE)
        wait_until(lambda: self.problems() == "", 4 * fixtures.DEADLINE, "the problem to end")
        self.end_tenant(tenant)
        self.wait_free()
        self.assert_loop_was_free()


class Forks(TenantTest):
    """Processes and copies cost the daemon nothing each."""

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    def test_many_processes(self):
        pf = self.sysfs.add_pf("0000:0b:00.0", driver="vfio-pci")
        self.start()
        before = self.descriptors()
        fd, _ = self.open()
        tenant = self.tenant("hold", fd, 600, 1, pass_fds=[fd], **NOBODY)
        os.close(fd)

        def count():
            users = self.client.manager("DescribeUsers", "(s)", ONE)
            return len(users), sum(user.get("others", 0) for user in users)

        # Who is forked after a look has passed is found by the next one: at somebody's ordinary use.
        end = time.monotonic() + 4 * fixtures.DEADLINE
        while sum(count()) < 600 and time.monotonic() < end:
            other, _ = self.open(TWO)
            os.close(other)
            self.wait_free(TWO)
        listed, others = count()
        self.assertEqual(listed, LISTED)
        self.assertGreaterEqual(listed + others, 600)
        self.assertLessEqual(self.descriptors(), before + WATCHED + 10)
        self.assertEqual(pf.mode("sriov_numvfs") & 0o222, 0)
        self.assert_loop_was_free()
        self.end_tenant(tenant)
        self.wait_free()
        self.assertLessEqual(self.descriptors(), before + 10)

    def test_many_copies(self):
        self.start()
        fd, _ = self.open()
        tenant = self.tenant("hold", fd, 1, 4000, pass_fds=[fd], **NOBODY)
        os.close(fd)
        self.wait_users([(tenant.pid, True)])
        self.assert_loop_was_free()
        self.end_tenant(tenant)
        self.wait_free()


class Hanging(TenantTest):
    """Who asks these processes waits for ever."""

    def hang(self, how, **kwargs):
        device, directory = (os.path.join(self.directory, name) for name in ("fuse", "silence"))
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(10, 229))
        os.mkdir(directory)
        return self.tenant("hang", device, directory, how, **kwargs)

    def assert_serves(self):
        """It answers, finds users, and starts again."""
        for _ in range(2):
            fd, _ = self.open(TWO)
            self.wait_users([(os.getpid(), True)], TWO)
            os.close(fd)
            self.wait_free(TWO)
            self.assert_loop_was_free()
            self.kill()
            self.client.recorder.listeners.clear()
            self.start()

    def test_command_line(self):
        """Of a process that holds a function: it is shown by its name."""
        self.start()
        fd, _ = self.open()
        self.kill()
        self.client.recorder.listeners.clear()
        self.picture = None
        # No daemon has seen it before it hangs.
        self.hang("memory", pass_fds=[fd])
        os.close(fd)
        self.start()

        def users():
            return self.client.manager("DescribeUsers", "(s)", ONE)

        def named():
            return "tenant-hangs" in {user["command"] for user in users()}
        wait_until(named, 4 * fixtures.DEADLINE, lambda: f"the name of the process, there are {users()}")
        self.assert_serves()
        self.assertTrue(self.client.list_functions()[ONE][2])

    def test_node(self):
        """A file of its own file system has the name of a node."""
        self.start()
        self.hang("node")
        self.assert_serves()

    def test_exec(self):
        """It is in the middle of an execve(), and has a large table, which is compared with others."""
        self.start()
        self.hang("exec")
        self.assert_serves()


if __name__ == "__main__":
    fixtures.main()
