"""What a scenario gets: a machine in a clean, known state, a client at the bus that has been listening
since the daemon started, and what it takes to act as root, as somebody else, and from outside.

When a scenario has returned, three things are looked at that hold for all: what the signals told is
what the daemon says now; the daemon is the one that the scenario knows; it logged no error that the
scenario did not expect.
"""

import time

from gi.repository import Gio

from object_picture import Picture
import pace
import vfwarden_bus as vb

from guest import cleaning, events, pci, service
from guest.channel import outside
from guest.check import Failed, equal
from guest.person import Person

LOG_ERR = "3"


def scaled(seconds):
    """A deadline that a scenario gives; None stands for the usual one, which is scaled already."""
    return seconds and seconds * pace.SCALE


class Machine:
    outside = staticmethod(outside)
    run = staticmethod(service.run)

    def __init__(self):
        self.daemon = service.Service()
        self.uevents = events.Uevents()
        self.client = self.picture = self.journal = None
        self.closers = [self.uevents.close]
        self.expected_pid = None
        self.errors_expected = False

    # --- before and after

    def __enter__(self):
        started = time.monotonic()
        cleaning.clean(lambda predicate, what: vb.wait_until(predicate, cleaning.PLUG_SECONDS, what))
        self.journal = service.Journal()
        self.connect()
        print(f"clean after {time.monotonic() - started:.1f} s", flush=True)
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.check_invariants()
        finally:
            for close in reversed(self.closers):
                close()
            if self.client is not None:
                self.client.close()

    def connect(self):
        """A new client, with a new picture, of the daemon that runs now; for after a restart, too."""
        if self.client is not None:
            self.client.close()
        self.client = vb.Client()
        self.name_owners = []
        self.client.bus.connection.signal_subscribe(
            "org.freedesktop.DBus", "org.freedesktop.DBus", "NameOwnerChanged", "/org/freedesktop/DBus",
            vb.NAME, Gio.DBusSignalFlags.NONE, self._on_name_owner)
        self.client.wait_users_known()
        self.picture = Picture(self.client)
        self.expected_pid = self.daemon.pid()

    def _on_name_owner(self, _connection, _sender, _path, _interface, _member, arguments):
        self.name_owners.append(arguments.unpack()[2])

    def wait_daemon(self, there):
        """Until the daemon has its name at the bus, or has lost it, after connect()."""
        vb.wait_until(lambda: self.name_owners and bool(self.name_owners[-1]) == there, scaled(60),
                      f"the daemon to {'come' if there else 'go'}")

    def restart_daemon(self):
        service.systemctl("restart", service.UNIT)
        self.connect()

    def stop_daemon(self):
        """The inventory stays as it was last; connect() makes a new one."""
        self.daemon.stop()
        self.expected_pid = 0

    def start_daemon(self):
        self.daemon.start()
        self.connect()

    def expect_errors(self):
        self.errors_expected = True

    def check_invariants(self):
        equal(self.daemon.pid(), self.expected_pid, "the daemon's process at the end")
        if self.expected_pid:
            differences = self.picture.compare()
            if differences:
                raise Failed("what signals told is not what is:\n" + "\n".join(differences))
        if not self.errors_expected:
            errors = [entry["MESSAGE"] for entry in self.journal.of_daemon(PRIORITY=LOG_ERR)]
            equal(errors, [], "errors that the daemon logged")

    # --- waiting

    def wait(self, predicate, what="a condition", seconds=None):
        """Until `predicate()` holds; looked at after each D-Bus message and uevent, and again and again."""
        return vb.wait_until(predicate, scaled(seconds), what)

    def property(self, function, name):
        """What the signals said of it; None if the function is not known."""
        return (self.picture.function(function.address) or {}).get(name)

    def wait_property(self, function, name, value, seconds=None):
        vb.wait_until(lambda: self.property(function, name) == value, scaled(seconds),
                      lambda: f"{name} of {function} to be {value!r}, is {self.property(function, name)!r}")

    def wait_function(self, function, there=True, seconds=None):
        vb.wait_until(lambda: (self.picture.function(function.address) is not None) == there, scaled(seconds),
                      f"{function} to {'appear' if there else 'go'} over D-Bus")

    def fence(self):
        """Returns when the daemon has dealt with every event that was there before."""
        # It reads uevents before it answers the bus, and so its answer comes after its signals.
        self.client.ping()
        self.client.ping()
        vb.drain()

    def holdings(self):
        """What the daemon holds once the process that reads configuration space for it has had nothing to do for a
        second, and has ended."""
        self.wait(lambda: "vfwarden-config" not in self.daemon.children(),
                  "the end of the process that reads for the daemon")
        self.fence()
        return self.daemon.holdings()

    def mark(self):
        vb.drain()
        return self.client.recorder.mark()

    def violations(self, mark=0):
        """(address, operation, details) of each Violation signal so far."""
        self.fence()
        return [signal.args for signal in self.client.recorder.since(mark, "Violation")]

    def changes_of(self, function, name, mark=0):
        """The values that a property took, as signals told them."""
        path = vb.function_path(function.address)
        return [signal.args[1][name] for signal in self.client.recorder.since(mark, "PropertiesChanged", path)
                if name in signal.args[1]]

    def check_locked(self, function, reasons, closed):
        """Over D-Bus and in sysfs: locked for exactly `reasons`, and exactly `closed` is closed."""
        self.wait_property(function, "ClosedFiles", list(closed))
        equal(self.property(function, "LockReasons"), list(reasons), f"the lock reasons of {function}")
        equal(self.property(function, "Locked"), bool(reasons), f"whether {function} is locked")
        function.check_closed(*closed)

    # --- acting

    def person(self, name="visitor"):
        person = Person(name)
        self.closers.append(person.close)
        return person

    def attributes(self, path):
        watch = events.Attributes(path)
        self.closers.append(watch.close)
        return watch

    def run_as(self, name, *words, **kwargs):
        return service.run("setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups", *words, **kwargs)

    def add_polkit_rule(self, text):
        cleaning.POLKIT_RULES.write_text(text)
        service.systemctl("restart", "polkit.service")

    def unplug(self, function):
        cleaning.unplug(function)

    def plug(self, function):
        """Plugs it in, and returns when its native driver has it."""
        outside("plug", id=pci.ENDPOINTS[function])
        driver = pci.NATIVE_DRIVERS.get(function, "igb")
        self.wait(lambda: function.driver() == driver, f"{function} to be driven by {driver}",
                  cleaning.PLUG_SECONDS)

    def in_other_network_namespace(self, script, **kwargs):
        """Runs a shell script where /sys is that of a network namespace of its own."""
        return service.run("unshare", "--net", "--mount", "sh", "-ec",
                           "mount -t sysfs sysfs /sys\n" + script, **kwargs)
