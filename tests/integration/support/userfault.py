"""Memory whose first touch waits, for as long as a test likes: how a client keeps the lock of a file's inode.

pwrite() to a file on tmpfs takes that lock, and then touches its source (generic_perform_write() in mm/filemap.c). Without
privilege a page of one's own FUSE does the same."""

import ctypes
import fcntl
import mmap
import os
import struct
import threading

SYS_USERFAULTFD = {"x86_64": 323, "s390x": 355, "aarch64": 282}[os.uname().machine]
UFFDIO_API, UFFDIO_REGISTER, UFFDIO_ZEROPAGE = 0xc018aa3f, 0xc020aa00, 0xc020aa04
API, MODE_MISSING = 0xaa, 1
PAGE = mmap.PAGESIZE

_libc = ctypes.CDLL(None, use_errno=True)


class WriterThatWaits:
    """A thread in pwrite() to `fd`, which has the file's lock until close()."""

    def __init__(self, fd):
        self.faults = _libc.syscall(SYS_USERFAULTFD, os.O_CLOEXEC)
        if self.faults < 0:
            raise OSError(ctypes.get_errno(), "userfaultfd() (takes root)")
        fcntl.ioctl(self.faults, UFFDIO_API, bytearray(struct.pack("=QQQ", API, 0, 0)))
        self.memory = mmap.mmap(-1, PAGE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        fcntl.ioctl(self.faults, UFFDIO_REGISTER,
                    bytearray(struct.pack("=QQQQ", self.address, PAGE, MODE_MISSING, 0)))
        self.thread = threading.Thread(
            target=_libc.pwrite, args=(fd, ctypes.c_void_p(self.address), ctypes.c_size_t(PAGE), ctypes.c_int64(0)))
        self.thread.start()
        os.read(self.faults, 32)    # it has touched the page

    def close(self):
        fcntl.ioctl(self.faults, UFFDIO_ZEROPAGE, bytearray(struct.pack("=QQQq", self.address, PAGE, 0, 0)))
        self.thread.join()
        os.close(self.faults)
