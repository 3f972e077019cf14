"""A vfio-user client, written from the protocol (QEMU's docs/interop/vfio-user.rst) and nothing else.

It shares no line with the server or the client library, so that what both understand wrongly is seen. It sends what it
has to send, also what no client should.
"""

import array
import contextlib
import json
import os
import socket
import struct

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO, SET_IRQS, \
    REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE = range(1, 13)
DEVICE_RESET, REGION_WRITE_MULTI, DEVICE_FEATURE = 13, 15, 16
VFWARDEN_RING = 0x5600                   # vfwarden's own, see vfwarden-io(7)

REPLY, NO_REPLY, ERROR = 0x1, 0x10, 0x20
READ, WRITE = 1, 2                      # of DMA_MAP
CONFIG, ZPCI = 7, 9                     # regions
LOAD, STORE_BLOCK = 1, 2                # of the zPCI I/O region
INTX, MSI, MSIX, ERROR_IRQ, REQUEST_IRQ = range(5)
NONE, BOOL, EVENTFD, MASK, UNMASK, TRIGGER = (1 << bit for bit in range(6))     # of SET_IRQS
REQUEST_OFFSET = 16                     # of the request in the zPCI I/O region

HEADER = struct.Struct("=HHIII")
MAP = struct.Struct("=IIQQQ")
UNMAP = struct.Struct("=IIQQ")
ACCESS = struct.Struct("=QII")
INFO = struct.Struct("=IIII")
REGION_INFO = struct.Struct("=IIIIQQ")
IRQ_SET = struct.Struct("=IIIII")
RING = struct.Struct("=IIII")
ZPCI_REQUEST = struct.Struct("=QQQIHBB")


class ErrorReply(Exception):
    """The server answered with an error; `errno` is its number."""

    def __init__(self, errno):
        super().__init__(os.strerror(errno))
        self.errno = errno


class Closed(Exception):
    """The server closed the socket."""


class Client:
    """One session over `sock`. Every call waits at most the socket's own timeout."""

    def __init__(self, sock):
        self.socket = sock
        self._id = 0
        self._pending = b""

    def close(self):
        self.socket.close()

    # Messages

    def message(self, command, payload=b"", flags=0, size=None, number=None):
        """The bytes of a message; `size` and `number` for those that lie."""
        self._id = (self._id + 1) & 0xffff
        return HEADER.pack(self._id if number is None else number, command,
                           HEADER.size + len(payload) if size is None else size, flags, 0) + payload

    def send(self, message, fds=()):
        """To a server that has closed as well: what it answered before comes with receive(), and then Closed."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sent = 0
            if fds:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
                sent = self.socket.sendmsg([message], rights)
            self.socket.sendall(message[sent:])

    def _receive(self, size):
        while len(self._pending) < size:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed
            self._pending += more
        data, self._pending = self._pending[:size], self._pending[size:]
        return data

    def receive(self):
        """The next reply: (id, command, errno or 0, payload)."""
        number, command, size, flags, error = HEADER.unpack(self._receive(HEADER.size))
        assert flags & 0xf == REPLY, f"flags {flags:#x}"
        payload = self._receive(size - HEADER.size)
        if flags & ERROR:
            assert not payload, "an error reply is a header alone"
            return number, command, error or -1, payload
        assert error == 0
        return number, command, 0, payload

    def ask(self, command, payload=b"", fds=()):
        """Sends a request and returns the payload of its reply."""
        message = self.message(command, payload)
        self.send(message, fds)
        number, answered, error, payload = self.receive()
        assert (number, answered) == HEADER.unpack(message[:HEADER.size])[:2]
        if error:
            raise ErrorReply(error)
        return payload

    def expect_close(self):
        """The server has nothing more to say and closes."""
        try:
            rest = self._receive(1)
        except Closed:
            return
        raise AssertionError(f"not closed, but said {rest!r}")

    # Commands

    def version(self, major=0, minor=1, capabilities=None):
        """Returns (major, minor, capabilities)."""
        data = b"" if capabilities is None else \
            json.dumps({"capabilities": capabilities}).encode() + b"\0"
        reply = self.ask(VERSION, struct.pack("=HH", major, minor) + data)
        assert reply[-1:] == b"\0"
        return *struct.unpack("=HH", reply[:4]), json.loads(reply[4:-1])["capabilities"]

    def device_info(self):
        """Returns (flags, regions, irqs)."""
        argsz, *rest = INFO.unpack(self.ask(GET_INFO, INFO.pack(INFO.size, 0, 0, 0)))
        assert argsz == INFO.size
        return tuple(rest)

    def region_info(self, index, room=256):
        """Returns (size, flags, argsz, [(type, subtype)])."""
        reply = self.ask(GET_REGION_INFO, REGION_INFO.pack(room, 0, index, 0, 0, 0))
        argsz, flags, got, cap, size, _ = REGION_INFO.unpack(reply[:REGION_INFO.size])
        assert got == index
        types = []
        while cap:
            kind, version, following = struct.unpack("=HHI", reply[cap:cap + 8])
            if kind == 2:
                assert version == 1
                types.append(struct.unpack("=II", reply[cap + 8:cap + 16]))
            cap = following
        return size, flags, argsz, types

    def irq_info(self, index):
        """Returns (flags, count)."""
        reply = INFO.unpack(self.ask(GET_IRQ_INFO, INFO.pack(INFO.size, 0, index, 0)))
        return reply[1], reply[3]

    def set_irqs(self, index, flags, start=0, count=1, fds=(), data=b""):
        """An order about interrupts; the flags are of SET_IRQS."""
        assert self.ask(SET_IRQS, IRQ_SET.pack(IRQ_SET.size + len(data), flags, index, start, count) + data, fds) == b""

    def set_irq(self, index, eventfd=None, flags=0x24, start=0, count=1):
        self.ask(SET_IRQS, IRQ_SET.pack(IRQ_SET.size, flags, index, start, count),
                 () if eventfd is None else (eventfd,))

    def map(self, address, size, fd=None, offset=0, flags=READ | WRITE):
        fds = () if fd is None else (fd,)
        assert self.ask(DMA_MAP, MAP.pack(MAP.size, flags, offset, address, size), fds) == b""

    def unmap(self, address, size, flags=0):
        request = UNMAP.pack(UNMAP.size, flags, address, size)
        assert self.ask(DMA_UNMAP, request) == request

    def read(self, region, offset, count):
        reply = self.ask(REGION_READ, ACCESS.pack(offset, region, count))
        assert ACCESS.unpack(reply[:ACCESS.size]) == (offset, region, count)
        assert len(reply) == ACCESS.size + count
        return reply[ACCESS.size:]

    def write(self, region, offset, data):
        reply = self.ask(REGION_WRITE, ACCESS.pack(offset, region, len(data)) + data)
        assert ACCESS.unpack(reply) == (offset, region, len(data))

    def write_multi(self, *writes, flags=0):
        """Several writes, (region, offset, data of at most 8 bytes) each; how many were done, None without a reply."""
        payload = struct.pack("=Q", len(writes)) + b"".join(
            ACCESS.pack(offset, region, len(data)) + data.ljust(8, b"\0") for region, offset, data in writes)
        if flags & NO_REPLY:
            self.send(self.message(REGION_WRITE_MULTI, payload, flags))
            return None
        return struct.unpack("=Q", self.ask(REGION_WRITE_MULTI, payload))[0]

    def reset(self):
        assert self.ask(DEVICE_RESET) == b""

    def zpci(self, operation, gaddr, offset, length, pcias=0):
        """A request of the zPCI I/O region."""
        self.write(ZPCI, REQUEST_OFFSET,
                   ZPCI_REQUEST.pack(operation, gaddr, offset, 0, length, pcias, 0))
