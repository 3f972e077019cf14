"""Fakes systemd-logind on the bus: Inhibit(), and how long each inhibitor lasts."""

import os
import select

from gi.repository import Gio, GLib

from vfwarden_bus import Bus

XML = """
<node>
  <interface name="org.freedesktop.login1.Manager">
    <method name="Inhibit">
      <arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="s" direction="in"/>
      <arg type="h" direction="out"/>
    </method>
  </interface>
</node>"""


class Logind:
    NAME = "org.freedesktop.login1"

    def __init__(self, address, refuses=False):
        self.refuses = refuses
        self.calls = []         # of (what, who, why, mode)
        self._inhibitors = []   # the reading ends of pipes: one hangs up when its inhibitor is closed
        self.bus = Bus(address)
        manager, = Gio.DBusNodeInfo.new_for_xml(XML).interfaces
        self.bus.connection.register_object("/org/freedesktop/login1", manager, self._on_call, None, None)
        self.bus.call("/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName", "(su)", (self.NAME, 4),
                      destination="org.freedesktop.DBus")

    def close(self):
        if self.bus:
            for fd in self._inhibitors:
                os.close(fd)
            self.bus.close()
        self.bus, self._inhibitors = None, []

    def count(self):
        """How many inhibitors there are."""
        def lasts(fd):
            poll = select.poll()
            poll.register(fd, select.POLLHUP)
            return not poll.poll(0)
        return sum(lasts(fd) for fd in self._inhibitors)

    def _on_call(self, _connection, _sender, _path, _interface, _method, parameters, invocation):
        self.calls.append(parameters.unpack())
        if self.refuses:
            invocation.return_dbus_error("org.freedesktop.DBus.Error.AccessDenied", "not today")
            return
        reading, writing = os.pipe()
        descriptors = Gio.UnixFDList.new_from_array([writing])     # which closes it
        self._inhibitors.append(reading)
        invocation.return_value_with_unix_fd_list(GLib.Variant("(h)", (0,)), descriptors)
