#!/usr/bin/python3
"""vfwarden-spawn: what it does for whom, and what becomes of the daemon's clients when it does not."""

import array
import os
import resource
import select
import signal
import socket
import struct

import fixtures
from fixtures import wait_until
from ioprocess import memfd
from pace import DEADLINE
from reachable import reachable
import test_open

# policy/spawn-order.h
VERSION = 1
OPEN, IO = 1, 2
ORDER, STARTED, ENDED = struct.Struct("=II"), struct.Struct("=ii"), struct.Struct("=i")
GROUP, CDEV, DEVICE, TOKEN = range(1, 5)
TASK = struct.Struct("=IIQI37s7x")
ANSWER = struct.Struct("=i60s")
IO_TASK = struct.Struct("=QII64s")
NOBODY = 65534


def wait_readable(sock, what):
    assert select.select([sock], [], [], DEADLINE)[0], f"{what} did not come"


def receive(sock, what, size=1024):
    """(bytes, descriptors); b"" when the other end is closed"""
    wait_readable(sock, what)
    data, ancillary, _flags, _address = sock.recvmsg(size, socket.CMSG_SPACE(4 * 16))
    fds = array.array("i")
    for _level, _type, bytes_ in ancillary:
        fds.frombytes(bytes_)
    return data, list(fds)


class Peer:
    """Somebody who gives one order."""

    def __init__(self, path):
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.settimeout(DEADLINE)
        self.channel, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(DEADLINE)
        self.pid = self.pidfd = -1
        try:
            self.connection.connect(path)
        except OSError:
            self.close()
            raise

    def send(self, data, fds=None):
        socket.send_fds(self.connection, [data], [self.theirs.fileno()] if fds is None else fds)

    def order(self, kind=OPEN):
        self.send(ORDER.pack(VERSION, kind))
        data, fds = receive(self.connection, "the answer")
        error, self.pid = STARTED.unpack(data)
        assert error == 0, os.strerror(error)
        self.pidfd, = fds
        self.theirs.close()
        return self

    def ended(self):
        """The signal that it reports."""
        return ENDED.unpack(receive(self.connection, "the end")[0])[0]

    def closes(self):
        """Whether it answers by closing the connection."""
        try:
            return receive(self.connection, "the end of the connection") == (b"", [])
        except ConnectionResetError:    # with something of ours unread
            return True

    def close(self):
        for sock in (self.connection, self.channel, self.theirs):
            sock.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


class SpawnTest(fixtures.DaemonTest):
    """The service alone."""

    def setUp(self):
        super().setUp()
        self.start_vfio()
        self.function = self.sysfs.add(test_open.ONE, driver="vfio-pci")
        self.vfio_nodes.add_group(self.function)

    def serve(self, *options):
        return self.start_spawn_service(f"--io-program={reachable(os.environ['VFWARDEN_IO'])}", "--io-user=nobody", *options)

    def peer(self):
        peer = Peer(self.spawn_service.path)
        self.addCleanup(peer.close)
        return peer

    def assert_serves(self):
        """It is as good as ever."""
        peer = self.peer().order()
        peer.channel.send(TASK.pack(GROUP, 0, 0, self.function.group, b""))
        data, fds = receive(peer.channel, "the node")
        self.assertEqual((ANSWER.unpack(data)[0], len(fds)), (0, 1))
        self.assertEqual(os.stat(fds[0]).st_rdev, os.makedev(1, 3))
        os.close(fds[0])
        self.assertEqual(peer.ended(), 0)

    def wait_no_children(self):
        wait_until(lambda: not self.spawn_service.children(), None, "the processes to end")

    def wait_idle(self):
        """It has no process, and no descriptor of one."""
        self.wait_no_children()
        # A process is reaped, and so without a descriptor in the event loop's hands, a moment later.
        wait_until(lambda: "pidfd" not in " ".join(fixtures.descriptors(self.spawn_service.pid).values()),
                   None, "the last pidfd to be closed")


class Orders(SpawnTest):
    def test_a_node(self):
        self.serve()
        self.assert_serves()
        self.wait_no_children()

    def test_a_process_without_a_task(self):
        """It ends with its channel."""
        self.serve()
        peer = self.peer().order()
        wait_until(lambda: fixtures.process(peer.pid) == ("vfwarden-open", self.spawn_service.pid), None, "its name")
        peer.channel.close()
        self.assertEqual(peer.ended(), 0)

    def test_killed(self):
        self.serve()
        peer = self.peer().order(IO)
        signal.pidfd_send_signal(peer.pidfd, signal.SIGTERM)
        self.assertEqual(peer.ended(), signal.SIGTERM)

    def test_nobody_wants_to_hear_of_the_end(self):
        self.serve()
        peer = self.peer().order()
        peer.connection.close()
        self.assert_serves()
        wait_until(lambda: self.spawn_service.children() == [peer.pid], None, "the other process to be waited for")
        peer.channel.close()
        self.wait_no_children()

    def test_what_a_process_has(self):
        """Its channel, and nothing of the service's."""
        self.serve()
        peer = self.peer().order()
        wait_until(lambda: sorted(name.split(":")[0] for name in fixtures.descriptors(peer.pid).values())
                   == ["/dev/null"] * 3 + ["socket"],
                   None, lambda: f"it to have its channel alone, has {fixtures.descriptors(peer.pid)}")

    def test_the_service_is_ended(self):
        """What it has started goes on."""
        service = self.serve()
        peer = self.peer().order()
        service.kill(signal.SIGTERM)
        self.assertEqual(service.wait_exit(), 0)
        self.assertTrue(peer.closes())
        peer.channel.send(TASK.pack(GROUP, 0, 0, self.function.group, b""))
        data, fds = receive(peer.channel, "the node")
        self.assertEqual((ANSWER.unpack(data)[0], len(fds)), (0, 1))
        os.close(fds[0])
        service.close()
        service.run()
        self.assert_serves()


class Strangers(SpawnTest):
    def test_another_user(self):
        service = self.serve()
        for mode, connected in ((0o600, False), (0o666, True)):
            os.chmod(service.path, mode)
            os.chmod(self.directory, 0o755)
            os.seteuid(NOBODY)
            try:
                peer = self.peer()
            except PermissionError:
                self.assertFalse(connected)
                continue
            finally:
                os.seteuid(0)
            self.assertTrue(connected)
            self.assertTrue(peer.closes())
        service.wait_log(f"user {NOBODY} is refused: it is not the daemon")
        self.assertEqual(service.children(), [])
        self.assert_serves()

    def test_another_unit(self):
        service = self.serve("--unit=vfwardend.service")
        peer = self.peer()
        self.assertTrue(peer.closes())
        service.wait_log(f"Process {os.getpid()} of user 0 is refused")
        self.assertEqual(service.children(), [])


class WrongOrders(SpawnTest):
    def refused(self, data, fds=None):
        peer = self.peer()
        peer.send(data, fds)
        self.assertTrue(peer.closes(), (data, fds))
        peer.close()

    def test_packets(self):
        self.serve()
        good = ORDER.pack(VERSION, OPEN)
        for data in (good[:-1], good + b"\0", good * 200, b"x", ORDER.pack(VERSION + 1, OPEN), ORDER.pack(VERSION, 0),
                     ORDER.pack(VERSION, 3), ORDER.pack(VERSION, 2**32 - 1)):
            self.refused(data)
        self.assertEqual(self.spawn_service.children(), [])
        self.assert_serves()

    def test_descriptors(self):
        self.serve()
        good = ORDER.pack(VERSION, OPEN)
        null = os.open("/dev/null", os.O_RDWR)
        self.addCleanup(os.close, null)
        stream, datagram = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        network = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for sock in (stream, datagram, network, channel, other):
            self.addCleanup(sock.close)
        self.assert_serves()
        self.wait_idle()
        before = len(fixtures.descriptors(self.spawn_service.pid))
        for fds in ([], [null], [stream.fileno()], [datagram.fileno()], [network.fileno()],
                    [channel.fileno(), other.fileno()], [channel.fileno()] * 3, [null] * 253):
            self.refused(good, fds)
        self.assertEqual(self.spawn_service.children(), [])
        self.assert_serves()
        wait_until(lambda: len(fixtures.descriptors(self.spawn_service.pid)) == before, None, "nothing to be left open")

    def test_a_second_order(self):
        """One is what a connection is for; what was started goes on."""
        self.serve()
        peer = self.peer().order()
        channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.send(ORDER.pack(VERSION, OPEN), [other.fileno()])
        self.assertTrue(peer.closes())
        self.assertEqual(self.spawn_service.children(), [peer.pid])
        for sock in (channel, other, peer.channel):
            sock.close()
        self.wait_no_children()

    def test_no_order(self):
        """Many say nothing: the others are served, and those are left in the end."""
        self.serve()
        silent = [self.peer() for _ in range(100)]
        self.assert_serves()
        for peer in silent:
            self.assertTrue(peer.closes())
            peer.close()

    def test_no_descriptor_is_left(self):
        """It listens again when there is one, though no connection of its own has ended."""
        service = self.serve()
        self.assert_serves()
        self.wait_idle()
        taken = {int(number) for number in fixtures.descriptors(service.pid)}
        soft, hard = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (min(set(range(len(taken) + 1)) - taken), hard))
        peer = self.peer()
        service.wait_log("Failed to accept a connection: ")
        resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (soft, hard))
        peer.order()
        peer.channel.close()
        self.assertEqual(peer.ended(), 0)
        self.assert_serves()

    def test_no_user_and_no_program(self):
        memory = memfd(4096 + 65536, seal=True)
        self.addCleanup(os.close, memory)
        for options in (["--io-user=nobody-at-all"], ["--io-user=nobody", "--io-program=/nowhere"]):
            service = self.start_spawn_service(*options)
            peer = self.peer().order(IO)
            socket.send_fds(peer.channel, [IO_TASK.pack(0, 1, 1, b"")], [memory])
            self.assertEqual(struct.unpack_from("=Ii", receive(peer.channel, "its report")[0]), (2, -2))    # IO_FAILED
            self.assertEqual(peer.ended(), 0)
            self.assertEqual(service.end(), [])
            os.unlink(service.path)
        self.spawn_service = None


class WrongTasks(SpawnTest):
    def refused(self, kind, data, fds=()):
        peer = self.peer().order(kind)
        socket.send_fds(peer.channel, [data], fds)
        self.assertEqual(peer.ended(), 0, (data, fds))
        self.assertEqual(receive(peer.channel, "the end of the channel")[0], b"", (data, fds))
        peer.close()

    def test_opening(self):
        """Only device nodes of VFIO are opened, whatever the packet says."""
        self.serve()
        token = b"00000000-0000-4000-8000-000000000000\0"
        good = TASK.pack(GROUP, 0, 0, self.function.group, b"")
        null = os.open("/dev/null", os.O_RDWR)
        self.addCleanup(os.close, null)
        for data in (good[:-1], good + b"\0", TASK.pack(0, 0, 0, 1, b""), TASK.pack(5, 0, 0, 1, b""),
                     TASK.pack(GROUP, 1, 0, 1, b""), TASK.pack(GROUP, 0, 1, 1, b""), TASK.pack(GROUP, 0, 0, 2**31, b""),
                     TASK.pack(CDEV, 2, 0, 1, b""), TASK.pack(DEVICE, 0, 2**63, 1, b""), TASK.pack(DEVICE, 0, 0, 1, b"x"),
                     TASK.pack(TOKEN, 0, 0, 1, b""), TASK.pack(TOKEN, 0, 0, 1, b"x" + token[1:]),
                     TASK.pack(TOKEN, 0, 0, 1, token[:-1] + b"0")):
            self.refused(OPEN, data)
        self.refused(OPEN, good, [null])
        self.assert_serves()

    def test_io(self):
        self.serve()
        good = IO_TASK.pack(0, 1, 1, b"")
        client, other = socket.socketpair()
        memory = os.memfd_create("device")
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (memory, null):
            self.addCleanup(os.close, fd)
        for sock in (client, other):
            self.addCleanup(sock.close)
        for data, fds in ((good[:-1], [memory]), (good, []), (good, [memory, client.fileno()]), (good, [null]),
                          (good, [client.fileno()]), (IO_TASK.pack(0, 1, 0, b""), [memory]),
                          (IO_TASK.pack(0, 0, 1, b""), [memory]), (IO_TASK.pack(0, 0, 1, b""), [memory, null]),
                          (IO_TASK.pack(0, 2, 1, b""), [memory]), (IO_TASK.pack(0, 1, 2, b""), [memory]),
                          (IO_TASK.pack(0, 1, 1, b"a b"), [memory]), (IO_TASK.pack(0, 1, 1, b"x" * 64), [memory])):
            self.refused(IO, data, fds)
        self.assert_serves()

    def test_what_vfwarden_io_becomes(self):
        self.serve()
        memory = memfd(4096 + 65536, seal=True)
        self.addCleanup(os.close, memory)
        peer = self.peer().order(IO)
        socket.send_fds(peer.channel, [IO_TASK.pack(0, 1, 1, b"vfio-pci")], [memory])
        self.assertEqual(struct.unpack_from("=Ii", receive(peer.channel, "its report")[0]), (1, 0))     # IO_READY
        with open(f"/proc/{peer.pid}/status", encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        self.assertEqual((set(status["Uid"].split()), status["Groups"].strip(), int(status["CapEff"], 16)),
                         ({str(NOBODY)}, "", 0))
        with open(f"/proc/{peer.pid}/cmdline", "rb") as file:
            self.assertEqual(file.read().split(b"\0")[1:-1],
                             [b"--control=3", b"--device=4", b"--driver=vfio-pci", b"--max-memory=0", b"--emulated=65536"])
        peer.channel.close()
        self.assertEqual(peer.ended(), 0)


if __name__ == "__main__":
    fixtures.main()
