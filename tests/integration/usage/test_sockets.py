#!/usr/bin/python3
"""Descriptors that go into a socket while no daemon runs: a function is in use from the next start on, until no socket has one.

The kernel tells that descriptors wait in a socket, and not which. So these tests also say what is in use by mistake, and that
a stranger cannot cause that."""

import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
import sys

import fixtures
from fixtures import wait_until
import vfwarden_bus as vb
from test_open import ONE, TWO, OpenTest

NOBODY = 65534
STRANGER = 65533
GROUP = 65532
# Puts its descriptor into a socket when a line comes, and keeps the socket.
PARKER = """
import os, socket, sys
fd = int(sys.argv[1])
pair = socket.socketpair()
print("has", flush=True)
sys.stdin.readline()
socket.send_fds(pair[0], [b"x"], [fd])
os.close(fd)
print("parked", flush=True)
sys.stdin.read()
"""


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


class Parked:
    """A descriptor in a socket of this process."""

    def __init__(self, fd):
        self.pair = socket.socketpair()
        socket.send_fds(self.pair[0], [b"x"], [fd])
        os.close(fd)

    def close(self):
        for end in self.pair:
            end.close()


class Sockets(OpenTest):
    def setUp(self):
        super().setUp()
        self.vfio.add_device(self.functions[ONE], "vfio7")
        self.vfio.add_iommufd()
        self.vfio.set_references(1)     # of another machine: something of VFIO is open all the time
        self.start()

    def open_node(self):
        return os.open(self.vfio.path("vfio/devices/vfio7"), os.O_RDWR | os.O_CLOEXEC)

    def park(self, fd):
        parked = Parked(fd)
        self.addCleanup(parked.close)
        return parked

    def user(self, fd, uid=NOBODY, groups=(), program=PARKER):
        """A process of a user without privilege that has the descriptor, see have_parked()."""
        process = subprocess.Popen([sys.executable, "-c", program, str(fd)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   pass_fds=[fd], user=uid, group=uid, extra_groups=groups)
        self.addCleanup(self.end, process)
        self.assertEqual(process.stdout.readline(), b"has\n")
        os.close(fd)
        return process

    def have_parked(self, process):
        process.stdin.write(b"park\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), b"parked\n")

    def check_held(self, pid):
        """By a descriptor in a socket of that process, for all one knows."""
        self.wait_property(ONE, "InUse", True)
        self.wait_users([(0, False)])

        def look():
            seen[:] = [user.get("socket-pid") for user in self.client.manager("DescribeUsers", "(s)", ONE)]
            return seen == [pid]
        # Descriptors may wait for a moment in sockets of this test's other processes, too.
        seen = []
        wait_until(look, None, lambda: f"the process {pid} that has the socket, is {seen}")
        with self.assertRaises(vb.BusError) as caught:
            self.client.start_function_call(ONE, "Unbind").result()
        self.assertEqual(caught.exception.name, vb.REFUSED)
        self.assertIn(f"perhaps by a descriptor in a socket of pid {pid}", caught.exception.message)

    @contextlib.contextmanager
    def unread(self):
        """What is opened and closed meanwhile is read together: the kernel merges a process's events on one node."""
        self.daemon.kill(signal.SIGSTOP)
        try:
            yield
        finally:
            self.daemon.kill(signal.SIGCONT)

    def stranger(self, groups=()):
        """A process that had none of VFIO's descriptors, and has one of /dev/null in a socket."""
        process = self.user(os.open("/dev/null", os.O_RDWR), STRANGER, groups)
        self.have_parked(process)
        return process

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

    def in_use_signals(self, mark, address=ONE):
        return [s.args[1]["InUse"] for s in self.signals_since(mark)
                if s.member == "PropertiesChanged" and s.path == vb.function_path(address) and "InUse" in s.args[1]]

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

    def test_a_socket_that_cannot_be_read(self):
        """It may have anything, see test_closed_beside_one_in_a_socket()."""
        self.kill()
        faults = self.start_faults()
        self.start()
        parked = self.park(self.open_node())
        self.wait_users([(0, False)])
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        faults.set(("open", errno.EMFILE, f"*/{os.getpid()}/fdinfo/*"))
        os.close(fd)
        with self.assertRaises(vb.BusError) as caught:
            self.client.start_function_call(ONE, "Unbind").result()
        self.assertEqual(caught.exception.name, vb.BUSY)
        self.assertIs(self.picture.function(ONE)["InUse"], True)
        faults.clear()
        self.wait_users([(0, False)])
        parked.close()
        self.wait_free()

    def test_a_user_of_whom_nothing_can_be_read(self):
        """But that they have the function: that is no reason to say that they have nothing."""
        self.kill()
        faults = self.start_faults()
        self.start()
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        faults.set(("open", errno.EMFILE, f"*/{os.getpid()}/stat"))
        with self.assertRaises(vb.BusError) as caught:
            self.client.start_function_call(ONE, "Unbind").result()
        self.assertEqual(caught.exception.name, vb.REFUSED)
        self.assertEqual(self.users(), [(os.getpid(), False)])
        faults.clear()
        os.close(fd)
        self.wait_free()

    def start_with_unlookable(self, process):
        """A daemon that finds this process's descriptors unreadable from its first look on."""
        faults = self.start_faults()
        faults.set(("open", errno.EMFILE, f"*/{process.pid}/fd"))
        self.start()
        return faults

    def test_recorded_and_one_process_cannot_be_looked_at(self):
        """Not the one that has the socket; no search is complete until it ends."""
        for opened in (self.open_node, lambda: self.vfio.open_group(self.functions[ONE])):
            fd = opened()
            self.wait_users([(os.getpid(), False)])
            self.kill()
            parked, stranger = self.park(fd), self.stranger()
            faults = self.start_with_unlookable(stranger)
            self.wait_property(ONE, "InUse", True)
            self.wait_users([(0, False)])
            self.wait_property(TWO, "InUse", False)
            with self.assertRaises(vb.BusError):
                self.client.start_function_call(ONE, "Unbind").result()
            faults.clear()
            self.end(stranger)
            self.check_held(os.getpid())
            parked.close()
            self.wait_free()

    def test_recorded_and_the_process_that_has_it_cannot_be_looked_at(self):
        process = self.user(self.open_node())
        self.wait_users([(process.pid, False)])
        self.kill()
        faults = self.start_with_unlookable(process)
        self.wait_users([(0, False)])
        self.wait_property(ONE, "InUse", True)
        faults.clear()
        self.wait_users([(process.pid, False)])
        self.end(process)
        self.wait_free()

    def test_enabled_and_a_process_cannot_be_looked_at(self):
        """By somebody unseen: the kernel says that it is open, and nobody recorded it."""
        self.kill()
        stranger = self.stranger()
        self.functions[ONE].write("enable", "1")
        faults = self.start_with_unlookable(stranger)
        self.wait_property(ONE, "InUse", True)
        self.wait_property(TWO, "InUse", False)
        self.functions[ONE].write("enable", "0")
        faults.clear()
        self.wait_free()

    def test_bound_to_the_host_and_a_process_cannot_be_looked_at(self):
        """The kernel gives a function to another driver after the last close, so nobody has it."""
        self.kill()
        stranger = self.stranger()
        self.start_with_unlookable(stranger)
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        os.close(fd)
        self.vfio.forget_device(self.functions[ONE], "vfio7")
        self.sysfs.rebind(self.functions[ONE], "igb")
        self.wait_free()

    def test_disabled_later_than_closed_and_a_process_cannot_be_looked_at(self):
        """A group was closed with its last copy. The kernel disables its device after the looks at its users."""
        self.kill()
        third = self.sysfs.add("0000:04:00.0", driver="vfio-pci")
        self.vfio.add_group(third)
        stranger = self.stranger()
        faults = self.start_faults()
        self.start()
        self.wait_property(TWO, "InUse", False)
        fd = self.vfio.open_group(self.functions[TWO])
        self.functions[TWO].write("enable", "1")
        self.wait_users([(os.getpid(), False)], TWO)
        faults.set(("open", errno.EMFILE, f"*/{stranger.pid}/fd"))
        # Meanwhile there are looks at the users of another, which has got the same number.
        with self.unread():
            os.close(fd)
            other = self.vfio.open_group(third)
            self.assertEqual(other, fd)
        self.wait_users([(os.getpid(), False)], third.address)
        os.close(other)
        self.wait_free(third.address)
        self.wait_property(TWO, "InUse", True)
        self.functions[TWO].write("enable", "0")
        self.wait_free(TWO)

    def test_a_stranger_who_cannot_be_looked_at_keeps_nothing(self):
        """Of what nobody had, and of what root alone had and closed, although they may open one."""
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        self.kill()
        os.close(fd)
        for mode in (0o600, 0o666):
            os.chmod(self.vfio.path(f"vfio/{self.functions[TWO].group}"), mode)
            stranger = self.stranger()
            faults = self.start_with_unlookable(stranger)
            self.wait_property(ONE, "InUse", False)
            self.wait_property(TWO, "InUse", False)
            self.fence()
            self.assertEqual((self.users(ONE), self.users(TWO)), ([], []))
            self.kill()
            faults.clear()
            self.end(stranger)

    def test_nodes_that_cannot_be_watched_for_now(self):
        """What is opened meanwhile is seen with the next attempt, and after that by events."""
        self.kill()
        faults = self.start_faults()
        faults.set(("mark", errno.ENOMEM, "*/vfio"), ("mark", errno.ENOMEM, "*/vfio/devices"))
        self.start()
        self.wait_property(ONE, "InUse", False)
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        faults.clear()
        os.close(fd)
        self.wait_free()
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        os.close(fd)
        self.wait_free()

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
