"""What the tests of the command stand on: a private bus, a daemon that answers as the test orders, and a
way to run the command on a pipe or on a terminal.

The stand-in is no model of vfwardend. A test gives it the inventory and decides what each call
answers, so that the command meets every error and every hostile string there can be. It lives in a
thread of this process."""

import json
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

import gi
gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

from main_loop import quit_loop  # noqa: E402
from pace import DEADLINE, SCALE  # noqa: E402
from private_bus import Bus, NAME  # noqa: E402
from terminal import Terminal  # noqa: E402

ROOT = "/org/vfwarden1"
MANAGER = "org.vfwarden1.Manager"
FUNCTION = "org.vfwarden1.Function"
PHYSICAL = "org.vfwarden1.PhysicalFunction"
VIRTUAL = "org.vfwarden1.VirtualFunction"
ZPCI_IO = "org.vfwarden1.ZpciIo"
STATISTICS = "org.vfwarden1.Statistics"

# How long the command waits for an answer where a test lets it wait in vain; an answer that is given
# has to come within it.
SHORT_SECONDS = 1.0 * SCALE
SHORT_TIMEOUT = f"{int(1000 * SHORT_SECONDS)}ms"

XML = """
<node>
 <interface name="org.vfwarden1.Manager">
  <method name="GetFunction">
   <arg name="address" type="s" direction="in"/><arg name="path" type="o" direction="out"/>
  </method>
  <method name="Describe"><arg name="document" type="s" direction="out"/></method>
  <method name="Check">
   <arg name="address" type="s" direction="in"/><arg name="operation" type="s" direction="in"/>
   <arg name="allowed" type="b" direction="out"/>
   <arg name="blockers" type="a(sssu)" direction="out"/>
   <arg name="warnings" type="as" direction="out"/>
  </method>
  <method name="DescribeUsers">
   <arg name="address" type="s" direction="in"/><arg name="users" type="aa{sv}" direction="out"/>
  </method>
  <method name="ListInhibitors">
   <arg name="inhibitors" type="a(ssssuu)" direction="out"/>
  </method>
  <method name="Inhibit">
   <arg name="address" type="s" direction="in"/><arg name="what" type="s" direction="in"/>
   <arg name="who" type="s" direction="in"/><arg name="why" type="s" direction="in"/>
   <arg name="descriptor" type="h" direction="out"/>
  </method>
  <method name="InhibitMany">
   <arg name="addresses" type="as" direction="in"/><arg name="what" type="s" direction="in"/>
   <arg name="who" type="s" direction="in"/><arg name="why" type="s" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="descriptor" type="h" direction="out"/>
   <arg name="blockers" type="a(ssssu)" direction="out"/><arg name="more" type="u" direction="out"/>
  </method>
  <method name="InhibitWithOptions">
   <arg name="address" type="s" direction="in"/><arg name="what" type="s" direction="in"/>
   <arg name="who" type="s" direction="in"/><arg name="why" type="s" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="descriptor" type="h" direction="out"/>
  </method>
  <method name="DescribeInhibitors">
   <arg name="inhibitors" type="aa{sv}" direction="out"/>
  </method>
  <method name="ReleaseAll"><arg name="files" type="as" direction="out"/></method>
  <method name="Reload"/>
 </interface>
 <interface name="org.vfwarden1.Function">
  <method name="Lock"><arg name="why" type="s" direction="in"/></method>
  <method name="Unlock"/>
  <method name="Bind"><arg name="driver" type="s" direction="in"/></method>
  <method name="Unbind"/>
  <method name="Reset"/>
  <method name="BindWithOptions">
   <arg name="driver" type="s" direction="in"/><arg name="options" type="a{sv}" direction="in"/>
  </method>
  <method name="UnbindWithOptions"><arg name="options" type="a{sv}" direction="in"/></method>
  <method name="ResetWithOptions"><arg name="options" type="a{sv}" direction="in"/></method>
  <method name="Unplug">
   <arg name="timeout_usec" type="t" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
  </method>
  <method name="CancelUnplug"/>
  <method name="RefuseUnplug"><arg name="why" type="s" direction="in"/></method>
 </interface>
 <interface name="org.vfwarden1.PhysicalFunction">
  <method name="SetNumVFs">
   <arg name="count" type="q" direction="in"/><arg name="options" type="a{sv}" direction="in"/>
  </method>
  <method name="SetDriversAutoprobe"><arg name="enable" type="b" direction="in"/></method>
 </interface>
 <interface name="org.vfwarden1.Statistics">
  <method name="DescribeFunctions"><arg name="functions" type="aa{sv}" direction="out"/></method>
  <property name="StartedUsec" type="t" access="read"/>
  <property name="Violations" type="a{st}" access="read"/>
  <property name="Operations" type="a(sstt)" access="read"/>
  <property name="Unplugs" type="a(stt)" access="read"/>
  <property name="Sessions" type="u" access="read"/>
  <property name="LoopBusyUsec" type="t" access="read"/>
 </interface>
 <interface name="org.vfwarden1.ZpciIo">
  <method name="OpenSession">
   <arg name="options" type="a{sv}" direction="in"/><arg name="socket" type="h" direction="out"/>
   <arg name="facts" type="a{sv}" direction="out"/>
  </method>
 </interface>
</node>
"""


class DBusError(Exception):
    def __init__(self, name, message):
        super().__init__(name, message)
        self.name = name
        self.message = message


def encode(address):
    """sd_bus_path_encode() of an address below the functions' path."""
    def escape(character):
        return f"_{ord(character):02x}"
    label = re.sub("[^A-Za-z0-9]", lambda m: escape(m.group()), address)
    if label[0].isdigit():
        label = escape(label[0]) + label[1:]
    return f"{ROOT}/function/{label}"


class Daemon:
    """The stand-in. `answers` maps a method to a function of its arguments that returns the reply's
    arguments or raises DBusError; `calls` has what was called, with the flags that went along."""

    def __init__(self, bus, document, own_name=True, sessions=True, statistics=None):
        self.document = document
        self.answers = {}
        self.calls = []
        self.clients = []
        self.users = []
        self.activity = []
        self.inhibitors = []
        self.modes = []
        self.verdicts = {}
        self.inhibited = []
        self.more = 0
        self.connection = bus.connect()
        self._own_name = own_name
        self._sessions = sessions
        self._statistics = statistics
        self._context = GLib.MainContext()
        self._loop = GLib.MainLoop(self._context)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._ready.wait()

    def _run(self):
        self._context.push_thread_default()
        node = Gio.DBusNodeInfo.new_for_xml(XML)
        paths = [(ROOT, MANAGER)] + [(encode(f["Address"]), FUNCTION)
                                     for f in self.document.get("Functions", [])]
        paths += [(encode(f["Address"]), PHYSICAL) for f in self.document.get("Functions", [])
                  if f.get("Kind") == "pf"]
        paths += [(encode(f["Address"]), ZPCI_IO) for f in self.document.get("Functions", [])
                  if self._sessions]
        for path, interface in paths:
            self.connection.register_object(path, node.lookup_interface(interface), self._on_call,
                                            None, None)
        if self._statistics is not None:
            self.connection.register_object(
                ROOT, node.lookup_interface(STATISTICS), self._on_call,
                lambda _connection, _sender, _path, _interface, name: self._statistics[name], None)
        try:
            if self._own_name:
                self.request_name()
        finally:
            self._ready.set()
        self._loop.run()
        self._context.pop_thread_default()

    def request_name(self):
        reply = self.connection.call_sync(
            "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName",
            GLib.Variant("(su)", (NAME, 4)), None, Gio.DBusCallFlags.NONE, -1, None)
        assert reply.unpack() == (1,)

    def _on_call(self, _connection, sender, path, _interface, method, parameters, invocation):
        flags = invocation.get_message().get_flags()
        interactive = bool(flags & Gio.DBusMessageFlags.ALLOW_INTERACTIVE_AUTHORIZATION)
        self.calls.append((method, path, parameters.unpack(), interactive))
        self.clients.append(sender)
        self._message = invocation.get_message()
        self._invocation = invocation
        answer = self.answers.get(method) or getattr(self, f"_{method}", lambda *_: None)
        try:
            reply = answer(*parameters.unpack())
        except DBusError as error:
            invocation.return_dbus_error(error.name, error.message)
            return
        if reply is not self.NO_REPLY:
            invocation.return_value(reply)

    NO_REPLY = object()

    def later(self):
        """Puts the answer off; return NO_REPLY then, and call what this returned: with nothing when it
        is done, with a DBusError when it is not."""
        invocation = self._invocation

        def answer(error=None):
            if error:
                invocation.return_dbus_error(error.name, error.message)
            else:
                invocation.return_value(None)
        return answer

    def reply_raw(self, body):
        """Answers the call that is being answered with any body; return NO_REPLY then."""
        reply = Gio.DBusMessage.new_method_reply(self._message)
        reply.set_body(body)
        self.connection.send_message(reply, Gio.DBusSendMessageFlags.NONE)

    def _Describe(self):
        text = self.document if isinstance(self.document, str) else json.dumps(self.document)
        return GLib.Variant("(s)", (text,))

    def _GetFunction(self, address):
        if not self.function(address):
            raise DBusError("org.vfwarden1.Error.NoSuchFunction",
                            f"There is no PCI function {address}")
        return GLib.Variant("(o)", (encode(address),))

    def _DescribeUsers(self, address):
        """`users` has tuples of address, pid, uid, command, unit, and perhaps machine, since and socket-pid."""
        if address:
            self._GetFunction(address)
        names = ("address", "pid", "uid", "command", "unit", "machine", "since", "socket-pid")
        dictionaries = [
            {name: GLib.Variant(kind, value) for name, kind, value in zip(names, "suusss" + "tu", user)}
            for user in self.users if address in ("", user[0])]
        return GLib.Variant("(aa{sv})", (dictionaries,))

    def _DescribeFunctions(self):
        """`activity` has the members of each function; its numbers are of type t, but for pid and uid."""
        kinds = {"address": "s", "session-pid": "u", "session-uid": "u"}
        return GLib.Variant("(aa{sv})", ([
            {name: GLib.Variant(kinds.get(name, "t"), value) for name, value in row.items()} for row in self.activity],))

    def _ListInhibitors(self):
        return GLib.Variant("(a(ssssuu))", (self.inhibitors,))

    def _DescribeInhibitors(self):
        """`modes` has the mode of each of `inhibitors`; without it the daemon is an older one, as by default."""
        if not self.modes:
            raise DBusError("org.freedesktop.DBus.Error.UnknownMethod", "an older daemon")
        names = ("address", "what", "who", "why", "uid", "pid", "mode")
        return GLib.Variant("(aa{sv})", ([
            {name: GLib.Variant(kind, value) for name, kind, value in zip(names, "ssssuus", (*inhibitor, mode))}
            for inhibitor, mode in zip(self.inhibitors, self.modes)],))

    def _InhibitWithOptions(self, address, *_):
        return self._Inhibit(address)

    def _Check(self, address, operation):
        """`verdicts` has blockers and warnings by operation; None is one that this kind has not."""
        self._GetFunction(address)
        verdict = self.verdicts.get(operation, ([], []))
        if verdict is None:
            raise DBusError("org.vfwarden1.Error.NotSupported", "not for this kind")
        return GLib.Variant("(ba(sssu)as)", (not verdict[0], *verdict))

    def _Inhibit(self, address, *_):
        """`inhibited` gets the other end, which tells when the last copy is closed."""
        self._GetFunction(address)
        ours, theirs = os.pipe()
        descriptors = Gio.UnixFDList.new_from_array([theirs])  # which closes it
        self.inhibited.append(ours)
        self._invocation.return_value_with_unix_fd_list(GLib.Variant("(h)", (0,)), descriptors)
        return self.NO_REPLY

    def _InhibitMany(self, addresses, _what, _who, _why, options):
        """The blockers are those of `verdicts` and `inhibitors`; `more` says how many others there are."""
        blockers = []
        for address in addresses:
            self._GetFunction(address)
            found = list(self.verdicts.get(options.get("check"), ([], []))[0])
            found += [("inhibitor", row[2], "inhibits it", row[5]) for row in self.inhibitors if row[0] == address]
            blockers += [(address, *blocker) for blocker in found]
        ours, theirs = os.pipe()
        descriptors = Gio.UnixFDList.new_from_array([theirs])  # which closes it
        self.inhibited.append(ours)
        self._invocation.return_value_with_unix_fd_list(
            GLib.Variant("(ha(ssssu)u)", (0, blockers, self.more)), descriptors)
        return self.NO_REPLY

    def function(self, address):
        return next((f for f in self.document["Functions"] if f["Address"] == address), None)

    def emit(self, path, interface, name, signature, arguments, destination=None):
        self.connection.emit_signal(destination, path, interface, name,
                                    GLib.Variant(signature, arguments))
        self.connection.flush_sync()

    def changed(self, address, interface, invalidated=(), **values):
        path = encode(address) if address else ROOT
        self.emit(path, "org.freedesktop.DBus.Properties", "PropertiesChanged", "(sa{sv}as)",
                  (interface, values, list(invalidated)))

    def added(self, address, interfaces):
        self.emit(ROOT, "org.freedesktop.DBus.ObjectManager", "InterfacesAdded", "(oa{sa{sv}})",
                  (encode(address), interfaces))

    def removed(self, address, interfaces):
        self.emit(ROOT, "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved", "(oas)",
                  (encode(address), interfaces))

    def violation(self, address, operation, **details):
        details = {k.replace("_", "-"): v for k, v in details.items()}
        self.emit(ROOT, MANAGER, "Violation", "(ssa{sv})", (address, operation, details))

    def close(self):
        """It dies: calls that wait get the bus's own error."""
        if not self._thread.is_alive():
            return
        if not self.connection.is_closed():
            self.connection.close_sync(None)
        quit_loop(self._loop)
        self._thread.join()
        for descriptor in self.inhibited:
            os.close(descriptor)


class Run:
    """A run of the command that has not ended: monitor. Lines are read as they come."""

    def __init__(self, argv, environment, stdout):
        self.process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=stdout, stderr=subprocess.PIPE)
        self._buffers = {self.process.stdout: b"", self.process.stderr: b""}

    def _take_line(self, stream):
        end = time.monotonic() + DEADLINE
        while b"\n" not in self._buffers[stream]:
            left = end - time.monotonic()
            ready, _, _ = select.select([stream], [], [], max(0, left))
            if not ready:
                raise AssertionError(f"no further line, only {self._buffers[stream]!r}")
            data = os.read(stream.fileno(), 65536)
            if not data:
                raise AssertionError(f"it ended: {self._buffers[stream]!r}")
            self._buffers[stream] += data
        line, self._buffers[stream] = self._buffers[stream].split(b"\n", 1)
        return line.decode()

    def line(self):
        """The next line, without its newline."""
        return self._take_line(self.process.stdout)

    def error_line(self):
        return self._take_line(self.process.stderr)

    def event(self):
        """The next line without its time."""
        line = self.line()
        match = re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  (.*)", line)
        assert match, line
        return match.group(1)

    def end(self):
        """Waits for its own end: exit code and what it said on standard error."""
        code = self.process.wait(DEADLINE)
        error = self.process.stderr.read().decode()
        self.close()
        return code, error

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for file in (self.process.stdout, self.process.stderr):
            if file:
                file.close()


class CommandTest(unittest.TestCase):
    """setUp() makes a bus; daemon() puts a daemon on it; run_command() runs the command."""

    maxDiff = None
    vfwarden = os.environ.get("VFWARDEN", "vfwarden")
    activation = None

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="vfw")
        self.addCleanup(shutil.rmtree, self.directory)
        self.bus = Bus(self.directory, self.activation)
        self.addCleanup(self.bus.close)
        self.environment = {k: v for k, v in os.environ.items()
                            if k not in ("NO_COLOR", "LC_ALL", "LD_PRELOAD")}
        self.environment.update(DBUS_SYSTEM_BUS_ADDRESS=self.bus.address, LC_ALL="C.UTF-8",
                                TERM="xterm", TZ="UTC", SYSTEMD_PAGER="", G_DEBUG="fatal-criticals")

    def start_daemon(self, functions=(), version="0.1.0", enforcement="enforce", problems=None, **options):
        document = {"Version": version, "Enforcement": enforcement, "Functions": list(functions)}
        if problems is not None:        # an older daemon has none
            document["Problems"] = problems
        daemon = Daemon(self.bus, document, **options)
        self.addCleanup(daemon.close)
        return daemon

    def argv(self, arguments):
        wrapper = shlex.split(os.environ.get("VFWARDEN_CLI_WRAPPER", ""))
        return [*wrapper, self.vfwarden, *arguments]

    def run_command(self, *arguments, **options):
        """Exit code, standard output and standard error of a run on pipes."""
        done = subprocess.run(self.argv(arguments), env=self.environment, timeout=DEADLINE,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False, **options)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def run_on_terminal(self, *arguments):
        """What a terminal gets of standard output; the exit code must be 0."""
        leader, follower = pty.openpty()
        with subprocess.Popen(self.argv(arguments), env=self.environment,
                              stdin=subprocess.DEVNULL, stdout=follower) as process:
            os.close(follower)
            text = b""
            try:
                while data := os.read(leader, 65536):
                    text += data
            except OSError:  # EIO: nobody has the other side open any more
                pass
            os.close(leader)
            self.assertEqual(process.wait(DEADLINE), 0)
        return text.decode().replace("\r\n", "\n")

    def terminal(self, *arguments, **options):
        """A run that has standard output on a terminal and is not waited for; for `with`."""
        return Terminal(self.argv(arguments), self.environment, **options)

    def monitor(self, *arguments, stdout=subprocess.PIPE):
        return self.start("monitor", *arguments, stdout=stdout)

    def start(self, *arguments, stdout=subprocess.PIPE):
        """A run that is not waited for."""
        run = Run(self.argv(arguments), self.environment, stdout)
        self.addCleanup(run.close)
        return run

    def check(self, arguments, output="", error="", code=0):
        """Runs on pipes and compares everything a user or a script sees."""
        self.assertEqual(self.run_command(*arguments), (code, output, error))
