"""Errors as JSON: one object on standard error, whatever went wrong."""

import json
import os
import signal

from standin import CommandTest, DBusError
import pictures
from pictures import IGB, IGB_VF1


class Errors(CommandTest):
    def error(self, *arguments, output=""):
        """The object; nothing else is printed."""
        code, printed, error = self.run_command("--json", *arguments)
        self.assertEqual(printed, output)
        self.assertEqual(error.count("\n"), 1)
        answer = json.loads(error)
        self.assertEqual(set(answer), {"Error", "Message", "Hints", "Address", "ExitCode"})
        self.assertEqual(answer["ExitCode"], code)
        return answer

    def test_of_the_daemon(self):
        daemon = self.start_daemon(pictures.host())

        def refuse():
            raise DBusError("org.vfwarden1.Error.Refused", "in use by \x1b[31m qemu")
        daemon.answers["Reset"] = refuse
        self.assertEqual(self.error("reset", "1:0.0"), {
            "Error": "org.vfwarden1.Error.Refused", "ExitCode": 6, "Address": IGB,
            "Message": f"Cannot reset {IGB}: in use by \x1b[31m qemu",
            "Hints": [f"\"vfwarden why {IGB} reset\" tells what can be done about it"]})

    def test_the_short_option(self):
        self.start_daemon(pictures.host())
        for option in ("-j", "-jj"):
            code, output, error = self.run_command(option, "show", "1:0.1")
            self.assertEqual((code, output, json.loads(error)["ExitCode"]), (3, "", 3))
        self.assertEqual(json.loads(self.run_command("-j", "show", IGB)[1])["Address"], IGB)
        self.assertFalse(self.run_command("-Hj", "lsit")[2].startswith("{"), "a host of that name")
        self.assertEqual(self.run_command("-V"), self.run_command("--version"))

    def test_is_safe_for_a_terminal(self):
        daemon = self.start_daemon(pictures.host())

        def refuse():
            raise DBusError("org.vfwarden1.Error.Failed", "\x1b[2J\u009b\u202e")
        daemon.answers["Reset"] = refuse
        _, _, error = self.run_command("--json", "reset", IGB)
        for character in "\x1b\u009b\u202e":
            self.assertNotIn(character, error)
        self.assertTrue(json.loads(error)["Message"].endswith(": \x1b[2J\u009b\u202e"))

    def test_every_failure_of_a_call(self):
        daemon = self.start_daemon(pictures.host())
        for method, arguments in (("Lock", ["lock", IGB]), ("Unlock", ["unlock", IGB]),
                                  ("Bind", ["bind", IGB]), ("SetNumVFs", ["set-vfs", IGB, "1"]),
                                  ("Unplug", ["unplug", IGB]), ("Inhibit", ["inhibit", IGB, "--", "true"]),
                                  ("Check", ["why", IGB, "reset"]), ("DescribeUsers", ["users", IGB])):
            for name, code in (("org.freedesktop.DBus.Error.AccessDenied", 4),
                               ("org.vfwarden1.Error.Busy", 7), ("org.vfwarden1.Error.Gone", 9),
                               ("org.freedesktop.DBus.Error.LimitsExceeded", 7)):
                with self.subTest(method=method, name=name):
                    def fail(*_, name=name):
                        raise DBusError(name, "because")
                    daemon.answers = {method: fail}
                    answer = self.error(*arguments)
                    self.assertEqual((answer["Error"], answer["ExitCode"], answer["Address"]),
                                     (name, code, IGB))
                    self.assertTrue(answer["Message"].endswith(": because"))

    def test_no_such_function(self):
        self.start_daemon(pictures.host())
        for verb in ("show", "reset", "unplug", "why", "users", "lock"):
            answer = self.error(verb, "1:0.1")
            self.assertEqual((answer["Error"], answer["ExitCode"], answer["Address"]),
                             ("org.vfwarden1.Error.NoSuchFunction", 3, "0000:01:00.1"))
            self.assertIn(f"did you mean {IGB}?", answer["Message"])

    def test_of_usage(self):
        for arguments, address in ((["lsit"], ""), ([], ""), (["show", "1:x"], "1:x"), (["--frob"], ""),
                                   (["set-vfs", "1:0.0", "-1"], IGB), (["set-vfs", "1:0.0"], IGB)):
            answer = self.error(*arguments)
            self.assertEqual((answer["Error"], answer["ExitCode"], answer["Address"]),
                             ("org.freedesktop.DBus.Error.InvalidArgs", 2, address))
        self.assertIn("did you mean 'list'?", self.error("lsit")["Message"])
        self.assertEqual(self.error("lsit")["Hints"], ['Try "vfwarden --help".'])

    def test_without_a_daemon(self):
        answer = self.error("reset", IGB)
        self.assertEqual((answer["ExitCode"], answer["Address"]), (5, IGB))
        self.assertTrue(answer["Error"].startswith("org.freedesktop.DBus.Error."))

    def test_without_a_bus(self):
        self.environment["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={self.directory}/none"
        answer = self.error("list")
        self.assertEqual((answer["ExitCode"], answer["Address"]), (5, ""))

    def test_of_an_unplug_that_a_person_ends(self):
        daemon = self.start_daemon(pictures.host())
        pending = []

        def unplug(*_):
            pending.append(daemon.later())
            os.kill(run.process.pid, signal.SIGINT)
            return daemon.NO_REPLY
        daemon.answers["Unplug"] = unplug
        daemon.answers["CancelUnplug"] = lambda: pending.pop()(
            DBusError("org.vfwarden1.Error.Failed", "the unplug was cancelled"))
        run = self.start("--json", "unplug", IGB_VF1)
        code, error = run.end()
        self.assertEqual((code, json.loads(error)["ExitCode"]), (130, 130))

    def test_none_of_what_is_done(self):
        self.start_daemon(pictures.host())
        code, _, error = self.run_command("--json", "lock", IGB)
        self.assertEqual((code, error), (0, ""))
