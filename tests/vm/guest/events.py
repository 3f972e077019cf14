"""What wakes a waiting scenario beside D-Bus messages: the kernel's uevents and changes of files.

Both attach themselves to the default main context, which vfwarden_bus.wait_until() iterates.
"""

import ctypes
import os
import socket
import struct
import time

from gi.repository import GLib

NETLINK_KOBJECT_UEVENT = 15
SO_RCVBUFFORCE = 33
IN_ATTRIB = 0x4
IN_NONBLOCK, IN_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC

LIBC = ctypes.CDLL(None, use_errno=True)


class Uevents:
    """The kernel's events since it was made, as (action, sysname, subsystem)."""

    def __init__(self):
        self.events = []
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK,
                                    NETLINK_KOBJECT_UEVENT)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.socket.bind((0, 1))
        self.source = GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, self.socket.fileno(),
                                            GLib.IOCondition.IN, self._on_readable)

    def _on_readable(self, *_):
        while True:
            try:
                data = self.socket.recv(65536)
            except BlockingIOError:
                return GLib.SOURCE_CONTINUE
            fields = dict(part.split("=", 1) for part in data.decode(errors="replace").split("\0") if "=" in part)
            self.events.append((fields.get("ACTION"), os.path.basename(fields.get("DEVPATH", "")),
                                fields.get("SUBSYSTEM")))

    def mark(self):
        return len(self.events)

    def of(self, name, mark=0):
        """The actions reported for `name` since `mark`, in order."""
        return [action for action, sysname, _ in self.events[mark:] if sysname == name]

    def close(self):
        GLib.source_remove(self.source)
        self.socket.close()


class Attributes:
    """Watches a file's attributes: `changes` is a list of (time, mode) as seen at each event."""

    def __init__(self, path):
        self.path = path
        self.changes = []
        self.descriptor = LIBC.inotify_init1(IN_NONBLOCK | IN_CLOEXEC)
        if self.descriptor < 0 or LIBC.inotify_add_watch(self.descriptor, path.encode(), IN_ATTRIB) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        self.source = GLib.unix_fd_add_full(GLib.PRIORITY_HIGH, self.descriptor, GLib.IOCondition.IN,
                                            self._on_readable)

    def _on_readable(self, *_):
        data = os.read(self.descriptor, 65536)
        now = time.monotonic()
        count, offset = 0, 0
        while offset < len(data):
            offset += 16 + struct.unpack_from("iIII", data, offset)[3]
            count += 1
        bits = os.stat(self.path).st_mode & 0o7777
        self.changes += [(now, bits)] * count
        return GLib.SOURCE_CONTINUE

    def close(self):
        GLib.source_remove(self.source)
        os.close(self.descriptor)
