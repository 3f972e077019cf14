"""A person's authentication agent of polkit that never answers, and calls that it is to be asked about."""

import os

from gi.repository import Gio, GLib

import vfwarden_bus as vb

PATH = "/org/freedesktop/PolicyKit1/AuthenticationAgent"
XML = """
<node><interface name="org.freedesktop.PolicyKit1.AuthenticationAgent">
  <method name="BeginAuthentication">
    <arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="s" direction="in"/>
    <arg type="a{ss}" direction="in"/><arg type="s" direction="in"/><arg type="a(sa{sv})" direction="in"/>
  </method>
  <method name="CancelAuthentication"><arg type="s" direction="in"/></method>
</interface></node>
"""


def start_time():
    """Of this process, as polkit takes it: the 22nd field of stat, counted from behind the name."""
    with open("/proc/self/stat", encoding="utf-8") as file:
        return int(file.read().rpartition(")")[2].split()[19])


class SilentAgent:
    def __init__(self, client):
        self.client = client
        self.asked = []     # invocations, which have no answer
        self.calls = []
        bus = client.bus
        bus.connection.register_object(PATH, Gio.DBusNodeInfo.new_for_xml(XML).interfaces[0], self._on_call, None, None)
        process = ("unix-process", {"pid": GLib.Variant("u", os.getpid()),
                                    "start-time": GLib.Variant("t", start_time())})
        bus.call("/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.PolicyKit1.Authority",
                 "RegisterAuthenticationAgent", "((sa{sv})ss)", (process, "C", PATH),
                 destination="org.freedesktop.PolicyKit1")

    def _on_call(self, _connection, _sender, _path, _interface, method, _parameters, invocation):
        if method == "BeginAuthentication":
            self.asked.append(invocation)
        else:
            invocation.return_value(None)

    def lock(self, address, count):
        """So many Locks; returns at once."""
        self.calls += [self.client.start_function_call(address, "Lock", "(s)", "silence", interactive=True, timeout=600)
                       for _ in range(count)]

    def state(self):
        """(how often this was asked, the names of the errors that the calls got so far)"""
        self.client.ping()
        vb.drain()
        return len(self.asked), [call.error.name for call in self.calls if call.done]
