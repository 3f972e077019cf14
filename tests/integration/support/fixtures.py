"""What every integration test stands on: a fake sysfs, a private bus, a polkit, the real daemon.

Environment, set by meson:
  VFWARDEND                the daemon's binary
  VFWARDEN                 the command (for tests that need it)
  VFWARDEN_WRAPPER         words to put before the daemon, e.g. "strace -f -o /tmp/trace"
  VFWARDEN_DEADLINE_SCALE  what every deadline is multiplied by
  VFWARDEN_OVERRUN         the library that makes a monitor's buffer overrun (overrun.c)
  VFWARDEN_FAULT_LIBRARY   the library that makes the daemon's looks at the world fail (fault.c)
  VFWARDEN_KERNEL_LIBRARY  the library that hands a worker's writes to the kernel of the tests (kernel.c)
  VFWARDEN_SPAWN           vfwarden-spawn's binary
  VFWARDEN_SPAWN_SERVICE   1: the daemon orders processes from a vfwarden-spawn, and does not fork them itself
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(SOURCE, "tests", "lib"))

import gi  # noqa: E402
gi.require_version("Gio", "2.0")

import vfwarden_bus as vb  # noqa: E402
from vfwarden_bus import DEADLINE, DEADLINE_SCALE, BusError, wait_until  # noqa: E402,F401
from fakebus import OtherUser, Polkit, PrivateBus  # noqa: E402
from fakehost import Host  # noqa: E402
from fakekernel import Kernel  # noqa: E402
from fakepci import Sysfs  # noqa: E402
from fakevfio import VfioNodes  # noqa: E402
from object_picture import Picture  # noqa: E402
from programs import (  # noqa: E402,F401
    adopt_orphans, blocks, children, Daemon, descriptors, Faults, kill_and_wait, NotifySocket, PRELOAD, process,
    sanitizer_library, SANITIZER_REPORT, SpawnService, wait_for_end)

if not os.environ.get("VFWARDEND") or not os.environ.get("VFWARDEN_OVERRUN"):
    sys.exit("VFWARDEND and VFWARDEN_OVERRUN name no daemon to test: run `meson test`")
if os.getuid() != 0:
    sys.exit("these tests need root: they act as root and as somebody else (sudo meson test)")


class DaemonTest(unittest.TestCase):
    """setUp() makes the world, start() the daemon. tearDown() stops it and insists on a clean end:
    exit status 0, no sanitizer report, and a picture kept up by signals that equals the truth."""

    maxDiff = None
    # The address of a function that fence() plays with; tests leave it out of what they compare.
    SENTINEL = "ffff:ff:1f.7"
    # What uname says to the daemon, None for what is true.
    machine = None
    # The bus policy, None for the project's own.
    BUS_POLICY = None
    # Whether vfwarden-spawn starts the processes that open devices or become vfwarden-io; else the daemon does.
    SPAWN_SERVICE = os.environ.get("VFWARDEN_SPAWN_SERVICE") == "1"

    def setUp(self):
        # tmpfs, because like sysfs it gives no inode number twice: the daemon tells a device that was
        # plugged anew by that.
        self.directory = tempfile.mkdtemp(
            prefix="vfw", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        testbed = os.path.join(self.directory, "bed")
        os.mkdir(testbed)
        self.sysfs = Sysfs(testbed)
        self.addCleanup(self.sysfs.close)
        self.host = Host(self.directory)
        self.config_dir = os.path.join(self.directory, "etc")
        self.state_dir = os.path.join(self.directory, "run")
        self.guard_dir = os.path.join(self.directory, "guard")
        os.makedirs(os.path.join(self.config_dir, "vfwarden.conf.d"))
        os.makedirs(self.state_dir)
        os.makedirs(self.guard_dir)
        self.notify = NotifySocket(os.path.join(self.directory, "notify"))
        self.addCleanup(self.notify.close)
        self.bus = PrivateBus(self.directory, self.BUS_POLICY)
        self.addCleanup(self.bus.close)
        self.polkit = None
        self.kernel = None
        self.faults = None
        self.vfio_nodes = None
        self.client = None
        self.picture = None
        self.daemon = None
        self.daemons = []
        self.spawn_service = None
        self._fence = 0
        self._sentinel = None
        self.environment = {}
        self.preload = []   # libraries of a test's own, into the daemon
        self.crash_expected = False

    # --- the daemon

    def configure(self, text, name="vfwarden.conf"):
        with open(os.path.join(self.config_dir, name), "w", encoding="utf-8") as file:
            file.write(text)

    def start_polkit(self, **verdicts):
        """verdicts: configure=True, and so on."""
        self.polkit = Polkit(self.bus.address)
        self.addCleanup(self.polkit.close)
        self.polkit.verdicts = {f"org.vfwarden1.{k.replace('_', '-')}": v
                                for k, v in verdicts.items()}
        return self.polkit

    def start_kernel(self):
        """What the daemon's workers write to sysfs takes effect from now on; before the daemon is started."""
        self.kernel = Kernel(self.sysfs, self.directory)
        self.addCleanup(self.kernel.close)
        return self.kernel

    def start_faults(self):
        """The daemon's looks at the world can be made to fail from now on; before the daemon is started."""
        self.faults = Faults(os.path.join(self.directory, "faults"))
        return self.faults

    def start_vfio(self):
        """/dev/vfio is the test's from now on; before the daemon is started."""
        self.vfio_nodes = VfioNodes(self.sysfs)
        return self.vfio_nodes

    def command_environment(self):
        environment = dict(os.environ)
        environment.update(
            DBUS_SYSTEM_BUS_ADDRESS=self.bus.address,
            UMOCKDEV_DIR=self.sysfs.root,
            VFWARDEN_PROC=self.host.path,
            NOTIFY_SOCKET=self.notify.path,
            G_SLICE="always-malloc", G_DEBUG="fatal-criticals",
        )
        environment.pop("WATCHDOG_USEC", None)
        preload = [os.environ["VFWARDEN_OVERRUN"]] if os.environ.get("VFWARDEN_OVERRUN") else []
        if self.kernel:
            environment["VFWARDEN_KERNEL"] = self.kernel.path
            preload.append(os.environ["VFWARDEN_KERNEL_LIBRARY"])
        if self.faults:
            environment["VFWARDEN_FAULTS"] = self.faults.path
            preload.append(os.environ["VFWARDEN_FAULT_LIBRARY"])
        if self.vfio_nodes:
            preload.append(os.environ["VFWARDEN_VFIO_NODES"])
        if self.machine:
            environment["VFWARDEN_MACHINE"] = self.machine
            preload.append(os.environ["VFWARDEN_UNAME_LIBRARY"])
        preload += self.preload
        preload.append(PRELOAD)
        asan = sanitizer_library(os.environ["VFWARDEND"])
        if asan:
            preload.insert(0, asan)
        environment["LD_PRELOAD"] = ":".join(preload)
        # What was freed is kept for a while, by default 256 MiB of it, which each fork copies.
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:strict_string_checks=1:quarantine_size_mb=8:malloc_context_size=12")
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
        environment.update(self.environment)
        return environment

    def start_spawn_service(self, *options):
        environment = self.command_environment()
        path = os.path.join(self.directory, "spawn")
        self.spawn_service = SpawnService(path, options, environment)
        self.environment["VFWARDEN_SPAWN_SOCKET"] = path
        return self.spawn_service

    def helpers(self, name):
        """Process ids of the processes of that name, those of vfwarden-spawn, too."""
        parents = [self.daemon] + ([self.spawn_service] if self.spawn_service else [])
        return [pid for parent in parents for pid in children(parent.pid, name)]

    def spawn(self, *options):
        """Starts vfwardend and does not wait for anything."""
        if self.SPAWN_SERVICE and not self.spawn_service:
            self.start_spawn_service(*(option for option in options if option.startswith("--io-")))
        argv = shlex.split(os.environ.get("VFWARDEN_WRAPPER", "")) + [
            os.environ["VFWARDEND"], f"--config-dir={self.config_dir}",
            f"--state-dir={self.state_dir}", f"--guard-dir={self.guard_dir}", "--log-target=console", "--log-level=debug", *options]
        self.notify.forget_hung_up()
        self.daemon = Daemon(argv, self.command_environment(), self.notify.store)
        self.daemons.append(self.daemon)
        return self.daemon

    def start(self, *options, picture=True, users_known=True):
        """Starts the daemon, waits until it is READY and the users are known, and listens to it from then on."""
        if self._sentinel is None:
            self._sentinel = self.sysfs.add(self.SENTINEL, group=None, driver="fence-0")
        mark = len(self.notify.messages)
        daemon = self.spawn(*options)
        wait_until(lambda: self.notify.having("READY", mark) or not daemon.running,
                   4 * DEADLINE, "READY=1 of the daemon")
        if not daemon.running:
            self.fail("the daemon ended before it was ready")
        if self.client is None:
            self.client = vb.Client(self.bus.address)
            self.addCleanup(self.client.close)
        if users_known:
            self.client.wait_users_known(4 * DEADLINE)
        if picture:
            self.picture = Picture(self.client)
        return daemon

    def stop(self):
        """SIGTERM; the exit status must be 0."""
        self.daemon.kill(signal.SIGTERM)
        status = self.daemon.wait_exit(2 * DEADLINE)
        self.assertEqual(status, 0, "exit status on SIGTERM")

    def kill(self):
        """kill -9."""
        self.client.recorder.listeners.clear()
        self.picture = None
        self.daemon.kill(signal.SIGKILL)
        self.assertEqual(self.daemon.wait_exit(), -signal.SIGKILL)
        # The bus must have noticed too, or the next one would find the name taken.
        wait_until(lambda: self.client.bus.name_owner() is None, None, "the name to be free")

    def restart(self, **kwargs):
        self.stop()
        self.client.recorder.listeners.clear()
        return self.start(**kwargs)

    def tearDown(self):
        trouble = []
        try:
            if self.daemon and self.daemon.running and self.picture:
                self.fence()
                trouble += self.picture.compare()
        except Exception as error:      # pylint: disable=broad-except
            trouble.append(f"at the end: {error!r}")
        if self.daemon and self.daemon.running:
            self.daemon.kill(signal.SIGTERM)
            try:
                status = self.daemon.wait_exit(2 * DEADLINE)
                if status != 0:
                    trouble.append(f"exit status {status} on SIGTERM")
            except vb.DeadlineMissed as error:
                trouble.append(str(error))
        elif self.daemon and not self.crash_expected and self.daemon.status not in (0, -9):
            trouble.append(f"the daemon ended by itself with status {self.daemon.status}")
        if self.spawn_service:
            trouble += self.spawn_service.end()
        for daemon in self.daemons:
            daemon.close()
            if SANITIZER_REPORT.search(daemon.log):
                trouble.append("a sanitizer reported something")
        if trouble or self._broken():
            for i, daemon in enumerate(self.daemons):
                print(f"--- {self.id()}: log of run {i + 1} (status {daemon.status})\n"
                      + daemon.log + "---", file=sys.stderr)
        if trouble:
            self.fail("\n".join(trouble))

    def _broken(self):
        outcome = self._outcome
        result = getattr(outcome, "result", None)
        errors = list(getattr(outcome, "errors", [])) if not result else [
            *result.errors, *result.failures]
        return any(test is self and info for test, info in errors) or not outcome.success

    # --- waiting and comparing

    def fence(self):
        """Returns once the daemon has dealt with every event sent before and every signal of that
        is recorded: a last event is sent, and its own change awaited."""
        self._fence += 1
        driver = f"fence-{self._fence}"
        self.sysfs.detach_driver(self._sentinel)
        self.sysfs.bind(self._sentinel, driver)
        path = vb.function_path(self.SENTINEL)
        if self.picture:
            wait_until(lambda: self.picture.objects[path][vb.FUNCTION]["Driver"] == driver,
                       None, "the fence")
        else:
            wait_until(lambda: self.client.function(self.SENTINEL, "Driver") == driver, None,
                       "the fence")
        self.client.ping()

    def signals_since(self, mark):
        """Recorded signals behind a fence, without those of the fence itself."""
        self.fence()
        sentinel = vb.function_path(self.SENTINEL)
        return [s for s in self.client.recorder.signals[mark:]
                if s.path != sentinel and s.args[:1] != (sentinel,)]

    def states(self, address, mark):
        """The values that State took since, in order."""
        self.fence()
        return [s.args[1]["State"] for s in self.client.recorder.since(
            mark, "PropertiesChanged", vb.function_path(address))
                if s.args[0] == vb.FUNCTION and "State" in s.args[1]]

    def mark(self):
        return self.client.recorder.mark()

    def wait_property(self, address, name, value, deadline=None):
        """Waits until signals have said so."""
        def look():
            return (self.picture.function(address) or {}).get(name) == value
        wait_until(look, deadline, lambda: f"{address} {name} {value!r}, is "
                   f"{(self.picture.function(address) or {}).get(name)!r}")

    def wait_function(self, address, there=True):
        wait_until(lambda: (self.picture.function(address) is not None) == there, None,
                   f"{address} to {'come' if there else 'go'}")

    def wait_mode(self, function, name, mode, deadline=None):
        wait_until(lambda: function.mode(name) == mode, deadline, lambda: f"mode {mode:04o} of "
                   f"{function.address} {name}, is {function.mode(name):04o}")

    def wait_slot_mode(self, slot, mode, deadline=None):
        wait_until(lambda: self.sysfs.slot_mode(slot) == mode, deadline, lambda: f"mode {mode:04o}"
                   f" of slot {slot}, is {self.sysfs.slot_mode(slot):04o}")

    def assert_bus_error(self, name, function, *args, **kwargs):
        with self.assertRaises(BusError) as caught:
            function(*args, **kwargs)
        self.assertEqual(caught.exception.name, name, caught.exception)
        return caught.exception

    def client_of(self, uid=OtherUser.UID):
        """A client in this process that the bus takes for one of the user `uid`: the bus asks the kernel whose
        the socket was when it was connected."""
        os.seteuid(uid)
        try:
            client = vb.Client(self.bus.address)
        finally:
            os.seteuid(0)
        self.addCleanup(client.close)
        return client

    @contextlib.contextmanager
    def acting_as(self, uid=OtherUser.UID):
        """Within it `self.client` is one of the user `uid`, whom polkit is asked about."""
        client, self.client = self.client, self.client_of(uid)
        try:
            yield
        finally:
            self.client = client

    def as_other_user(self, path, interface, method, signature="()", arguments=()):
        """A call by uid 65534; returns the arguments or raises BusError."""
        process = OtherUser(self.bus.address).start(path, interface, method, signature,
                                                    json.dumps(list(arguments)))
        return self.finish_other_user(process)

    def finish_other_user(self, process):
        # The main loop must run meanwhile: polkit answers from it.
        pidfd = os.pidfd_open(process.pid)
        try:
            wait_for_end(pidfd, 2 * DEADLINE, "the other user's reply")
        except BaseException:
            process.kill()
            raise
        finally:
            os.close(pidfd)
        output, _ = process.communicate()
        reply = json.loads(output)
        if "error" in reply:
            raise BusError(reply["error"], reply["message"])
        return reply["reply"]


def main():
    unittest.main(verbosity=2)


def main_among_own_processes():
    """As main(), in a PID namespace: what processes of other tests have does not matter. PID 1 is a shell, not the test,
    since the daemon takes it for systemd."""
    if os.environ.get("VFWARDEN_OWN_PROCESSES"):
        main()
        return
    os.environ["VFWARDEN_OWN_PROCESSES"] = "1"
    os.execvp("unshare", ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
                          "sh", "-c", '"$0" "$@"; exit $?', sys.executable, *sys.argv])
