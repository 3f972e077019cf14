"""lock, unlock, release-all and reload, and how failures of calls are printed."""

import json
import os
import subprocess
import textwrap

from gi.repository import GLib

from standin import CommandTest, DBusError, SHORT_TIMEOUT, encode
from pictures import function

FULL = "0000:01:00.0"


class Lock(CommandTest):
    def start_locking(self, reasons_left=(), closed=("remove", "reset"), **options):
        """A daemon that locks as told; `reasons_left` hold whatever the administrator does."""
        daemon = self.start_daemon([function(FULL, "plain")], **options)
        target = daemon.function(FULL)

        def lock(why):
            target.update(Locked=True, LockReasons=[*reasons_left, "administrator"], LockWhy=why,
                          ClosedFiles=list(closed))

        def unlock():
            target.update(Locked=bool(reasons_left), LockReasons=list(reasons_left), LockWhy="",
                          ClosedFiles=list(closed) if reasons_left else [])
        daemon.answers.update(Lock=lock, Unlock=unlock)
        return daemon

    def test_lock(self):
        daemon = self.start_locking()
        self.check(["lock", "01:00.0", "guest db1"],
                   "0000:01:00.0 is locked, write-protected files: remove, reset\n")
        self.assertEqual([c[:3] for c in daemon.calls], [
            ("GetFunction", "/org/vfwarden1", (FULL,)), ("Lock", encode(FULL), ("guest db1",)),
            ("Describe", "/org/vfwarden1", ())])

    def test_lock_without_a_text(self):
        daemon = self.start_locking()
        self.run_command("lock", FULL)
        self.assertEqual(daemon.calls[1][2], ("",))

    def test_lock_that_closes_nothing(self):
        self.start_locking(closed=(), enforcement="advise")
        self.check(["lock", FULL],
                   "0000:01:00.0 is locked, but vfwardend only advises: no file is write-protected\n")

    def test_lock_of_a_function_without_files(self):
        self.start_locking(closed=())
        self.check(["lock", FULL], "0000:01:00.0 is locked, but it has no file to write-protect\n")

    def test_unlock(self):
        daemon = self.start_locking()
        self.run_command("lock", FULL)
        self.check(["unlock", FULL], "0000:01:00.0 is unlocked\n")
        self.assertIn(("Unlock", encode(FULL), ()), [c[:3] for c in daemon.calls])

    def test_unlock_tells_what_still_locks(self):
        self.start_locking(["userspace-driver", "whim"])
        self.check(["unlock", FULL], textwrap.dedent("""\
            0000:01:00.0 is no longer locked by the administrator, but still by
              userspace-driver: a userspace driver has this function
              whim
            """))

    def test_json(self):
        self.start_locking(["in-use"])
        code, output, error = self.run_command("--json", "lock", FULL, "why")
        self.assertEqual((code, error), (0, ""))
        self.assertEqual(json.loads(output), {
            "Address": FULL, "Locked": True, "LockReasons": ["in-use", "administrator"],
            "LockWhy": "why", "ClosedFiles": ["remove", "reset"]})
        code, output, error = self.run_command("--json", "unlock", FULL)
        self.assertEqual(json.loads(output), {
            "Address": FULL, "Locked": True, "LockReasons": ["in-use"], "LockWhy": "",
            "ClosedFiles": ["remove", "reset"]})

    def test_polkit_may_ask_only_for_what_changes_something(self):
        daemon = self.start_locking()
        daemon.answers.update(ReleaseAll=lambda: GLib.Variant("(as)", ([],)))
        for arguments in (["lock", FULL], ["unlock", FULL], ["release-all"], ["reload"]):
            self.run_command(*arguments)
        self.assertEqual({c[0]: c[3] for c in daemon.calls}, {
            "GetFunction": False, "Describe": False, "Lock": True, "Unlock": True,
            "ReleaseAll": True, "Reload": True})

    def test_no_such_function(self):
        self.start_locking()
        for verb in ("lock", "unlock"):
            self.check([verb, "9:0.0"], code=3, error=f"vfwarden: Cannot {verb} 0000:09:00.0: "
                                                      "There is no PCI function 0000:09:00.0; did you mean 0000:01:00.0?\n")

    def test_function_that_goes_meanwhile(self):
        daemon = self.start_locking()
        daemon.answers["Unlock"] = daemon.document["Functions"].clear
        self.check(["unlock", FULL], code=9, error="vfwarden: Cannot unlock 0000:01:00.0: the "
                                                   "function was removed meanwhile\n")

    def test_picture_that_fails_afterwards(self):
        daemon = self.start_locking()

        def fail():
            raise DBusError("org.vfwarden1.Error.Failed", "no")
        daemon.answers["Describe"] = fail
        self.check(["lock", FULL], code=1, error="vfwarden: 0000:01:00.0 was locked, but it cannot "
                                                 "be shown: no\n")


class ReleaseAll(CommandTest):
    FILES = ["/sys/bus/pci/devices/0000:01:00.0/remove", "/sys/bus/pci/slots/1/power"]

    def start_releasing(self, files):
        daemon = self.start_daemon()
        daemon.answers["ReleaseAll"] = lambda: GLib.Variant("(as)", (files,))

    def test_prints_each_file(self):
        self.start_releasing(self.FILES)
        self.check(["release-all"], "\n".join(self.FILES) + "\n")
        _, output, _ = self.run_command("release-all", "--json")
        self.assertEqual(json.loads(output), self.FILES)

    def test_nothing_to_open(self):
        self.start_releasing([])
        self.check(["release-all"], "No file was write-protected.\n")
        self.check(["release-all", "--no-legend"])
        self.check(["release-all", "--json"], "[]\n")

    def test_answer_of_another_kind(self):
        daemon = self.start_daemon()
        # The stand-in's own library would not let this pass as an answer of ReleaseAll.
        daemon.answers["ReleaseAll"] = lambda: self.misshapen(daemon)
        self.check(["release-all"], code=1,
                   error="vfwarden: Cannot unlock the files: Bad message\n")

    @staticmethod
    def misshapen(daemon):
        daemon.reply_raw(GLib.Variant("(s)", ("/sys",)))
        return daemon.NO_REPLY


class Reload(CommandTest):
    def test_done(self):
        daemon = self.start_daemon()
        self.check(["reload"])
        self.assertEqual([c[0] for c in daemon.calls], ["Reload"])

    def test_bad_configuration(self):
        def fail():
            raise DBusError("org.vfwarden1.Error.Failed",
                            "/etc/vfwarden/vfwarden.conf:3: unknown key \"Enforcment\"\n"
                            "/etc/vfwarden/vfwarden.conf:7: not a word\n")
        self.start_daemon().answers["Reload"] = fail
        self.check(["reload"], code=1, error=textwrap.dedent("""\
            vfwarden: Cannot reload the configuration: /etc/vfwarden/vfwarden.conf:3: unknown key \
            "Enforcment"
                      /etc/vfwarden/vfwarden.conf:7: not a word
            """).replace("key             ", "key "))


class Failures(CommandTest):
    """One exit code for each error, and words for it."""

    def fail_with(self, name, message):
        daemon = self.start_daemon([function(FULL, "plain")])

        def fail(*_):
            raise DBusError(name, message)
        daemon.answers["Lock"] = fail
        code, output, error = self.run_command("lock", FULL)
        self.assertEqual(output, "")
        daemon.close()
        return code, error

    def test_exit_codes(self):
        for name, expected in (
                ("org.vfwarden1.Error.NoSuchFunction", 3), ("org.vfwarden1.Error.Refused", 6),
                ("org.vfwarden1.Error.Busy", 7), ("org.vfwarden1.Error.Timeout", 8),
                ("org.vfwarden1.Error.Gone", 9), ("org.vfwarden1.Error.NotSupported", 10),
                ("org.vfwarden1.Error.Failed", 1), ("org.vfwarden1.Error.Novel", 1),
                ("org.freedesktop.DBus.Error.InvalidArgs", 2),
                ("org.freedesktop.DBus.Error.AccessDenied", 4),
                ("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", 4),
                ("org.freedesktop.DBus.Error.AuthFailed", 4),
                ("org.freedesktop.DBus.Error.LimitsExceeded", 7),
                ("org.freedesktop.DBus.Error.Timeout", 8),
                ("org.freedesktop.DBus.Error.UnknownObject", 9),
                ("org.freedesktop.DBus.Error.UnknownMethod", 10),
                ("org.freedesktop.DBus.Error.UnknownInterface", 10),
                ("org.freedesktop.DBus.Error.UnknownProperty", 10)):
            with self.subTest(name):
                self.assertEqual(self.fail_with(name, "because of it"),
                                 (expected, f"vfwarden: Cannot lock {FULL}: because of it\n"))

    def test_activation_that_failed(self):
        for name in ("org.freedesktop.DBus.Error.Spawn.ChildExited",
                     "org.freedesktop.systemd1.UnitMasked", "org.freedesktop.DBus.Error.NoServer"):
            with self.subTest(name):
                self.assertEqual(self.fail_with(name, "it is masked"), (
                    5, "vfwarden: vfwardend cannot be started: it is masked\n"))

    def test_no_message(self):
        self.assertEqual(self.fail_with("org.freedesktop.DBus.Error.AccessDenied", ""),
                         (4, f"vfwarden: Cannot lock {FULL}: Permission denied\n"))

    def test_daemon_that_dies_meanwhile(self):
        daemon = self.start_daemon([function(FULL, "plain")])

        def die():
            daemon.connection.close_sync(None)
            return daemon.NO_REPLY
        daemon.answers["Describe"] = die
        code, output, error = self.run_command("list")
        self.assertEqual((code, output), (5, ""))
        # What is left on this bus is one that was never installed.
        self.assertEqual(error, "vfwarden: vfwarden is not installed: nothing on the system bus "
                                "answers to org.vfwarden1\n")

    def test_daemon_that_does_not_answer(self):
        daemon = self.start_daemon()
        daemon.answers["Describe"] = lambda: daemon.NO_REPLY
        self.environment["SYSTEMD_BUS_TIMEOUT"] = SHORT_TIMEOUT
        self.check(["list"], code=8,
                   error="vfwarden: Cannot list the functions: Connection timed out\n")

    def test_not_installed(self):
        for arguments in (["list"], ["show", FULL], ["lock", FULL], ["unlock", FULL],
                          ["release-all"], ["reload"], ["why", FULL], ["why", FULL, "reset"],
                          ["users"], ["users", FULL], ["inhibitors"],
                          ["inhibit", FULL, "--", "true"], ["bind", FULL], ["unplug", FULL],
                          ["cancel-unplug", FULL]):
            with self.subTest(arguments):
                self.check(arguments, code=5,
                           error="vfwarden: vfwarden is not installed: nothing on the system bus "
                                 "answers to org.vfwarden1\n")

    def test_no_bus(self):
        self.environment["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={self.directory}/nothing"
        for arguments in (["list"], ["status"], ["monitor"], ["reload"], ["lock", FULL]):
            with self.subTest(arguments):
                self.check(arguments, code=5, error="vfwarden: Cannot reach the system bus: "
                                                    "No such file or directory\n")


class StoppedDaemon(CommandTest):
    activation = "/bin/false"

    def test_reload_does_not_start_it(self):
        self.check(["reload"], code=5, error="vfwarden: vfwardend is not running; \"systemctl start "
                                             "vfwardend\" starts it\n")

    def test_others_start_it_and_tell_that_it_did_not_start(self):
        for arguments in (["list"], ["lock", FULL], ["release-all"]):
            with self.subTest(arguments):
                code, output, error = self.run_command(*arguments)
                self.assertEqual((code, output), (5, ""))
                self.assertRegex(error, r"\Avfwarden: vfwardend cannot be started: "
                                        r"Process org\.vfwarden1 exited with status 1\n\Z")


class Host(CommandTest):
    """-H: an ssh of ours carries the bytes to the bus, as systemd-stdio-bridge does over there."""

    SSH = """\
        #!/usr/bin/python3
        import os, socket, sys, threading
        with open({log!r}, "w") as log:
            print(sys.argv[1:], file=log)
        os.set_blocking(0, True)
        bus = socket.socket(socket.AF_UNIX)
        bus.connect({bus!r})
        def copy():
            while data := bus.recv(65536):
                os.write(1, data)
            os._exit(0)
        threading.Thread(target=copy, daemon=True).start()
        while data := os.read(0, 65536):
            bus.sendall(data)
        """

    def setUp(self):
        super().setUp()
        self.log = os.path.join(self.directory, "log")
        self.install_ssh(textwrap.dedent(self.SSH).format(
            log=self.log, bus=os.path.join(self.directory, "bus")))
        # If the option were ignored, the command would find no bus.
        self.environment["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=/nowhere"

    def install_ssh(self, text):
        path = os.path.join(self.directory, "ssh")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o755)
        self.environment["PATH"] = f"{self.directory}:{os.environ['PATH']}"

    def test_goes_through_ssh(self):
        self.start_daemon([function(FULL, "plain", Driver="e1000e")])
        for arguments in (["-H", "admin@far", "list", "--no-legend"],
                          ["list", "--no-legend", "--host=admin@far"]):
            with self.subTest(arguments):
                self.check(arguments, "0000:01:00.0  plain  e1000e  -  -  -  Intel Corporation 82576 "
                                      "Gigabit Network Connection\n")
                with open(self.log, encoding="utf-8") as file:
                    self.assertIn("'admin@far'", file.read())

    def test_not_installed_there(self):
        self.check(["-H", "far", "list"], code=5,
                   error="vfwarden: vfwarden is not installed on far: nothing on the system bus "
                         "answers to org.vfwarden1\n")
        self.check(["-H", "far", "status"], "Daemon:  not installed on far\n", code=5)

    def test_ssh_that_fails(self):
        self.install_ssh("#!/bin/sh\nexit 255\n")
        done = subprocess.run(self.argv(["-H", "far", "list"]), env=self.environment, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual((done.returncode, done.stdout), (5, ""))
        self.assertRegex(done.stderr, r"\Avfwarden: Cannot (reach|connect to) the system bus on far: "
                                      r"[^\n]+\n\Z")
