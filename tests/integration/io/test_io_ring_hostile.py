#!/usr/bin/python3
"""Clients that lie in a ring, and that make its session wait. They harm their own session, and nothing else."""

import ctypes
import errno
import os
import select
import signal
import struct
import subprocess
import threading
import time

import ioprocess
from ioprocess import DEADLINE
from io_ring import CLIENT_WAITS, ENTRIES, HEAD, LOAD, MESSAGES, SERVER_WAITS, SIZE, STORE, TAIL, ring_memory, set_up
from test_io_ring import RingTest
import vfio_user as vu


class Lies(RingTest):
    def test_tails_that_jump(self):
        for start, jump in ((0, 17), (0, 18), (0, 2**31), (0, 2**32 - 1), (3, 2), (3, 2**32 - 1), (40, 39), (16, 33), (1, 0)):
            with self.subTest(start=start, jump=jump):
                io = self.start()
                other = self.start()
                ring = self.ring(io)
                for _ in range(start):
                    self.assertEqual(ring.access(DEADLINE, LOAD, 0, 0, 8)[0], 0)
                ring.set_word(TAIL, jump)
                os.eventfd_write(ring.requests, 1)
                self.assert_broken(io)
                self.assert_serves(other)

    def test_what_is_the_sessions_own(self):
        """It writes there and does not read."""
        io = self.start()
        ring = self.ring(io)
        for value in (0, 1, 77, 2**32 - 1):
            ring.set_word(HEAD, value)
            ring.set_word(SERVER_WAITS, value)
            self.assert_ring_serves(ring)
        ring.memory[512:4096] = b"\xff" * 3584
        ring.memory[264:512] = b"\xff" * 248
        ring.memory[12:256] = b"\xff" * 244
        self.assert_ring_serves(ring)

    def test_entries_changed_meanwhile(self):
        """Whatever a request is changed to while it is judged, what was judged is done: no byte past the BAR's end, no other
        kind. A wrong access ends the process."""
        for evil in ((STORE, 4, 2**40, 8), (STORE, 2**31, 16, 8), (STORE, 4, 16, 2**31), (7, 4, 2**63, 8)):
            io = self.start()
            ring = self.ring(io, entries=2)
            ring.fill(STORE, 4, 16, 8, b"\xee" * 8, number=0)
            ring.fill(STORE, 4, 16, 8, b"\xee" * 8, number=1)
            good = struct.unpack("=3Q", struct.pack("=IIQII", STORE, 4, 16, 8, 0))
            torn = [(ENTRIES // 8 + i, bad, word) for i, (bad, word) in
                    enumerate(zip(struct.unpack("=3Q", struct.pack("=IIQII", *evil, 0)), good)) if bad != word]
            # A process: a thread would take turns with this one.
            tearer = os.fork()
            if tearer == 0:
                words = memoryview(ring.memory).cast("Q")
                while True:
                    for place, bad, word in torn:
                        words[place] = bad
                        words[place] = word
                        words[place + 8] = bad
                        words[place + 8] = word
            try:
                for _ in range(3000):
                    ring.post(2)
                    self.assertTrue(ring.wait(DEADLINE), "the session is alive")
            finally:
                os.kill(tearer, signal.SIGKILL)
                os.waitpid(tearer, 0)
            counts = io.counts()
            self.assertGreater(counts["stores"], 0)
            self.assertEqual(counts["loads"], 0)
            # BAR 4 has 24 bytes and is the last: what comes before the place that was stored to is as it was.
            self.assertEqual(io.client.read(4, 0, 8) + io.client.read(4, 8, 8), bytes(16))
            io.client.write(4, 0, bytes(8))
            self.assert_serves(io)

    def test_counters_that_run(self):
        """Advanced by another thread without sense: executed or the end, never a wait without end."""
        for step in (1, 16, 17):
            io = self.start()
            ring = self.ring(io)
            for value in range(0, 40 * step, step):
                ring.set_word(TAIL, value)
                ring.set_word(MESSAGES, value)
                ring.set_word(CLIENT_WAITS, value)
                os.eventfd_write(ring.requests, 1)
            try:
                io.client.read(0, 0, 8)
            except vu.Closed:
                self.assert_broken(io)

    def test_wakes_without_requests(self):
        """An eventfd that counts down by one would wake the session 2^64 times for one write."""
        io = self.start()
        requests = self.event(2**64 - 2, os.EFD_SEMAPHORE | os.EFD_NONBLOCK)
        fds = [ring_memory(), requests, self.event()]
        self.addCleanup(os.close, fds[0])
        set_up(io.client, fds)
        self.assert_broken(io)

    def test_one_signal_too_many_is_nothing(self):
        io = self.start()
        ring = self.ring(io)
        for _ in range(100):
            os.eventfd_write(ring.requests, 1)
            self.assert_ring_serves(ring)
            self.assert_serves(io)

    def test_timer_in_place_of_an_eventfd(self):
        """Where the kernel can read it without waiting, it is an eventfd that wakes too often."""
        libc = ctypes.CDLL(None, use_errno=True)
        io = self.start()
        timer = libc.timerfd_create(1, os.O_NONBLOCK)
        self.assertGreaterEqual(timer, 0)
        self.addCleanup(os.close, timer)
        every = struct.pack("=qqqq", 0, 1000, 0, 1000)
        self.assertEqual(libc.timerfd_settime(timer, 0, every, None), 0)
        memory = ring_memory()
        self.addCleanup(os.close, memory)
        try:
            set_up(io.client, [memory, timer, self.event()])
        except vu.ErrorReply as error:
            self.assertIn(error.errno, (errno.EINVAL, errno.EOPNOTSUPP))
            self.assert_serves(io)
        except vu.Closed:
            self.assert_broken(io)
        else:
            self.assert_broken(io)


class Hanging(RingTest):
    def test_eventfds_at_their_maximum(self):
        """Those for requests are emptied, those for replies left."""
        io = self.start()
        memory = ring_memory()
        requests, replies = self.event(2**64 - 2), self.event(2**64 - 2)
        set_up(io.client, [memory, requests, replies])
        os.close(memory)
        self.assert_serves(io)
        ring = self.ring(self.start())
        os.eventfd_write(ring.replies, 2**64 - 2)
        os.eventfd_write(ring.requests, 2**64 - 2)
        self.assert_ring_serves(ring)

    def test_eventfds_made_blocking_and_full(self):
        """A signal that cannot be given makes nobody wait but the thread that gives it."""
        io = self.start()
        ring = self.ring(io)
        for fd in (ring.requests, ring.replies):
            os.set_blocking(fd, True)
        os.eventfd_write(ring.replies, 2**64 - 2)
        ring.set_word(CLIENT_WAITS, 1)
        for i in range(100):
            ring.fill(LOAD, 0, 0, 8)
            ring.post()
            end = time.monotonic() + DEADLINE
            while ring.word(HEAD) != ring.tail:
                self.assertLess(time.monotonic(), end)
            io.client.read(0, 0, 8)
        self.assertEqual(io.order(ioprocess.STATUS).error, 0)
        io.order(ioprocess.END)
        self.assert_error(errno.ENODEV, io.client.read, 0, 0, 8)
        io.client.close()
        self.assertEqual(io.report().kind, ioprocess.CLOSED)
        self.assertEqual(io.wait(), 0)

    def test_eventfd_that_another_empties(self):
        """It was readable and is not any more: the session does not wait for it."""
        io = self.start()
        ring = self.ring(io)
        os.set_blocking(ring.requests, True)
        stop = threading.Event()
        thief = os.dup(ring.requests)

        def steal():
            while not stop.is_set():
                if select.select([thief], [], [], 0.001)[0]:
                    os.set_blocking(thief, False)
                    try:
                        os.eventfd_read(thief)
                    except BlockingIOError:
                        pass
                    os.set_blocking(thief, True)

        thread = threading.Thread(target=steal)
        thread.start()
        try:
            for _ in range(300):
                io.client.read(0, 0, 8)
                ring.fill(LOAD, 0, 0, 8)
                ring.post()
                io.client.read(0, 0, 8)
        finally:
            stop.set()
            thread.join()
            os.close(thief)
        self.assert_serves(io)

    def test_client_that_dies(self):
        """In the midst of requests: the process ends, whether it spins, sleeps or works."""
        for state in ("works", "spins", "sleeps"):
            io = self.start()
            ring = self.ring(io)
            ring.set_word(CLIENT_WAITS, 1)
            for i in range(8):
                ring.fill(STORE, 0, 0, 8, number=i)
            ring.post(8)
            if state != "works":
                self.assertTrue(ring.wait(DEADLINE))
            if state == "sleeps":
                io.client.read(0, 0, 8)
            io.client.close()
            report = io.report()
            self.assertEqual((report.kind, report.error), (ioprocess.CLOSED, 0))
            self.assertEqual(io.wait(), 0)

    def test_process_that_dies(self):
        """The client is not left waiting."""
        io = self.start()
        ring = self.ring(io)
        self.assert_ring_serves(ring)
        io.process.send_signal(signal.SIGSTOP)
        ring.fill(LOAD, 0, 0, 8)
        ring.post()
        io.process.kill()
        self.assertFalse(ring.wait(DEADLINE))

    def test_holes(self):
        """The file's pages may go, its size not: they are zeros then."""
        io = self.start()
        ring = self.ring(io)
        self.assert_ring_serves(ring)
        done = subprocess.run(["fallocate", "--punch-hole", "--offset", "0", "--length", str(SIZE), f"/proc/self/fd/{ring.fd}"],
                              pass_fds=[ring.fd], check=False)
        self.assertEqual(done.returncode, 0)
        # The tail is 0 again, which is a jump.
        os.eventfd_write(ring.requests, 1)
        self.assert_broken(io)

    def test_signal_of_memory_ends_it_alone(self):
        """What cannot be, a SIGBUS, ends the one process; the other session does not notice."""
        io, other = self.start(), self.start()
        ring = self.ring(io)
        self.assert_ring_serves(ring)
        io.process.send_signal(signal.SIGBUS)
        io.client.expect_close()
        self.assertNotEqual(io.wait(), 0)
        self.assert_serves(other)

    def test_orders_in_the_midst(self):
        """The daemon is answered while a client keeps the ring busy, and while it spins."""
        io = self.start()
        ring = self.ring(io)
        stop = threading.Event()

        def load():
            while not stop.is_set():
                ring.fill(LOAD, 0, 0, 8)
                ring.post()
                while ring.word(HEAD) != ring.tail and not stop.is_set():
                    pass

        thread = threading.Thread(target=load)
        thread.start()
        try:
            for kind in [ioprocess.STATUS, ioprocess.DRAIN] * 50 + [ioprocess.END, ioprocess.STATUS]:
                self.assertEqual(io.order(kind).error, 0)
        finally:
            stop.set()
            thread.join()


if __name__ == "__main__":
    ioprocess.main()
