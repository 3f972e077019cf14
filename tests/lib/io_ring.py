"""The client's side of a ring, written from vfwarden-io(7) and nothing else. It writes what it has to write, also what no
client should."""

import fcntl
import mmap
import os
import select
import struct

import vfio_user as vu

SIZE = 8192
TAIL, MESSAGES, CLIENT_WAITS = 0, 4, 8
HEAD, SERVER_WAITS = 256, 260
ENTRIES = 4096
ENTRY = struct.Struct("=IIQII8s")
LOAD, STORE = 1, 2

F_ADD_SEALS = 1033
SHRINK, GROW, SEAL_WRITE, FUTURE_WRITE = 2, 4, 8, 16
WANTED = {"vfwarden_ring": {}}
U32 = 2**32


def ring_memory(size=SIZE, seals=SHRINK | GROW, flags=0):
    fd = os.memfd_create("ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags)
    os.ftruncate(fd, size)
    if seals:
        fcntl.fcntl(fd, F_ADD_SEALS, seals)
    return fd


def set_up(client, fds, entries=16, spin=50, flags=0, argsz=16):
    """Returns (entries, spin) as granted."""
    reply = client.ask(vu.VFWARDEN_RING, vu.RING.pack(argsz, flags, entries, spin), fds)
    size, flags, entries, spin = vu.RING.unpack(reply)
    assert (size, flags) == (16, 0)
    return entries, spin


class Ring:
    """A ring of `client`'s session, whose VERSION asked for one or not."""

    def __init__(self, client, entries=16, spin=50):
        self.client = client
        self.fd = ring_memory()
        self.requests = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.replies = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.entries, self.spin = set_up(client, (self.fd, self.requests, self.replies), entries, spin)
        self.memory = mmap.mmap(self.fd, SIZE)
        # One store of 4 bytes; struct.pack_into() writes zeros first.
        self.words = memoryview(self.memory).cast("I")
        self.tail = 0

    def close(self):
        self.words.release()
        self.memory.close()
        for fd in (self.fd, self.requests, self.replies):
            os.close(fd)

    def word(self, place):
        return self.words[place // 4]

    def set_word(self, place, value):
        self.words[place // 4] = value % U32

    def place(self, number):
        return ENTRIES + number % self.entries * 64

    def fill(self, kind, region, offset, count, data=bytes(8), reserved=bytes(32), number=None):
        """The entry of request `number`, by default the next, which is not posted yet."""
        place = self.place(self.tail if number is None else number)
        self.memory[place:place + 64] = ENTRY.pack(kind, region, offset, count, 0xdead, data) + reserved

    def post(self, n=1):
        """What was filled; always with a signal, which is needed if the session sleeps."""
        self.tail = (self.tail + n) % U32
        self.set_word(TAIL, self.tail)
        try:
            os.eventfd_write(self.requests, 1)
        except BlockingIOError:     # a full one is signalled
            pass

    def wait(self, timeout):
        """Until all that was posted is done; False when the session ends before."""
        self.set_word(CLIENT_WAITS, 1)
        try:
            while self.word(HEAD) != self.tail:
                ready = select.select([self.replies, self.client.socket], [], [], timeout)[0]
                assert ready, "the ring does not answer"
                if self.client.socket in ready and self.word(HEAD) != self.tail:
                    return False
                if self.replies in ready:
                    os.eventfd_read(self.replies)
            return True
        finally:
            self.set_word(CLIENT_WAITS, 0)

    def result(self, number):
        """(errno or 0, data) of a request that is done."""
        place = self.place(number)
        _, _, _, _, error, data = ENTRY.unpack(self.memory[place:place + ENTRY.size])
        return error, data

    def access(self, timeout, *entry, **more):
        """One request and its result."""
        number = self.tail
        self.fill(*entry, **more)
        self.post()
        if not self.wait(timeout):
            raise vu.Closed
        return self.result(number)
