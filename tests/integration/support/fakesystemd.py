"""Fakes systemd's manager on the bus: the properties of the daemon's unit."""

from gi.repository import Gio, GLib

from vfwarden_bus import Bus

XML = """
<node>
  <interface name="org.freedesktop.systemd1.Manager">
    <method name="GetUnitByPID"><arg type="u" direction="in"/><arg type="o" direction="out"/></method>
  </interface>
  <interface name="org.freedesktop.systemd1.Service">
    <property name="FileDescriptorStoreMax" type="u" access="read"/>
    <property name="NRestarts" type="u" access="read"/>
  </interface>
</node>"""


class Systemd:
    NAME = "org.freedesktop.systemd1"
    UNIT = "/org/freedesktop/systemd1/unit/vfwardend_2eservice"

    def __init__(self, address):
        self.fd_store_max = 4096
        self.n_restarts = 0
        self.bus = Bus(address)
        manager, service = Gio.DBusNodeInfo.new_for_xml(XML).interfaces
        self.bus.connection.register_object("/org/freedesktop/systemd1", manager, self._on_call, None, None)
        self.bus.connection.register_object(self.UNIT, service, None, self._on_get, None)
        self.bus.call("/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName", "(su)", (self.NAME, 4),
                      destination="org.freedesktop.DBus")

    def close(self):
        self.bus.close()

    def _on_call(self, _connection, _sender, _path, _interface, _method, _parameters, invocation):
        invocation.return_value(GLib.Variant("(o)", (self.UNIT,)))

    def _on_get(self, _connection, _sender, _path, _interface, name):
        return GLib.Variant("u", self.n_restarts if name == "NRestarts" else self.fd_store_max)
