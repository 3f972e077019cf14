"""bind, unbind, reset, set-vfs and set-autoprobe: the requests, and the output afterwards."""

import json
import re
import threading

from gi.repository import GLib

from pace import DEADLINE
from standin import CommandTest, DBusError, SHORT_SECONDS, SHORT_TIMEOUT, encode
import pictures
from pictures import IGB, IGB_VF0, IGB_VF1, NETWORK


class Operate(CommandTest):
    def setUp(self):
        super().setUp()
        self.stand_in = self.start_daemon(pictures.host())

    def answer(self, method, address, **members):
        """The stand-in obeys: afterwards the function has these members."""
        function = self.stand_in.function(address)
        self.stand_in.answers[method] = lambda *_: function.update(members)

    def called(self, address, method):
        """The arguments of the call; it let polkit ask."""
        calls = [c for c in self.stand_in.calls if c[0] == method]
        self.assertEqual([(c[1], c[3]) for c in calls], [(encode(address), True)])
        self.stand_in.calls.clear()
        return calls[0][2]

    def test_bind(self):
        self.answer("Bind", IGB_VF0, Driver="vfio-pci", DriverOverride="vfio-pci")
        self.check(["bind", "1:10.0", "vfio-pci"], f"{IGB_VF0} is bound to vfio-pci\n")
        self.assertEqual(self.called(IGB_VF0, "Bind"), ("vfio-pci",))
        _, output, _ = self.run_command("--json", "bind", "1:10.0")
        self.assertEqual(self.called(IGB_VF0, "Bind"), ("",))
        self.assertEqual(json.loads(output), {
            "Address": IGB_VF0, "Driver": "vfio-pci", "DriverOverride": "vfio-pci"})

    def test_unbind(self):
        self.answer("Unbind", IGB_VF0, Driver="")
        self.check(["unbind", "1:10.0"], f"{IGB_VF0} is bound to no driver\n")
        self.assertEqual(self.called(IGB_VF0, "Unbind"), ())

    def test_reset(self):
        self.check(["reset", "1:10.0"], f"{IGB_VF0} was reset\n")
        self.assertEqual(self.called(IGB_VF0, "Reset"), ())
        self.check(["reset", "--json", "1:10.0"], f'{{\n  "Address" : "{IGB_VF0}"\n}}\n')

    def hang(self, method, operation, address):
        """The operation is in progress until self.end() is called."""
        def begin(*_):
            self.end = self.stand_in.later()
            self.stand_in.verdicts[operation] = (
                [("user", IGB_VF1, "is in use", 7), ("operation", address, f"{operation} is in progress", 4711)], [])
            return self.stand_in.NO_REPLY
        self.stand_in.answers[method] = begin

    def test_who_is_waited_for(self):
        """One line for each change, on standard error."""
        self.hang("SetNumVFs", "set-num-vfs", IGB)
        self.stand_in.users = [(IGB_VF1, 7, 0, "dpdk", "", "", 1795222312_000000), (NETWORK, 8, 0, "other", "")]
        run = self.start("set-vfs", IGB, "0")
        self.assertEqual(run.error_line(), f"{IGB}: set-num-vfs is in progress (process 4711), for 20 s at most. "
                                           "It is in use by")
        held = f"  {IGB_VF1}  dpdk (pid 7, uid 0), since 2026-11-21 00:51"
        self.assertEqual(run.error_line(), held)
        self.stand_in.users = []
        self.assertRegex(run.error_line(), rf"^{re.escape(held)}: released after \d+ s, .*$")
        self.end()
        self.assertEqual(run.line(), f"{IGB} has 2 virtual functions: {IGB_VF0}, {IGB_VF1}")
        self.assertEqual(run.end(), (0, ""))

    def test_the_time_on_a_terminal(self):
        self.hang("Reset", "reset", IGB_VF0)
        with self.terminal("reset", IGB_VF0) as terminal:
            terminal.read_until(f"{IGB_VF0}".encode())
            terminal.read_until(b": reset is in progress (process 4711), for 20 s at most\n".replace(b"\n", b"\r\n"))
            terminal.read_until(b"Waiting for ")
            terminal.read_until(b" s left")
            terminal.read_until(b"\x1b[1A\x1b[J")
            terminal.read_until(b"Waiting for ")
            self.end()
            terminal.read_until(b"\x1b[1A\x1b[J")
            terminal.read_until(b" was reset")
            self.assertEqual(terminal.end(), 0)

    def test_nothing_is_shown_of_an_operation_that_has_not_begun(self):
        """While a password is typed, and of another function's operation."""
        self.hang("Reset", "reset", IGB_VF0)
        asked = threading.Event()

        def check(*_):
            asked.set()
            return GLib.Variant("(ba(sssu)as)", (False, [("operation", IGB_VF1, "bind is in progress", 1)], []))
        self.stand_in.answers["Check"] = check
        run = self.start("reset", IGB_VF0)
        self.assertTrue(asked.wait(DEADLINE))
        self.end()
        self.assertEqual(run.line(), f"{IGB_VF0} was reset")
        self.assertEqual(run.end(), (0, ""))

    def test_even_if_the_host_uses_it(self):
        option = "--even-if-host-uses-it"
        self.run_command("bind", option, "1:10.0", "vfio-pci")
        self.assertEqual(self.called(IGB_VF0, "BindWithOptions"), ("vfio-pci", {"override-host": True}))
        for verb, method in (("unbind", "UnbindWithOptions"), ("reset", "ResetWithOptions")):
            self.run_command(verb, option, "1:10.0")
            self.assertEqual(self.called(IGB_VF0, method), ({"override-host": True},))
        self.run_command("set-vfs", option, "1:0.0", "0")
        self.assertEqual(self.called(IGB, "SetNumVFs"), (0, {"override-host": True}))
        self.run_command("set-vfs", option, "--override", "1:0.0", "0")
        self.assertEqual(self.called(IGB, "SetNumVFs"), (0, {"override": True, "override-host": True}))

    def test_set_vfs(self):
        self.check(["set-vfs", "1:0.0", "2"],
                   f"{IGB} has 2 virtual functions: {IGB_VF0}, {IGB_VF1}\n")
        self.assertEqual(self.called(IGB, "SetNumVFs"), (2, {}))
        self.answer("SetNumVFs", IGB, NumVFs=0, VirtualFunctions=[])
        self.check(["set-vfs", "--override", "1:0.0", "0"], f"{IGB} has no virtual functions\n")
        self.assertEqual(self.called(IGB, "SetNumVFs"), (0, {"override": True}))
        self.answer("SetNumVFs", IGB, NumVFs=1, VirtualFunctions=[IGB_VF0])
        self.check(["set-vfs", "1:0.0", "65535"], f"{IGB} has 1 virtual function: {IGB_VF0}\n")
        self.assertEqual(self.called(IGB, "SetNumVFs"), (65535, {}))
        _, output, _ = self.run_command("set-vfs", "1:0.0", "1", "--json")
        self.assertEqual(json.loads(output), {
            "Address": IGB, "NumVFs": 1, "TotalVFs": 8, "VirtualFunctions": [IGB_VF0]})

    def test_set_autoprobe(self):
        for word, value, text in (
                ("yes", True, "get a driver when they are made"),
                ("no", False, "are left without a driver when they are made")):
            self.answer("SetDriversAutoprobe", IGB, DriversAutoprobe=value)
            self.check(["set-autoprobe", "1:0.0", word], f"{IGB}: virtual functions {text}\n")
            self.assertEqual(self.called(IGB, "SetDriversAutoprobe"), (value,))
        _, output, _ = self.run_command("set-autoprobe", "1:0.0", "no", "--json")
        self.assertEqual(json.loads(output), {"Address": IGB, "DriversAutoprobe": False})

    def test_what_only_physical_functions_have(self):
        for verb, argument, words in (("set-vfs", "1", "number"), ("set-autoprobe", "no", "probing")):
            self.check([verb, NETWORK, argument], code=10,
                       error=f"vfwarden: Cannot set the {words} of virtual functions of {NETWORK}: it "
                             "is not a physical function, or this vfwardend is too old\n")

    def fail(self, method, name, message):
        def answer(*_):
            raise DBusError(name, message)
        self.stand_in.answers[method] = answer

    def test_refused(self):
        for arguments, method, attempt, operation in (
                (["bind", IGB], "Bind", "bind", "bind"),
                (["unbind", IGB], "Unbind", "unbind", "unbind"),
                (["reset", IGB], "Reset", "reset", "reset"),
                (["set-vfs", IGB, "0"], "SetNumVFs", "set the number of virtual functions of",
                 "set-num-vfs"),
                (["set-autoprobe", IGB, "no"], "SetDriversAutoprobe",
                 "set the probing of virtual functions of", "set-autoprobe")):
            with self.subTest(method):
                self.fail(method, "org.vfwarden1.Error.Refused", "no: in use")
                self.check(arguments, code=6,
                           error=f"vfwarden: Cannot {attempt} {IGB}: no: in use\n"
                                 f"vfwarden: \"vfwarden why {IGB} {operation}\" tells what can be done "
                                 "about it\n")

    def test_autoprobe_in_other_words(self):
        for word, enable in (("on", True), ("yes", True), ("true", True), ("1", True), ("off", False),
                             ("no", False), ("false", False), ("0", False)):
            self.stand_in.calls.clear()
            self.run_command("set-autoprobe", IGB, word)
            self.assertEqual([c[2] for c in self.stand_in.calls if c[0] == "SetDriversAutoprobe"],
                             [(enable,)])

    def test_failures(self):
        for name, code in (("Busy", 7), ("Timeout", 8), ("Failed", 1), ("Gone", 9)):
            self.fail("Reset", f"org.vfwarden1.Error.{name}", "because")
            self.check(["reset", IGB], code=code,
                       error=f"vfwarden: Cannot reset {IGB}: because\n")

    def test_no_such_function(self):
        self.check(["reset", "9:0.0"], code=3, error="vfwarden: Cannot reset 0000:09:00.0: There is no "
                                                     "PCI function 0000:09:00.0; did you mean 0000:01:00.0?\n")

    def test_function_that_goes_meanwhile(self):
        self.stand_in.answers["Unbind"] = self.stand_in.document["Functions"].clear
        self.check(["unbind", IGB], code=9, error=f"vfwarden: unbind of {IGB} was done, but the function "
                                                  "was removed meanwhile\n")

    def test_picture_that_fails_afterwards(self):
        self.fail("Describe", "org.vfwarden1.Error.Failed", "no")
        self.check(["unbind", IGB], code=1, error=f"vfwarden: unbind of {IGB} was done, but it cannot be "
                                                  "shown: no\n")

    def test_waits_longer_than_for_other_calls(self):
        def slow():
            threading.Timer(1.5 * SHORT_SECONDS, self.stand_in.later()).start()
            return self.stand_in.NO_REPLY
        self.stand_in.answers["Reset"] = slow
        self.environment["SYSTEMD_BUS_TIMEOUT"] = SHORT_TIMEOUT
        self.check(["reset", IGB], f"{IGB} was reset\n")
