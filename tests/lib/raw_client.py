"""A D-Bus client that reads what the bus sends it only when ordered: until then all is in its socket."""

import os
import select
import socket
import struct
import time

import gi
gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

import vfwarden_bus as vb  # noqa: E402


class RawClient:
    def __init__(self, address="unix:path=/run/dbus/system_bus_socket", timeout=vb.DEADLINE):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(address.removeprefix("unix:path="))
        identity = str(os.geteuid()).encode().hex()
        self.socket.sendall(b"\0AUTH EXTERNAL " + identity.encode() + b"\r\nNEGOTIATE_UNIX_FD\r\n")
        answer = b""
        while answer.count(b"\r\n") < 2:
            answer += self.socket.recv(4096)
        assert b"AGREE_UNIX_FD" in answer, answer
        self.socket.sendall(b"BEGIN\r\n")
        self._serial = 0
        self._buffer = b""    # what has been read behind the last message
        self.send("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")

    def send(self, destination, path, interface, member, arguments=None):
        message = Gio.DBusMessage.new_method_call(destination, path, interface, member)
        if arguments is not None:
            message.set_body(arguments)
        self._serial += 1
        message.set_serial(self._serial)
        self.socket.sendall(message.to_blob(Gio.DBusCapabilityFlags.UNIX_FD_PASSING))

    def send_body(self, destination, path, interface, member, arguments, body):
        """The bytes `body` in the place of `arguments`, which have the same signature: for calls that are huge."""
        message = Gio.DBusMessage.new_method_call(destination, path, interface, member)
        message.set_body(arguments)
        self._serial += 1
        message.set_serial(self._serial)
        blob = message.to_blob(Gio.DBusCapabilityFlags.UNIX_FD_PASSING)
        fields, = struct.unpack_from("=I", blob, 12)
        start = (16 + fields + 7) // 8 * 8
        self.socket.sendall(blob[:4] + struct.pack("=I", len(body)) + blob[8:start] + body)

    def send_many(self, count, fds, destination, path, interface, member, arguments=None):
        """The same call `count` times, each with copies of the descriptors `fds`; returns the serials."""
        message = Gio.DBusMessage.new_method_call(destination, path, interface, member)
        if arguments is not None:
            message.set_body(arguments)
        if fds:
            message.set_num_unix_fds(len(fds))
            message.set_unix_fd_list(Gio.UnixFDList.new_from_array([os.dup(fd) for fd in fds]))
        serials = range(self._serial + 1, self._serial + 1 + count)
        self._serial += count
        for serial in serials:
            message.set_serial(serial)
            blob = message.to_blob(Gio.DBusCapabilityFlags.UNIX_FD_PASSING)
            if fds:
                sent = socket.send_fds(self.socket, [blob], fds)
                blob = blob[sent:]
            self.socket.sendall(blob)
        return serials

    def read_messages(self):
        """Yields all that comes, as Gio.DBusMessage."""
        while True:
            while len(self._buffer) < 16 or len(self._buffer) < Gio.DBusMessage.bytes_needed(self._buffer):
                data = self.socket.recv(1 << 20)
                assert data
                self._buffer += data
            size = Gio.DBusMessage.bytes_needed(self._buffer)
            blob, self._buffer = self._buffer[:size], self._buffer[size:]
            yield Gio.DBusMessage.new_from_blob(blob, Gio.DBusCapabilityFlags.UNIX_FD_PASSING)

    def keep_reading(self, seconds):
        """Reads all that comes in this time; read_messages() returns it later."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                self._buffer += self.socket.recv(1 << 20)

    def read_replies(self, serials):
        """Reads until all calls with these serials are answered; returns the replies in the order in which they came."""
        left, replies = set(serials), []
        messages = self.read_messages()
        while left:
            message = next(messages)
            if message.get_reply_serial() in left:
                left.remove(message.get_reply_serial())
                replies.append(message)
        return replies

    def open(self, address, kind=None):
        """Function.Open()."""
        options = {"kind": GLib.Variant("s", kind)} if kind else {}
        self.send(vb.NAME, vb.function_path(address), vb.FUNCTION, "Open", GLib.Variant("(a{sv})", (options,)))

    def read_fds(self):
        """Reads until descriptors come."""
        while True:
            data, fds, _, _ = socket.recv_fds(self.socket, 65536, 8)
            assert data
            if fds:
                return fds

    def close(self):
        self.socket.close()
