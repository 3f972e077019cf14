"""inotify on the fake sysfs, for tests that wait until the daemon has changed a file."""

import ctypes
import os

from gi.repository import GLib


class FileWatch:
    """Wakes the main loop when something under the watched directories changes.

    So that a test can wait for a file's mode without looking again and again."""

    IN_ALL = 0x4 | 0x2 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200

    def __init__(self):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._source = GLib.unix_fd_add_full(
            GLib.PRIORITY_DEFAULT, self._fd, GLib.IOCondition.IN, self._on_ready)

    def _on_ready(self, *_):
        try:
            os.read(self._fd, 65536)
        except BlockingIOError:
            pass
        return GLib.SOURCE_CONTINUE

    def add(self, directory):
        if self._libc.inotify_add_watch(self._fd, os.fsencode(directory), self.IN_ALL) < 0:
            raise OSError(ctypes.get_errno(), directory)

    def close(self):
        if self._fd >= 0:
            GLib.source_remove(self._source)
            os.close(self._fd)
            self._fd = -1
