"""A stand-in for systemd's manager, which has scopes."""

import os
import signal
import threading

from gi.repository import Gio, GLib

from main_loop import quit_loop

SYSTEMD = "org.freedesktop.systemd1"
SYSTEMD_XML = """
<node>
 <interface name="org.freedesktop.systemd1.Manager">
  <method name="StartTransientUnit">
   <arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="a(sv)" direction="in"/>
   <arg type="a(sa(sv))" direction="in"/><arg type="o" direction="out"/>
  </method>
  <method name="StopUnit">
   <arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="o" direction="out"/>
  </method>
 </interface>
</node>
"""


class Systemd:
    """Has scopes, by name, which end with their process, and ends the processes of one that is stopped. In the directory
    `units` it tells which unit a process is in, see systemd.c."""

    def __init__(self, bus, units):
        self._scopes = {}
        self._units = units
        self.result = "done"
        self.jobs = 0
        self.connection = bus.connect()
        self._context = GLib.MainContext()
        self._loop = GLib.MainLoop(self._context)
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,))
        self._thread.start()
        ready.wait()

    def _run(self, ready):
        self._context.push_thread_default()
        interface = Gio.DBusNodeInfo.new_for_xml(SYSTEMD_XML).interfaces[0]
        self.connection.register_object("/org/freedesktop/systemd1", interface, self._on_call, None, None)
        self.connection.call_sync("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                  "RequestName", GLib.Variant("(su)", (SYSTEMD, 4)), None,
                                  Gio.DBusCallFlags.NONE, -1, None)
        ready.set()
        self._loop.run()
        self._context.pop_thread_default()

    def _on_call(self, _connection, _sender, path, interface, method, parameters, invocation):
        name, _, *rest = parameters.unpack()
        if method == "StartTransientUnit" and name in self.scopes:
            invocation.return_dbus_error(f"{SYSTEMD}.UnitExists", f"Unit {name} already exists.")
            return
        if method == "StopUnit" and name not in self.scopes:
            invocation.return_dbus_error(f"{SYSTEMD}.NoSuchUnit", f"Unit {name} not loaded.")
            return
        self.jobs += 1
        job = f"/org/freedesktop/systemd1/job/{self.jobs}"
        if method == "StopUnit":
            self.end(name)
        elif self.result == "done":
            self._scopes[name] = dict(rest[0])
            self.tell_unit(self.pid(name), name)
        # One that was there before the answer, of another job, and this one's after it.
        for of, result in ((job + "0", "failed"), (job, self.result)):
            if of == job:
                invocation.return_value(GLib.Variant("(o)", (job,)))
            if result is None:      # it takes for ever
                return
            self.connection.emit_signal(None, path, interface, "JobRemoved",
                                        GLib.Variant("(uoss)", (1, of, name, result)))

    @property
    def scopes(self):
        return {name: told for name, told in self._scopes.items() if os.path.exists(f"/proc/{told['PIDs'][0]}")}

    def pid(self, name):
        pid, = self._scopes[name]["PIDs"]
        return pid

    def tell_unit(self, pid, unit):
        os.symlink(unit, os.path.join(self._units, str(pid)))

    def end(self, name):
        pid = self.pid(name)
        del self._scopes[name]
        os.unlink(os.path.join(self._units, str(pid)))
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass

    def close(self):
        for name in list(self.scopes):
            self.end(name)
        if not self.connection.is_closed():
            self.connection.close_sync(None)
        quit_loop(self._loop)
        self._thread.join()
