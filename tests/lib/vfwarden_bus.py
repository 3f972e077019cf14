"""A D-Bus client of vfwarden for tests. It knows the contract's names and nothing of how the daemon is made, so it
serves the integration tests and the scenarios inside the emulated machine alike: standard library and Gio only.

Everything runs in the caller's thread and main context. A call is sent asynchronously and the context is iterated until
the reply is there. So stand-ins in the same process (polkit) can answer meanwhile, and signals are recorded in the
order in which the bus sent them."""

import time

from gi.repository import Gio, GLib

from pace import DEADLINE, SCALE as DEADLINE_SCALE

NAME = "org.vfwarden1"
ROOT = "/org/vfwarden1"
PREFIX = NAME + "."    # of vfwarden's own interfaces; D-Bus's are on every object and say nothing
MANAGER = "org.vfwarden1.Manager"
FUNCTION = "org.vfwarden1.Function"
PHYSICAL = "org.vfwarden1.PhysicalFunction"
VIRTUAL = "org.vfwarden1.VirtualFunction"
ZPCI = "org.vfwarden1.Zpci"
LOG_CONTROL = "org.freedesktop.LogControl1"
LOG_CONTROL_PATH = "/org/freedesktop/LogControl1"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
PROPERTIES = "org.freedesktop.DBus.Properties"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
PEER = "org.freedesktop.DBus.Peer"

NO_SUCH_FUNCTION = "org.vfwarden1.Error.NoSuchFunction"
REFUSED = "org.vfwarden1.Error.Refused"
BUSY = "org.vfwarden1.Error.Busy"
TIMEOUT = "org.vfwarden1.Error.Timeout"
NOT_SUPPORTED = "org.vfwarden1.Error.NotSupported"
FAILED = "org.vfwarden1.Error.Failed"
GONE = "org.vfwarden1.Error.Gone"
INVALID_ARGS = "org.freedesktop.DBus.Error.InvalidArgs"
ACCESS_DENIED = "org.freedesktop.DBus.Error.AccessDenied"
LIMITS_EXCEEDED = "org.freedesktop.DBus.Error.LimitsExceeded"



class BusError(Exception):
    """An error reply: `name` as it went over the bus, `message` for people."""

    def __init__(self, name, message):
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message

    @classmethod
    def from_glib(cls, error):
        name = Gio.DBusError.get_remote_error(error)
        if name is None:
            return cls("local", error.message)
        message = error.message
        prefix = f"GDBus.Error:{name}: "
        return cls(name, message[len(prefix):] if message.startswith(prefix) else message)


class DeadlineMissed(AssertionError):
    """Something that had to come about did not, in time."""


def wait_until(predicate, deadline=None, what="a condition"):
    """Iterates the default main context until `predicate()` is true and returns its value.

    Looked at after each event of that context, and again and again for what no event reports: soon at first, five times a
    second later. `deadline` is in seconds, already scaled; `what` names the awaited thing in the failure, and may be a
    function."""
    context = GLib.MainContext.default()
    begun = time.monotonic()
    end = begun + (DEADLINE if deadline is None else deadline)
    while True:
        value = predicate()
        if value:
            return value
        now = time.monotonic()
        if now >= end:
            raise DeadlineMissed(f"waited in vain for {what() if callable(what) else what}")
        timer = GLib.timeout_source_new(int(1000 * min(end - now, 0.2, 0.01 + (now - begun) / 4)) + 1)
        timer.set_callback(lambda *_: GLib.SOURCE_REMOVE)
        timer.attach(context)
        try:
            context.iteration(True)
        finally:
            timer.destroy()


def drain():
    """Dispatches what is already there."""
    context = GLib.MainContext.default()
    while context.iteration(False):
        pass


def encode(text):
    """One object path element, as sd_bus_path_encode() makes it."""
    if not text:
        return "_"
    out = []
    for i, byte in enumerate(text.encode()):
        char = chr(byte)
        if char.isascii() and (char.isalpha() or (i > 0 and char.isdigit())):
            out.append(char)
        else:
            out.append(f"_{byte:02x}")
    return "".join(out)


def function_path(address):
    return f"{ROOT}/function/{encode(address)}"


def boolean_options(options):
    return {name: value if isinstance(value, GLib.Variant) else GLib.Variant("b", value)
            for name, value in options.items()}


class Call:
    """A pending method call. `done` says whether the reply came; result() waits for it."""

    def __init__(self, what):
        self.what = what
        self.done = False
        self.error = None
        self.value = None
        self.finished = None
        self.fds = []
        self.on_done = lambda: None     # called when the reply comes, among the signals in their order

    def result(self, deadline=None):
        wait_until(lambda: self.done, deadline, f"the reply to {self.what}")
        if self.error is not None:
            raise self.error
        return self.value


class Bus:
    """One connection. `address` None means the system bus."""

    def __init__(self, address=None):
        if address is None:
            address = Gio.dbus_address_get_for_bus_sync(Gio.BusType.SYSTEM, None)
        self.connection = Gio.DBusConnection.new_for_address_sync(
            address,
            Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT
            | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION,
            None, None)
        self.connection.set_exit_on_close(False)
        self.unique_name = self.connection.get_unique_name()

    def close(self):
        if not self.connection.is_closed():
            self.connection.close_sync(None)

    def forge(self, destination, path, interface, signal, signature, *args):
        """Sends a signal to the owner of a name alone, as any user may; returns when the bus has passed it on."""
        self.connection.emit_signal(self.name_owner(destination), path, interface, signal, GLib.Variant(signature, args))
        self.connection.flush_sync()
        self.name_owner(NAME)   # the bus answers in the order in which it reads

    def start_call(self, path, interface, method, signature="()", args=(), destination=NAME,
                   timeout=None, interactive=False, with_fds=False, fds=()):
        """Sends a call and returns a Call at once. `timeout` in seconds. `with_fds`: the reply's descriptors
        are put into the Call's `fds`. `fds`: descriptors that go along, for arguments of type h."""
        call = Call(f"{interface}.{method} on {path}")

        def on_reply(connection, result):
            try:
                if with_fds:
                    value, fds = connection.call_with_unix_fd_list_finish(result)
                    call.fds = fds.steal_fds() if fds else []
                else:
                    value = connection.call_finish(result)
                call.value = value.unpack()
            except GLib.Error as error:
                call.error = BusError.from_glib(error)
            call.finished = time.monotonic()
            call.done = True
            call.on_done()

        flags = Gio.DBusCallFlags.NO_AUTO_START
        if interactive:
            flags |= Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION
        arguments = (destination, path, interface, method, GLib.Variant(signature, tuple(args)), None,
                     flags, int(1000 * (timeout or 60 * DEADLINE_SCALE)))
        if with_fds:
            sent = Gio.UnixFDList.new()
            for fd in fds:
                sent.append(fd)
            self.connection.call_with_unix_fd_list(*arguments, sent, None, on_reply)
        else:
            self.connection.call(*arguments, None, on_reply)
        return call

    def call(self, path, interface, method, signature="()", args=(), **kwargs):
        """Calls and returns the reply's arguments as a tuple; raises BusError."""
        return self.start_call(path, interface, method, signature, args, **kwargs).result(
            60 * DEADLINE_SCALE)

    def name_owner(self, name=NAME):
        try:
            return self.call("/org/freedesktop/DBus", "org.freedesktop.DBus", "GetNameOwner",
                             "(s)", (name,), destination="org.freedesktop.DBus")[0]
        except BusError as error:
            if error.name == "org.freedesktop.DBus.Error.NameHasNoOwner":
                return None
            raise


class Signal:
    """One received signal."""

    def __init__(self, path, interface, member, args):
        self.path = path
        self.interface = interface
        self.member = member
        self.args = args

    def __repr__(self):
        return f"{self.member}{self.args!r} from {self.path}"


class Recorder:
    """All signals of vfwarden since it was made, in order, in `signals`."""

    def __init__(self, bus):
        self.signals = []
        self.listeners = []
        self._connection = bus.connection
        self._subscription = bus.connection.signal_subscribe(
            None, None, None, None, None, Gio.DBusSignalFlags.NONE, self._on_signal)

    def close(self):
        if self._subscription:
            self._connection.signal_unsubscribe(self._subscription)
            self._subscription = 0

    def _on_signal(self, _connection, _sender, path, interface, member, parameters, *_):
        if path != ROOT and not path.startswith(ROOT + "/"):
            return
        signal = Signal(path, interface, member, parameters.unpack())
        self.signals.append(signal)
        for listener in self.listeners:
            listener(signal)

    def mark(self):
        """Where the record stands now; for `since`."""
        return len(self.signals)

    def since(self, mark=0, member=None, path=None):
        return [s for s in self.signals[mark:]
                if member in (None, s.member) and path in (None, s.path)]

    def wait_for(self, member, match=None, mark=0, deadline=None, what=None):
        """The first signal `member` since `mark` for which match(signal) holds."""
        def found():
            for signal in self.signals[mark:]:
                if signal.member == member and (match is None or match(signal)):
                    return signal
            return None
        return wait_until(found, deadline, lambda: (what or f"signal {member}")
                          + f"; came: {self.signals[mark:]}")


class Client:
    """vfwarden as a client sees it."""

    def __init__(self, address=None):
        self.bus = Bus(address)
        self.recorder = Recorder(self.bus)

    def close(self):
        self.recorder.close()
        self.bus.close()

    # --- plain D-Bus

    def get(self, path, interface, name):
        return self.bus.call(path, PROPERTIES, "Get", "(ss)", (interface, name))[0]

    def get_all(self, path, interface):
        return self.bus.call(path, PROPERTIES, "GetAll", "(s)", (interface,))[0]

    def set(self, path, interface, name, variant):
        self.bus.call(path, PROPERTIES, "Set", "(ssv)", (interface, name, variant))

    def managed_objects(self):
        """path -> interface -> property -> value, of vfwarden's own interfaces."""
        objects = self.bus.call(ROOT, OBJECT_MANAGER, "GetManagedObjects")[0]
        return {path: {name: properties for name, properties in interfaces.items()
                       if name.startswith(PREFIX)}
                for path, interfaces in objects.items() if path != ROOT}

    def introspect(self, path):
        return self.bus.call(path, INTROSPECTABLE, "Introspect")[0]

    def ping(self):
        self.bus.call(ROOT, PEER, "Ping")

    # --- the manager

    def wait_users_known(self, deadline=None):
        """The daemon is ready before it has looked at all processes for the first time."""
        wait_until(lambda: not any(user.get("unknown") for user in self.manager("DescribeUsers", "(s)", "")),
                   deadline, "the users to be known")

    def manager(self, method, signature="()", *args, **kwargs):
        reply = self.bus.call(ROOT, MANAGER, method, signature, args, **kwargs)
        return reply[0] if len(reply) == 1 else reply

    def manager_property(self, name):
        return self.get(ROOT, MANAGER, name)

    def list_functions(self):
        """address -> (kind, driver, in use, path), in the order of the reply."""
        return {row[0]: tuple(row[1:]) for row in self.manager("ListFunctions")}

    # --- a function

    def function(self, address, name=None, interface=FUNCTION):
        """One property, or all over all interfaces in one dict."""
        path = function_path(address)
        if name is not None:
            return self.get(path, interface, name)
        flat = {}
        for properties in self.managed_objects().get(path, {}).values():
            flat.update(properties)
        return flat

    def start_function_call(self, address, method, signature="()", *args, **kwargs):
        return self.bus.start_call(function_path(address), FUNCTION, method, signature, args,
                                   **kwargs)

    def start_bind(self, address, driver):
        return self.start_function_call(address, "Bind", "(s)", driver)

    def start_set_num_vfs(self, address, count, **options):
        """options: override=True, and so on."""
        return self.bus.start_call(function_path(address), PHYSICAL, "SetNumVFs", "(qa{sv})",
                                   (count, boolean_options(options)))

    def start_set_drivers_autoprobe(self, address, enable):
        return self.bus.start_call(function_path(address), PHYSICAL, "SetDriversAutoprobe", "(b)",
                                   (enable,))

    def start_unplug(self, address, timeout, **options):
        """`timeout` in seconds."""
        return self.start_function_call(address, "Unplug", "(ta{sv})", int(timeout * 1000000),
                                        boolean_options(options))

    def cancel_unplug(self, address):
        self.bus.call(function_path(address), FUNCTION, "CancelUnplug")

    def check(self, address, operation):
        """(allowed, blockers, warnings)"""
        return self.manager("Check", "(ss)", address, operation)

    def inhibit(self, address, what, who="test", why=""):
        """Returns the descriptor, which is the caller's to close."""
        call = self.start_inhibit(address, what, who, why)
        call.result()
        return call.fds[0]

    def delay(self, address, what, who="test", why="", mode="delay"):
        """An inhibitor by InhibitWithOptions(); the descriptor is the caller's to close."""
        call = self.bus.start_call(ROOT, MANAGER, "InhibitWithOptions", "(ssssa{sv})",
                                   (address, what, who, why, {"mode": GLib.Variant("s", mode)}), with_fds=True)
        call.result()
        return call.fds[0]

    def start_inhibit(self, address, what, who="test", why=""):
        return self.bus.start_call(ROOT, MANAGER, "Inhibit", "(ssss)", (address, what, who, why),
                                   with_fds=True)

    def inhibit_many(self, addresses, what, who="test", why="", **options):
        """Returns the descriptor, which is the caller's to close, the blockers, and the number of others."""
        call = self.bus.start_call(ROOT, MANAGER, "InhibitMany", "(assssa{sv})",
                                   (addresses, what, who, why,
                                    {name: GLib.Variant("s", value) for name, value in options.items()}),
                                   with_fds=True)
        _, blockers, more = call.result()
        return call.fds[0], blockers, more

    def lock(self, address, why="test", **kwargs):
        self.bus.call(function_path(address), FUNCTION, "Lock", "(s)", (why,), **kwargs)

    def unlock(self, address, **kwargs):
        self.bus.call(function_path(address), FUNCTION, "Unlock", **kwargs)
