"""A client of I/O sessions without privilege, in a process of its own: it speaks vfio-user as the protocol's text has it.

Run as a program, by IoClient; see json_client.py. Bytes are hexadecimal.
"""

import errno
import json
import os
import select
import socket
import sys
import time

from gi.repository import GLib

import pace
import vfio_user
import vfwarden_bus as vb

from guest.json_client import JsonClient, serve
from guest.nvme_queue import DATA, SIZE, AdminQueue

ZPCI_IO = "org.vfwarden1.ZpciIo"
MEMORY_ADDRESS, MEMORY_SIZE = 0x100000000, 4096
# Behind that: one session has both.
QUEUE_ADDRESS = MEMORY_ADDRESS + MEMORY_SIZE


class IoClient(JsonClient):
    """The other end, for a scenario. Errors of the session arrive as OSError."""

    module = "guest.io_client"

    def load(self, function, pcias, offset, length):
        """One load over D-Bus."""
        return bytes.fromhex(self.ask("load", function.address, pcias, offset, length))

    def store(self, function, pcias, offset, data):
        """One store over D-Bus."""
        self.ask("store", function.address, pcias, offset, data.hex())

    def open(self, function, dma=False):
        """What OpenSession told."""
        return self.ask("open", function.address, dma)

    def read(self, region, offset, length):
        return bytes.fromhex(self.ask("read", region, offset, length))

    def write(self, region, offset, data):
        self.ask("write", region, offset, data.hex())

    def reset(self):
        """Resets the device."""
        self.ask("reset")

    def set_irq(self, index, flags, with_event=False):
        """An order about the first interrupt of an index; the client's eventfd goes along if wanted."""
        self.ask("set-irq", index, flags, with_event)

    def wait_event(self):
        """Until the eventfd has been signalled; how often."""
        return self.ask("wait-event")

    def map(self, size):
        """Memory of the client's, all of it touched."""
        self.ask("map", size)

    def time_map(self, address, size):
        """Seconds that a map of that much memory takes, and its unmap."""
        return self.ask("time-map", address, size)

    def store_block(self, pcias, offset, data):
        """By a request of the zPCI I/O region: the session's process takes the data from memory of the client's."""
        self.ask("store-block", pcias, offset, data.hex())

    def read_for_ever(self, region, offset, length):
        """Reads again and again until stop() or an error, which ends it."""
        self.start("read-for-ever", region, offset, length)

    def progress(self):
        """How many reads of those that go on have succeeded so far."""
        self.process.stdin.write("?")
        self.process.stdin.flush()
        answer = self.answer()
        if isinstance(answer, list):
            raise OSError(answer[1], f"{os.strerror(answer[1])}, after {answer[0]} reads")
        return answer

    def stop(self):
        """(how many reads succeeded, the errno that ended it or 0)"""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return tuple(self.answer())

    def done(self):
        """The same, of one that an error ends."""
        return tuple(self.answer())

    def start_queue(self):
        """An NVMe controller's admin queue, see guest/nvme_queue.py."""
        self.ask("start-queue")

    def identify(self, distance=None):
        """(status of the completion, what is in our page afterwards); to memory so far behind that page, if given."""
        status, page = self.ask("identify", distance)
        return status, bytes.fromhex(page)

    def identify_for_ever(self):
        """Again and again, until stop() or an error, which ends it; progress() and done() as for reads."""
        self.start("identify-for-ever")

    def unmap_queue(self):
        """Takes its memory away from the device."""
        self.ask("unmap-queue")

    def wait_closed(self):
        """Until the session has closed the socket."""
        self.ask("wait-closed")

    def end_session(self):
        self.ask("end-session")


class Server:
    def __init__(self):
        self.client = vb.Client()
        self.session = self.memory = self.queue = None
        self.event = os.eventfd(0)

    def load(self, address, pcias, offset, length):
        data, = self.client.bus.call(vb.function_path(address), ZPCI_IO, "Load", "(ytq)", (pcias, offset, length))
        return bytes(data).hex()

    def store(self, address, pcias, offset, data):
        self.client.bus.call(vb.function_path(address), ZPCI_IO, "StoreBlock", "(ytay)",
                             (pcias, offset, bytes.fromhex(data)))

    def open(self, address, dma):
        options = {"dma": GLib.Variant("b", True)} if dma else {}
        call = self.client.bus.start_call(vb.function_path(address), ZPCI_IO, "OpenSession", "(a{sv})", (options,),
                                          with_fds=True)
        _, facts = call.result(60)
        self.session = vfio_user.Client(socket.socket(fileno=call.fds[0]))
        self.session.socket.settimeout(60 * pace.SCALE)
        self.session.version()
        return facts

    def read(self, region, offset, length):
        return self.session.read(region, offset, length).hex()

    def write(self, region, offset, data):
        self.session.write(region, offset, bytes.fromhex(data))

    def reset(self):
        self.session.reset()

    def set_irq(self, index, flags, with_event):
        self.session.set_irqs(index, flags, fds=[self.event] if with_event else [])

    def wait_event(self):
        if not select.select([self.event], [], [], 60 * pace.SCALE)[0]:
            raise vfio_user.ErrorReply(errno.ETIMEDOUT)
        return os.eventfd_read(self.event)

    def map(self, size):
        memory = os.memfd_create("guest")
        os.posix_fallocate(memory, 0, size)
        self.session.map(0, size, memory)
        os.close(memory)

    def time_map(self, address, size):
        memory = os.memfd_create("guest")
        os.posix_fallocate(memory, 0, size)
        begun = time.monotonic()
        self.session.map(address, size, memory)
        mapped = time.monotonic()
        self.session.unmap(address, size)
        ended = time.monotonic()
        os.close(memory)
        return mapped - begun, ended - mapped

    def store_block(self, pcias, offset, data):
        if self.memory is None:
            self.memory = os.memfd_create("guest")
            os.ftruncate(self.memory, MEMORY_SIZE)
            self.session.map(MEMORY_ADDRESS, MEMORY_SIZE, self.memory)
        data = bytes.fromhex(data)
        os.pwrite(self.memory, data, 0)
        self.session.zpci(vfio_user.STORE_BLOCK, MEMORY_ADDRESS, offset, len(data), pcias)

    def read_for_ever(self, region, offset, length):
        return self.repeat(lambda: self.session.read(region, offset, length))

    def identify_for_ever(self):
        return self.repeat(self.queue.identify)

    @staticmethod
    def repeat(action):
        os.set_blocking(0, False)
        count = error = 0
        try:
            while (order := sys.stdin.read(1)) != "\n":
                if order == "?":
                    print(json.dumps({"value": count}), flush=True)
                action()
                count += 1
        except (vfio_user.ErrorReply, vfio_user.Closed) as failure:
            error = error_number(failure)
        finally:
            os.set_blocking(0, True)
        return count, error

    def start_queue(self):
        self.queue = AdminQueue(self.session, QUEUE_ADDRESS)

    def identify(self, distance):
        address = None if distance is None else QUEUE_ADDRESS + DATA + distance
        status, page = self.queue.identify(address)
        return status, page.hex()

    def unmap_queue(self):
        self.session.unmap(QUEUE_ADDRESS, SIZE)

    def wait_closed(self):
        self.session.expect_close()

    def end_session(self):
        self.session.close()


def error_number(error):
    if isinstance(error, vfio_user.ErrorReply):
        return error.errno
    return errno.ECONNRESET     # vfio_user.Closed


if __name__ == "__main__":
    serve(Server(), error_number, (vfio_user.ErrorReply, vfio_user.Closed))
