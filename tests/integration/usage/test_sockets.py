#!/usr/bin/python3
"""Descriptors that go into a socket while no daemon runs: a function is in use from the next start on, until no socket has one.

The kernel tells that descriptors wait in a socket, and not which. So these tests also say what is in use by mistake, and that
a stranger cannot cause that."""

import os
import select
import socket
import subprocess
import sys

import fixtures
from parked import GROUP, NOBODY, STRANGER, Parked, SocketsTest
import vfwarden_bus as vb
from test_open import ONE, TWO

# Its first thread ends, and another one keeps the descriptor until a line comes.
THREAD = """
import ctypes, os, sys, threading, time
def stay():
    while "State:\\tZ" not in open(f"/proc/{os.getpid()}/status").read():
        time.sleep(0.01)
    print("ended", flush=True)
    sys.stdin.readline()
    os._exit(0)
threading.Thread(target=stay).start()
ctypes.CDLL(None).pthread_exit(None)
"""


# A thread leaves the table of descriptors that the first one has, and opens the file twice. It closes one at each line.
OWN_TABLE = """
import ctypes, os, sys, threading
def stay():
    ctypes.CDLL(None).unshare(0x400)    # CLONE_FILES
    fds = [os.open(path, os.O_RDWR) for path in sys.argv[1:]]
    print("opened", flush=True)
    for fd in fds:
        sys.stdin.readline()
        os.close(fd)
    print("closed", flush=True)
    sys.stdin.read()
idle = threading.Thread(target=threading.Event().wait, daemon=True)
idle.start()
threading.Thread(target=stay).start()
"""


# Passes its descriptor to a child and ends, again and again for a while; the last one says its pid, and stays.
RELAY = """
import os, sys, time
print("has", flush=True)
sys.stdin.readline()
print("runs", flush=True)
end = time.monotonic() + 3
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
print(os.getpid(), flush=True)
sys.stdin.read()
"""


# Has a /dev of its own, in which it may rename the node of its group to that of another: it does one thing for each word that
# comes. A node of its own is of its file system, whatever it is called.
CONTAINER = """
import os, socket, subprocess, sys
directory, number, ours, other = sys.argv[1:]
pair = socket.socketpair()
fd = -1
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
os.mkdir(f"{directory}/vfio")
os.mknod(f"{directory}/vfio/{ours}", 0o20600, int(number))
for line in sys.stdin:
    word = line.strip()
    if word == "open":
        fd = os.open(f"{directory}/vfio/{ours}", os.O_RDWR)
    elif word == "rename":
        os.rename(f"{directory}/vfio/{ours}", f"{directory}/vfio/{other}")
        ours = other
    elif word == "park":
        socket.send_fds(pair[0], [b"x"], [fd])
        os.close(fd)
    elif word == "close":
        os.close(fd)
    print(word, flush=True)
"""


class Sockets(SocketsTest):
    def test_a_user_forks_faster_than_one_looks(self):
        """Each process that a search finds has ended before it is over, and its child has the descriptor."""
        for opened in (self.open_node, lambda: self.vfio.open_group(self.functions[ONE])):
            process = self.user(opened(), program=RELAY)
            self.wait_users([(process.pid, False)])
            self.kill()
            process.stdin.write(b"go\n")
            process.stdin.flush()
            self.assertEqual(process.stdout.readline(), b"runs\n")
            self.start()
            while not select.select([process.stdout], [], [], 0)[0]:
                self.assertIs(self.client.function(ONE, "InUse"), True)
            self.wait_users([(int(process.stdout.readline()), False)])
            process.stdin.close()
            self.wait_free()

    def test_opened_and_passed_on_meanwhile(self):
        for name, opened in (("devices/vfio7", self.open_node),
                             (self.functions[ONE].group, lambda: self.vfio.open_group(self.functions[ONE]))):
            os.chmod(self.vfio.path(f"vfio/{name}"), 0o666)
            self.kill()
            parked = self.park(opened())
            self.start()
            self.check_held(os.getpid())
            # Only root may open that one's nodes.
            self.wait_property(TWO, "InUse", False)
            parked.close()
            self.wait_property(ONE, "InUse", False)

    def test_passed_on_meanwhile(self):
        for opened in (self.open_node, lambda: self.vfio.open_group(self.functions[ONE])):
            fd = opened()
            self.wait_users([(os.getpid(), False)])
            self.kill()
            parked = self.park(fd)
            mark = self.mark()
            self.start()
            self.check_held(os.getpid())
            self.assertEqual(self.in_use_signals(mark), [])     # it is at no time free
            parked.close()
            self.wait_free()

    def test_passed_on_before_the_last_look_at_the_opener(self):
        """The first look finds it there. The next ones are due when a search has ended that does not find it."""
        for opened in (self.open_node, lambda: self.vfio.open_group(self.functions[ONE])):
            for _ in range(20):
                mark = self.mark()
                fd = opened()
                self.wait_property(ONE, "InUse", True)
                parked = self.park(fd)
                # What is closed meanwhile is a reason to look at who has something.
                os.close(self.vfio.open_group(self.functions[TWO]))
                self.wait_users([(0, False)])
                self.assertEqual(self.in_use_signals(mark), [True])
                parked.close()
                self.wait_free()

    def test_closed_meanwhile(self):
        """From a socket or a process, while other programs have other devices open."""
        for parked in (False, True):
            fd = self.open_node()
            self.wait_users([(os.getpid(), False)])
            if parked:
                socket_of_ours = self.park(fd)
                self.wait_users([(0, False)])
            self.kill()
            if parked:
                socket_of_ours.close()
            else:
                os.close(fd)
            self.start()
            self.wait_property(ONE, "InUse", False)

    def test_read_by_a_process(self):
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        self.kill()
        parked = self.park(fd)
        self.start()
        self.check_held(os.getpid())
        _, (fd,), _, _ = socket.recv_fds(parked.pair[1], 1, 1)
        self.wait_users([(os.getpid(), False)])
        os.close(fd)
        self.wait_free()

    def test_in_a_socket_that_is_in_a_socket(self):
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        self.kill()
        inner = Parked(fd)
        outer = socket.socketpair()
        socket.send_fds(outer[0], [b"x"], [end.fileno() for end in inner.pair])
        inner.close()
        self.start()
        self.check_held(os.getpid())
        for end in outer:
            end.close()
        self.wait_free()

    def test_in_a_socket_that_is_in_itself(self):
        """No process has it any more, so the kernel collects it (unix_gc()): nobody keeps a function by that."""
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        ends = socket.socketpair()
        socket.send_fds(ends[0], [b"x"], [fd, ends[1].fileno()])
        os.close(fd)
        self.wait_users([(0, False)])
        self.kill()
        for end in ends:
            end.close()
        self.start()
        self.wait_property(ONE, "InUse", False)

    def test_a_user_has_it(self):
        process = self.user(self.open_node())
        self.wait_users([(process.pid, False)])
        self.kill()
        self.have_parked(process)
        self.start()
        self.check_held(process.pid)
        self.wait_property(TWO, "InUse", False)
        process.stdin.close()
        self.wait_free()

    def test_a_user_cannot_keep_what_they_cannot_open(self):
        process = self.stranger()
        node = self.vfio.path("vfio/devices/vfio7")
        for mode, owner, group, held in ((0o600, 0, 0, False), (0o600, NOBODY, 0, False), (0o600, STRANGER, 0, True),
                                         (0o660, 0, GROUP, False), (0o600, 0, STRANGER, False), (0o660, 0, STRANGER, True),
                                         (0o666, 0, 0, True)):
            self.kill()
            os.chmod(node, mode)
            os.chown(node, owner, group)
            self.start()
            if held:
                self.check_held(process.pid)
            else:
                self.wait_property(ONE, "InUse", False)
            self.wait_property(TWO, "InUse", False)

    def test_a_group_can_open_the_node(self):
        """As "kvm" often may. Who is in no group keeps nothing."""
        stranger, member = self.stranger(), self.stranger([GROUP])
        node = self.vfio.path("vfio/devices/vfio7")
        self.kill()
        os.chown(node, 0, GROUP)
        os.chmod(node, 0o660)
        self.start()
        self.check_held(member.pid)
        member.stdin.close()
        self.wait_property(ONE, "InUse", False)
        self.assertIsNone(stranger.poll())

    def test_a_first_thread_that_has_ended(self):
        """/proc/PID/fd is empty then; other threads have all still."""
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        self.kill()
        process = subprocess.Popen([sys.executable, "-c", THREAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[fd])
        self.addCleanup(self.end, process)
        self.assertEqual(process.stdout.readline(), b"ended\n")
        os.close(fd)
        self.start()
        self.wait_users([(process.pid, False)])
        process.stdin.close()
        self.wait_free()

    def test_a_thread_with_a_table_of_its_own(self):
        """/proc/PID/fd does not have what it opens."""
        for before in (False, True):
            if before:
                self.kill()
            process = subprocess.Popen([sys.executable, "-c", OWN_TABLE, self.vfio.path("vfio/devices/vfio7")],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.addCleanup(self.end, process)
            self.assertEqual(process.stdout.readline(), b"opened\n")
            if before:
                self.start()
            with self.subTest("a start of the daemon finds it" if before else "an event reports it"):
                self.wait_users([(process.pid, False)])
                process.stdin.write(b"close\n")
                process.stdin.flush()
                self.assertEqual(process.stdout.readline(), b"closed\n")
                self.wait_free()
            process.stdin.close()
            process.wait()

    def test_a_stranger_cannot_keep_what_others_closed(self):
        """While no daemon ran. What another user without privilege had may have been passed to them."""
        stranger = self.stranger()
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        self.kill()
        os.close(fd)
        self.start()
        self.wait_property(ONE, "InUse", False)
        process = self.user(self.open_node())
        self.wait_users([(process.pid, False)])
        self.kill()
        self.end(process)
        self.start()
        self.check_held(stranger.pid)
        stranger.stdin.close()
        self.wait_free()

    def test_closed_beside_one_in_a_socket(self):
        """The kernel may report two closes as one, so the sockets are looked at."""
        parked = self.park(self.open_node())
        self.wait_users([(0, False)])       # so that the next opening is reported by itself
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        os.close(fd)
        self.wait_users([(0, False)])
        self.wait_property(ONE, "InUse", True)
        parked.close()
        self.wait_free()

    def container(self):
        """A process with a /dev of its own, and a function that sends it a word."""
        directory = os.path.join(self.sysfs.root, "container/dev")
        os.makedirs(directory)
        ours, other = (str(self.functions[address].group) for address in (ONE, TWO))
        number = str(os.stat(self.vfio.path(f"vfio/{ours}")).st_rdev)
        process = subprocess.Popen(["unshare", "--mount", sys.executable, "-c", CONTAINER, directory, number, ours, other],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(self.end, process)

        def tell(word):
            process.stdin.write(word.encode() + b"\n")
            process.stdin.flush()
            self.assertEqual(process.stdout.readline().decode().strip(), word)
        return process, tell

    def test_a_container_names_its_node_as_another(self):
        """Who has a /dev of their own says neither that the other function is open, nor that it is closed."""
        process, tell = self.container()
        tell("open")
        # No event reports that one.
        self.functions[ONE].write("enable", "1")
        self.wait_users([(process.pid, False)])
        mark = self.mark()
        tell("rename")
        parked = self.park(self.vfio.open_group(self.functions[TWO]))
        self.wait_users([(0, False)], TWO)
        self.functions[ONE].write("enable", "0")
        tell("close")
        self.wait_free()
        with self.assertRaises(vb.BusError):
            self.client.start_function_call(TWO, "Unbind").result()
        self.assertEqual(self.users(TWO), [(0, False)])
        parked.close()
        self.wait_free(TWO)
        tell("open")
        tell("park")
        self.wait_users([(0, False)])
        self.wait_property(ONE, "InUse", True)
        self.assertEqual(self.users(TWO), [])
        self.end(process)
        self.wait_free()
        self.assertEqual(self.in_use_signals(mark, TWO), [True, False])

    def test_two_openings_that_are_reported_as_one(self):
        """So there is one more than the daemon counts, and it is in a socket when the other is closed. A stranger cannot
        keep what root had."""
        stranger = self.stranger()
        with self.unread():
            fds = [self.open_node(), self.open_node()]
        self.wait_users([(os.getpid(), False)])
        parked = self.park(fds[0])
        os.close(fds[1])
        self.check_held(os.getpid())
        parked.close()
        self.wait_free()
        self.assertIsNone(stranger.poll())

    def test_opened_again_before_the_close_is_read(self):
        """By the same process, and after another one closed it: the events come as an open and a close, in this order."""
        for closes in (None, self.user):
            with self.unread():
                fd = self.vfio.open_group(self.functions[ONE])
                if closes:
                    self.end(closes(fd))
                else:
                    os.close(fd)
                parked = self.park(self.vfio.open_group(self.functions[ONE]))
            with self.assertRaises(vb.BusError) as caught:
                self.client.start_function_call(ONE, "Unbind").result()
            self.assertEqual(caught.exception.name, vb.REFUSED)
            self.check_held(os.getpid())
            parked.close()
            self.wait_free()

    def test_passed_on_before_the_opener_was_looked_at(self):
        """A request looks at the opener, which has it no more: that does not mean that nobody has it."""
        for opened in (self.open_node, lambda: self.vfio.open_group(self.functions[ONE])):
            with self.unread():
                parked = self.park(opened())
                call = self.client.start_function_call(ONE, "Unbind")
            with self.assertRaises(vb.BusError) as caught:
                call.result()
            self.assertEqual(caught.exception.name, vb.REFUSED)
            self.wait_users([(0, False)])
            parked.close()
            self.wait_free()


if __name__ == "__main__":
    fixtures.main_among_own_processes()
