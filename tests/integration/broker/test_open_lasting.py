#!/usr/bin/python3
"""Leases over a restart of the daemon and of a client, and the command that opens a function."""

import os
import signal
import socket
import subprocess
import sys

import fixtures
from fixtures import wait_until
from raw_client import RawClient
from test_open import ONE, OpenTest, TWO
import vfwarden_bus as vb

# Passes what it has to a child, and ends, many times over; the last one tells its pid, and stays.
RELAY = """
import os, signal
for _ in range(200):
    if os.fork():
        os._exit(0)
print(os.getpid(), flush=True)
signal.pause()
"""


class Lasting(OpenTest):
    def test_answer_not_read(self):
        """The descriptor is in the client's socket, where no process has it."""
        self.start()
        client = RawClient(self.bus.address)
        client.open(ONE)
        self.wait_property(ONE, "InUse", True)
        self.fence()
        self.assertEqual(self.users(), [(os.getpid(), True)])
        self.assertIn(f"pid {os.getpid()}", self.refused())
        # A look at all processes finds nobody, and that is no reason to think it free.
        os.close(self.open(TWO)[0])
        self.wait_free(TWO)
        self.assertEqual(self.users(), [(os.getpid(), True)])
        client.close()
        self.wait_free()
        os.close(self.open()[0])
        self.wait_free()

    def test_read_late(self):
        self.start()
        client = RawClient(self.bus.address)
        client.open(ONE)
        self.wait_property(ONE, "InUse", True)
        fds = client.read_fds()
        self.fence()
        for fd in fds[1:]:
            os.close(fd)
        client.close()
        self.wait_users([(os.getpid(), True)])
        os.close(fds[0])
        self.wait_free()

    def test_receipt_kept(self):
        """It is of no use to keep it."""
        self.start()
        fd, facts = self.open(keep_receipt=True)
        self.wait_users([(os.getpid(), True)])
        os.close(fd)
        self.wait_free()
        os.close(facts["fds"][facts["receipt"]])
        self.fence()

    def test_client_leaves_while_it_is_opened(self):
        self.start()
        self.vfio.hang()
        client = RawClient(self.bus.address)
        client.open(ONE)
        wait_until(lambda: self.helpers("vfwarden-open"), None, "the process that opens")
        self.wait_property(ONE, "InUse", True)
        client.close()
        self.vfio.go_on()
        self.wait_free()

    def test_passed_on(self):
        self.start()
        fd, _ = self.open()
        process = self.holder(fd)
        os.close(fd)
        self.wait_users([(process.pid, True)])
        self.assertIn(f"pid {process.pid}", self.refused())
        process.stdin.close()
        process.wait()
        self.wait_free()

    def test_passed_on_by_one_after_the_other(self):
        """A process may pass it on to a child and end between the listing and the look at it."""
        self.start()
        for _ in range(5):
            fd, _ = self.open()
            relay = subprocess.Popen([sys.executable, "-c", RELAY], stdout=subprocess.PIPE, pass_fds=[fd])
            os.close(fd)
            with relay.stdout:
                pid = int(relay.stdout.readline())
            relay.wait()
            try:
                self.wait_users([(pid, True)])
            finally:
                os.kill(pid, signal.SIGKILL)
            self.wait_free()

    def test_under_way_between_two(self):
        """Sent to somebody who has not read it, and closed by who sent it: open, and nobody has it."""
        self.start()
        fd, _ = self.open()
        self.wait_users([(os.getpid(), True)])
        sender, receiver = socket.socketpair()
        socket.send_fds(sender, [b"x"], [fd])
        os.close(fd)
        self.wait_users([(0, True)])
        message = self.refused()
        self.assertIn("a process that could not be found", message)
        for _ in range(200):    # no look that was begun for another reason is to find it
            self.fence()
        _, fds, _, _ = socket.recv_fds(receiver, 1, 1)
        self.wait_users([(os.getpid(), True)])      # nobody told of it: it is looked for
        self.assertIn(f"pid {os.getpid()}", self.refused())
        os.close(fds[0])
        sender.close()
        receiver.close()
        self.wait_free()

    def test_unbound_behind_its_back(self):
        self.start()
        fd, _ = self.open()
        self.wait_users([(os.getpid(), True)])
        self.sysfs.rebind(self.functions[ONE], "igb")
        self.wait_property(ONE, "Driver", "igb")
        self.wait_free()
        self.sysfs.rebind(self.functions[ONE], "vfio-pci")
        self.wait_property(ONE, "Driver", "vfio-pci")
        # What they still have is the old one's, and none of ours any more.
        self.wait_users([(os.getpid(), False)])
        os.close(fd)
        self.wait_free()

    def test_gone(self):
        self.start()
        fd, first = self.open()
        self.sysfs.remove(self.functions[ONE])
        self.wait_function(ONE, False)
        os.close(fd)
        self.sysfs.add(ONE, driver="vfio-pci", group=self.functions[ONE].group, announce=True)
        self.wait_function(ONE)
        self.wait_free()
        fd, second = self.open()
        self.assertGreater(second["generation"], first["generation"])
        os.close(fd)
        self.wait_free()

    def test_daemon_has_no_copy(self):
        self.start()
        fd, _ = self.open()
        self.fence()
        links = fixtures.descriptors(self.daemon.pid).values()
        self.assertFalse([link for link in links if "vfio/" in link])
        os.close(fd)
        self.wait_free()


class Command(OpenTest):
    """vfwarden open: what is opened goes to a program as socket activation passes it."""

    def run_command(self, *words):
        environment = {k: v for k, v in self.command_environment().items() if k not in ("LD_PRELOAD", "UMOCKDEV_DIR")}
        process = subprocess.Popen([os.environ["VFWARDEN"], *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, env=environment)
        pidfd = os.pidfd_open(process.pid)
        try:
            fixtures.wait_for_end(pidfd)
        finally:
            os.close(pidfd)
        return process.wait(), process.communicate()[0]

    def test_the_descriptor_is_passed_on(self):
        self.start()
        script = ('echo "$LISTEN_FDS $LISTEN_FDNAMES $VFWARDEN_KIND $VFWARDEN_ADDRESS ${VFWARDEN_VF_TOKEN-none}";'
                  'test $LISTEN_PID = $$ && ls /proc/$$/fd | tr "\\n" " "; readlink /proc/$$/fd/3; exit 7')
        code, output = self.run_command("open", "2:0.0", "--", "sh", "-c", script)
        self.assertEqual(len(output.splitlines()), 2, output)
        first, second = output.splitlines()
        self.assertEqual(first, f"1 vfio group {ONE} none")
        self.assertRegex(second, rf"^0 1 2 3 .*dev/vfio/{self.functions[ONE].group}$")
        self.assertEqual(code, 7)
        self.wait_free()

    def test_refused_and_wrong(self):
        self.start()
        fd, _ = self.open()
        code, output = self.run_command("open", ONE, "--", "true")
        self.assertEqual(code, 6, output)
        self.assertIn("opened by vfwarden", output)
        self.assertIn("yes", self.run_command("users", ONE)[1])
        os.close(fd)
        self.wait_free()
        self.assertEqual(self.run_command("open", ONE, "--", "/nonexistent")[0], 127)
        self.wait_free()
        self.assertEqual(self.run_command("open", ONE, "true")[0], 2)


class Restarting(OpenTest):
    def test_held(self):
        self.start()
        fd, facts = self.open()
        self.wait_users([(os.getpid(), True)])
        for end in (self.kill, self.stop):
            end()
            self.client.recorder.listeners.clear()
            self.start()
            self.assertEqual(self.users(), [(os.getpid(), True)])
            self.assertIn("opened by vfwarden", self.refused())
        os.close(fd)
        self.wait_free()
        fd, second = self.open()
        self.assertGreater(second["generation"], facts["generation"])
        os.close(fd)
        self.wait_free()

    def test_closed_meanwhile(self):
        self.start()
        fd, _ = self.open()
        self.wait_users([(os.getpid(), True)])
        self.kill()
        os.close(fd)
        self.start()
        self.assertEqual(self.users(), [])
        os.close(self.open()[0])
        self.wait_free()
        self.assertEqual([name for name, _ in self.notify.store if name.startswith("lease")], [])

    def test_passed_on_meanwhile(self):
        self.start()
        fd, _ = self.open()
        self.wait_users([(os.getpid(), True)])
        self.kill()
        process = self.holder(fd)
        os.close(fd)
        self.start()
        self.assertEqual(self.users(), [(process.pid, True)])
        process.kill()
        self.wait_free()

    def test_answer_not_read(self):
        self.start()
        client = RawClient(self.bus.address)
        client.open(ONE)
        self.wait_property(ONE, "InUse", True)
        wait_until(lambda: [n for n, _ in self.notify.store if n.startswith("lease")], None, "the receipt to be kept")
        self.fence()
        self.kill()
        self.start()
        self.assertEqual(self.users(), [(os.getpid(), True)])
        fds = client.read_fds()
        for fd in fds[1:]:
            os.close(fd)
        self.fence()
        self.wait_users([(os.getpid(), True)])
        self.kill()
        self.start()
        os.close(fds[0])
        self.wait_free()
        client.close()

    def test_answer_never_read(self):
        self.start()
        client = RawClient(self.bus.address)
        client.open(ONE)
        self.wait_property(ONE, "InUse", True)
        self.fence()
        self.kill()
        client.close()
        self.start()
        self.assertEqual(self.users(), [])

    def test_ends_while_it_is_opened(self):
        self.start()
        self.vfio.hang()
        call = self.start_open()
        wait_until(lambda: self.helpers("vfwarden-open"), None, "the process that opens")
        self.daemon.kill(signal.SIGTERM)
        self.assertEqual(self.daemon.wait_exit(), 0)
        with self.assertRaises(vb.BusError):
            call.result()
        self.client.recorder.listeners.clear()
        self.vfio.go_on()
        self.start()
        self.assertEqual(self.users(), [])


if __name__ == "__main__":
    fixtures.main()
