"""monitor's own end, and the daemon's: nothing is lost when one of the two goes."""

from standin import (CommandTest, DEADLINE, Daemon, FUNCTION, MANAGER, ROOT, SHORT_TIMEOUT,
                     DBusError)
import pictures
from pictures import IGB, NETWORK, function
from test_monitor import WATCHING, text


class Reader(CommandTest):
    def test_ends_when_nobody_reads(self):
        # No change happens: it has to notice by itself.
        self.start_daemon(pictures.host())
        run = self.monitor()
        run.event()
        run.process.stdout.close()
        code = run.process.wait(DEADLINE)
        self.assertEqual((code, run.process.stderr.read()), (0, b""))

    def test_writes_to_a_file_and_ends_with_the_bus(self):
        daemon = self.start_daemon(pictures.host())
        path = f"{self.directory}/lines"

        def describe():
            daemon.reply_raw(daemon._Describe())
            daemon.emit(ROOT, MANAGER, "Violation", "(u)", (7,))
            return daemon.NO_REPLY
        daemon.answers["Describe"] = describe
        with open(path, "wb") as file:
            run = self.monitor(stdout=file)
        # By then the inventory, which came before it, has been written.
        self.assertIn("A signal Violation of the daemon is not understood", run.error_line())
        self.bus.close()
        self.assertEqual(run.end(), (5, "vfwarden: Cannot reach the system bus: Connection reset by "
                                        "peer\n"))
        with open(path, encoding="utf-8") as file:
            self.assertRegex(file.read(), rf"\A[-0-9:. ]{{23}}  {WATCHING}\n")

    def test_full_disk(self):
        self.start_daemon(pictures.host())
        with open("/dev/full", "wb") as file:
            run = self.monitor(stdout=file)
        self.assertEqual(run.end(), (1, "vfwarden: Cannot write the output: No space left on "
                                        "device\n"))


class DaemonsLife(CommandTest):
    """The daemon goes, comes back, changes its mind meanwhile, and dies at bad moments."""

    def test_is_awaited(self):
        run = self.monitor()
        self.assertEqual(run.event(), "vfwardend     not running")
        self.start_daemon(pictures.host())
        self.assertEqual([run.event(), run.event()], ["vfwardend     started", WATCHING])

    def test_what_changed_while_it_was_away(self):
        daemon = self.start_daemon(pictures.host())
        run = self.monitor()
        self.assertEqual(run.event(), WATCHING)
        daemon.close()
        self.assertEqual(run.event(), "vfwardend     not running")

        functions = pictures.host()[1:]
        functions[0]["Driver"] = "vfio-pci"
        functions.append(function("10000:e2:00.0", "plain", VendorName="", VendorId=0xffff))
        daemon = self.start_daemon(functions, version="0.2.0", enforcement="advise")
        self.assertEqual([run.event() for _ in range(5)], [
            "vfwardend     started",
            "vfwardend     version 0.2.0, enforcement advise, 8 functions",
            f"{NETWORK}  removed", f"{IGB}  Driver: igb -> vfio-pci",
            "10000:e2:00.0  added: plain, 82576 Gigabit Network Connection, no driver"])
        # From here on it is as before.
        daemon.changed(IGB, FUNCTION, Driver=text("vfio-pci"))
        self.assertEqual(run.event(), f"{IGB}  Driver: vfio-pci")

    def test_daemon_that_announces_all_when_it_starts(self):
        daemon = self.start_daemon(pictures.host())
        run = self.monitor()
        run.event()
        daemon.close()
        run.event()

        daemon = Daemon(self.bus, {"Version": "0.1.0", "Enforcement": "enforce",
                                   "Functions": pictures.host()}, own_name=False)
        self.addCleanup(daemon.close)
        daemon.function(IGB)["Driver"] = "other"

        def describe():
            daemon.added(NETWORK, {FUNCTION: {"Driver": text("virtio-pci")}})
            daemon.added(IGB, {FUNCTION: {"Driver": text("other")}})
            return daemon._Describe()
        daemon.answers["Describe"] = describe
        daemon.request_name()
        self.assertEqual([run.event() for _ in range(3)], [
            "vfwardend     started", f"{IGB}  Driver: igb -> other", WATCHING])
        daemon.removed(NETWORK, [FUNCTION])
        self.assertEqual(run.event(), f"{NETWORK}  removed")

    def test_daemon_that_dies_before_it_tells(self):
        daemon = self.start_daemon()

        def die():
            daemon.connection.close_sync(None)
            return daemon.NO_REPLY
        daemon.answers["Describe"] = die
        run = self.monitor()
        self.assertEqual(run.event(), "vfwardend     not running")
        self.start_daemon(pictures.host())
        self.assertEqual([run.event(), run.event()], ["vfwardend     started", WATCHING])

    def test_daemon_that_takes_its_time(self):
        self.environment["SYSTEMD_BUS_TIMEOUT"] = SHORT_TIMEOUT
        daemon = self.start_daemon(pictures.host())
        silence = [daemon.NO_REPLY, daemon.NO_REPLY]
        daemon.answers["Describe"] = lambda: silence.pop() if silence else daemon._Describe()
        self.assertEqual(self.monitor().event(), WATCHING)
        self.assertGreaterEqual(len(daemon.calls), 3)

    def test_daemon_that_does_not_tell(self):
        def fail():
            raise DBusError("org.freedesktop.DBus.Error.AccessDenied", "not to you")
        self.start_daemon().answers["Describe"] = fail
        self.assertEqual(self.monitor().end(),
                         (4, "vfwarden: Cannot load the functions: not to you\n"))

    def test_daemon_that_is_not_understood(self):
        self.start_daemon().document = "[]"
        self.assertEqual(self.monitor().end(), (
            1, "vfwarden: Cannot load the functions: the daemon's answer is not understood: it has "
               "no list of functions\n"))


class StoppedDaemon(CommandTest):
    activation = "/bin/false"

    def test_is_not_started(self):
        run = self.monitor()
        self.assertEqual(run.event(), "vfwardend     not running")
        run.process.terminate()
        self.assertEqual(run.process.stderr.read(), b"")
