"""unplug and cancel-unplug: who is asked, how it ends, and how a person ends it."""

import json
import re
import signal
import threading

from standin import CommandTest, DBusError, FUNCTION, SHORT_SECONDS, SHORT_TIMEOUT, encode
import pictures
from pictures import IGB, IGB_VF0, IGB_VF1, NVME

QEMU = "qemu-kvm -name web1"
HELD = f"  {IGB_VF1}  {QEMU} (pid 4200001, virtual machine web1), since 2026-11-21 00:51\n"
TIMEOUT = DBusError("org.vfwarden1.Error.Timeout", "timed out waiting for its users to release it")
CANCELLED = DBusError("org.vfwarden1.Error.Failed", "the unplug was cancelled")
NO_WAY_BACK = DBusError("org.vfwarden1.Error.Refused", "this cannot be cancelled any more")


class Unplug(CommandTest):
    def setUp(self):
        super().setUp()
        self.stand_in = self.start_daemon(pictures.host())
        self.stand_in.users = [(IGB_VF1, 4200001, 107, QEMU, r"machine-qemu\x2d1\x2dweb1.scope", "web1", 1795222312_000000)]
        self.asked = threading.Event()
        self.accept = True      # a call that hangs is one of which it is known that nothing is in its way

    def end_with(self, error):
        def answer(*_):
            raise error
        self.stand_in.answers["Unplug"] = answer

    def hang(self):
        """The unplug is answered by self.answer()."""
        def unplug(*_):
            self.answer = self.stand_in.later()
            if self.accept:
                self.stand_in.emit(encode(IGB_VF1), FUNCTION, "UnplugRequested", "(t)", (1,))
            self.asked.set()
            return self.stand_in.NO_REPLY
        self.stand_in.answers["Unplug"] = unplug

    def calls(self, method):
        return [c[1:] for c in self.stand_in.calls if c[0] == method]

    def start_waiting(self, *options):
        """An unplug whose request the daemon has."""
        self.hang()
        run = self.start("unplug", *options, IGB_VF1)
        self.assertTrue(self.asked.wait(20))
        self.assertEqual(run.line(), f"Asking to release {IGB_VF1}, for 60 s at most. It is in use by")
        self.assertEqual(run.line() + "\n", HELD)
        return run

    def test_done(self):
        self.check(["unplug", "1:10.2"], f"Asking to release {IGB_VF1}, for 60 s at most. It is in use by\n"
                                         f"{HELD}{IGB_VF1} is free and bound to no driver\n")
        self.assertEqual(self.calls("Unplug"), [(encode(IGB_VF1), (60000000, {}), True)])

    def test_gone(self):
        self.stand_in.answers["Unplug"] = lambda *_: self.stand_in.document["Functions"].clear()
        self.check(["unplug", NVME], f"{NVME} is not in use. Removing it.\n"
                                     f"{NVME} was taken away\n")

    def test_holders_of_vfs_are_asked(self):
        self.stand_in.users += [(IGB, 4200002, 0, "x", ""), (NVME, 4200003, 0, "y", "")]
        _, output, _ = self.run_command("unplug", IGB)
        self.assertEqual(output, f"Asking to release {IGB}, for 60 s at most. It is in use by\n{HELD}"
                                 f"  {IGB}  x (pid 4200002, uid 0)\n"
                                 f"{IGB} is free and bound to no driver\n")

    def test_clients_that_delay_are_asked(self):
        self.stand_in.inhibitors = [(IGB_VF1, "remove", "guest", "has it", 0, 815),
                                    (NVME, "remove", "other", "", 0, 816), (IGB, "reset", "backup", "", 0, 817)]
        self.stand_in.modes = ["delay", "delay", "block"]
        delays = f"  {IGB_VF1}  guest (pid 815) delays remove: has it\n"
        _, output, _ = self.run_command("unplug", IGB)
        self.assertEqual(output, f"Asking to release {IGB}, for 60 s at most. It is in use by\n{HELD}{delays}"
                                 f"{IGB} is free and bound to no driver\n")
        self.end_with(TIMEOUT)
        code, output, _ = self.run_command("unplug", "--insist", IGB)
        self.assertEqual(code, 8)
        self.assertIn("The kernel asks when no inhibitor delays the unplug any more.\n", output)
        self.assertIn(f"Nothing has changed. It is in use by\n{HELD}{delays}", output)

    def test_options(self):
        for text, usec, words in (("90", 90000000, "for 90 s at"), ("5min", 300000000, "for 300 s at"),
                                  ("1500ms", 1500000, "for 1500 ms at"), ("2s", 2000000, "for 2 s at"),
                                  ("24h", 86400000000, "for 86400 s at")):
            self.stand_in.calls.clear()
            _, output, _ = self.run_command("unplug", f"--timeout={text}", "--insist", IGB_VF1)
            self.assertIn(words, output)
            self.assertIn(HELD + "The kernel asks as well; this cannot be cancelled.\n", output)
            self.assertEqual(self.calls("Unplug"),
                             [(encode(IGB_VF1), (usec, {"insist": True}), True)])

    def test_json(self):
        code, output, error = self.run_command("--json", "unplug", IGB_VF1)
        self.assertEqual((code, error), (0, ""))
        self.assertEqual(json.loads(output), {"Address": IGB_VF1, "Present": True, "Asked": [
            {"Address": IGB_VF1, "Pid": 4200001, "Uid": 107, "Command": QEMU, "Machine": "web1",
             "Brokered": False,
             "Unit": r"machine-qemu\x2d1\x2dweb1.scope", "Since": 1795222312_000000}]})

    def test_timeout_as_json(self):
        self.end_with(TIMEOUT)
        code, output, error = self.run_command("--json", "unplug", IGB_VF1)
        self.assertEqual(code, 8)
        name = "org.vfwarden1.Error.Timeout"
        answer = json.loads(output)
        self.assertEqual([user["Pid"] for user in answer.pop("Asked")], [4200001])
        self.assertEqual([user["Pid"] for user in answer.pop("Holders")], [4200001])
        self.assertEqual(answer, {"Address": IGB_VF1, "Present": True, "Error": name})
        self.assertEqual(json.loads(error), {
            "Error": name,
            "Message": f"Cannot unplug {IGB_VF1}: timed out waiting for its users to release it",
            "Hints": [], "Address": IGB_VF1, "ExitCode": 8})

    def test_nothing_is_said_before_the_daemon_asks(self):
        self.accept = False
        self.hang()
        run = self.start("unplug", IGB_VF1)
        self.assertTrue(self.asked.wait(20))
        # While a password is typed, say: the holder of before has left, another has come.
        self.stand_in.users = [(IGB_VF1, 4200009, 0, "late", "")]
        self.stand_in.emit(encode(IGB_VF1), FUNCTION, "UnplugRequested", "(t)", (1,))
        self.assertEqual(run.line(), f"Asking to release {IGB_VF1}, for 60 s at most. It is in use by")
        self.assertEqual(run.line(), f"  {IGB_VF1}  late (pid 4200009, uid 0)")
        self.answer()
        self.assertEqual(run.line(), f"{IGB_VF1} is free and bound to no driver")
        self.assertEqual(run.end(), (0, ""))

    def test_nothing_is_said_of_what_is_denied(self):
        self.accept = False
        self.hang()
        run = self.start("unplug", IGB_VF1)
        self.assertTrue(self.asked.wait(20))
        self.answer(DBusError("org.freedesktop.DBus.Error.AccessDenied", "polkit refused"))
        self.assertEqual(run.process.stdout.read(), b"")
        self.assertEqual(run.end(), (4, f"vfwarden: Cannot unplug {IGB_VF1}: polkit refused\n"))

    def test_timeout_while_it_is_being_removed(self):
        """The users released it in time, and the kernel is slow."""
        def fail(*_):
            for shown in self.stand_in.document["Functions"]:
                if shown["Address"] == IGB_VF1:
                    shown["State"] = "removing"
            self.stand_in.users.clear()
            raise TIMEOUT
        self.stand_in.answers["Unplug"] = fail
        code, output, _ = self.run_command("unplug", "--timeout=1", IGB_VF1)
        self.assertEqual(code, 11)
        self.assertNotIn("Nothing has changed", output)
        self.assertIn("The function is being removed; this cannot be cancelled. It is not in use any more.\n", output)

    def test_timeout(self):
        self.end_with(TIMEOUT)
        error = f"vfwarden: Cannot unplug {IGB_VF1}: timed out waiting for its users to release it\n"
        start = f"Asking to release {IGB_VF1}, for 1 s at most. It is in use by\n{HELD}"
        insist = "The kernel asks as well; this cannot be cancelled.\n"
        self.check(["unplug", "--timeout=1", IGB_VF1],
                   f"{start}Nothing has changed. It is in use by\n{HELD}", error, 8)
        self.check(["unplug", "--timeout=1", "--insist", IGB_VF1], start + insist
                   + "The function will be removed once it is released; this cannot be cancelled. "
                   f"It is in use by\n{HELD}",
                   error, 8)

        def leave(*_):
            self.stand_in.users.clear()
            raise TIMEOUT
        self.stand_in.answers["Unplug"] = leave
        self.check(["unplug", "--timeout=1", IGB_VF1],
                   f"{start}Nothing has changed. It is not in use any more.\n", error, 8)

    def test_refused(self):
        self.end_with(DBusError("org.vfwarden1.Error.Refused", "backup: inhibits remove"))
        self.check(["unplug", "--timeout=0", IGB_VF1], "", f"vfwarden: Cannot unplug {IGB_VF1}: backup: inhibits remove\n"
                   f"vfwarden: \"vfwarden why {IGB_VF1} remove\" tells what can be done about it\n", 6)

    def test_failures(self):
        for name, expected in (("Busy", 7), ("Failed", 1), ("Gone", 9)):
            self.end_with(DBusError(f"org.vfwarden1.Error.{name}", "because"))
            code, _, error = self.run_command("unplug", IGB_VF1)
            self.assertEqual((code, error),
                             (expected, f"vfwarden: Cannot unplug {IGB_VF1}: because\n"))

    def test_no_such_function(self):
        self.check(["unplug", "9:0.0"], code=3, error="vfwarden: Cannot unplug 0000:09:00.0: There is no "
                                                      "PCI function 0000:09:00.0; did you mean 0000:01:00.0?\n")

    def test_daemon_that_dies_meanwhile(self):
        run = self.start_waiting()
        self.stand_in.connection.close_sync(None)
        code, error = run.end()
        self.assertEqual(code, 5)
        self.assertIn("vfwarden is not installed", error)

    def test_interrupt_takes_it_back(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                self.asked.clear()
                run = self.start_waiting()
                self.stand_in.answers["CancelUnplug"] = lambda: self.answer(CANCELLED)
                run.process.send_signal(number)
                self.assertEqual(run.end(), (128 + number, f"vfwarden: The unplug of {IGB_VF1} was "
                                                           "cancelled, nothing has changed\n"))
        self.assertEqual(self.calls("CancelUnplug"), [(encode(IGB_VF1), (), True)] * 2)

    def interrupt_in_vain(self):
        run = self.start_waiting()

        def refuse():
            raise NO_WAY_BACK
        self.stand_in.answers["CancelUnplug"] = refuse
        run.process.send_signal(signal.SIGINT)
        message = b""
        while not message.endswith(b"\n"):
            message += run.process.stderr.read(1)
        self.assertEqual(message, b"vfwarden: Cannot cancel the unplug: this cannot be cancelled any more. "
                                  b"Still waiting; interrupt again to leave it pending\n")
        return run

    def test_interrupt_too_late(self):
        run = self.interrupt_in_vain()
        self.answer()
        self.assertEqual(run.line(), f"{IGB_VF1} is free and bound to no driver")
        self.assertEqual(run.end(), (0, ""))

    def test_interrupt_too_late_and_then_a_timeout(self):
        run = self.interrupt_in_vain()
        self.answer(TIMEOUT)
        self.assertEqual(run.end(), (8, f"vfwarden: Cannot unplug {IGB_VF1}: timed out waiting for "
                                        "its users to release it\n"))

    def test_each_change_is_a_line(self):
        run = self.start_waiting()
        self.stand_in.users.append((IGB_VF1, 4200002, 0, "dpdk", ""))
        self.assertRegex(run.line(), rf"^  {IGB_VF1}  dpdk \(pid 4200002, uid 0\), \d+ s left$")
        self.stand_in.users = self.stand_in.users[1:]
        self.assertRegex(run.line(), rf"^{re.escape(HELD.rstrip())}: released after \d+ s, \d+ s left$")
        self.answer()
        self.assertEqual(run.line(), f"{IGB_VF1} is free and bound to no driver")
        self.assertEqual(run.end(), (0, ""))

    def test_a_client_that_delays_no_more(self):
        self.stand_in.users = []
        self.stand_in.inhibitors = [(IGB_VF1, "remove", "guest", "", 0, 815)]
        self.stand_in.modes = ["delay"]
        self.hang()
        run = self.start("unplug", IGB_VF1)
        self.assertTrue(self.asked.wait(20))
        run.line()
        delays = run.line()
        self.assertEqual(delays, f"  {IGB_VF1}  guest (pid 815) delays remove")
        self.stand_in.inhibitors = []
        self.assertRegex(run.line(), f"^{re.escape(delays)}: delays no more after .* s, .* s left$")
        self.answer()
        run.end()

    def test_drawn_again_on_a_terminal(self):
        self.hang()
        self.environment["COLUMNS"] = "60"
        with self.terminal("unplug", IGB_VF1) as terminal:
            terminal.read_until(b"Waiting for ")
            terminal.read_until(b" s left")
            terminal.read_until(b"\x1b[2A\x1b[J")      # two lines are drawn again, with other times
            terminal.read_until(b" s left")
            self.stand_in.users = []
            terminal.read_until(b"released after")
            self.answer()
            terminal.read_until(b"is free and bound to no driver")
            self.assertEqual(terminal.end(), 0)
        drawn = [line for line in terminal.plain().splitlines() if line.startswith("  ")]
        self.assertTrue(drawn[0].endswith("\u2026"), drawn)
        self.assertEqual({len(line) for line in drawn}, {60})
        self.assertNotIn("Waiting", terminal.plain().split("\x1b[J")[-1])

    def test_more_holders_than_lines(self):
        self.stand_in.users += [(IGB_VF1, 4200100 + i, 0, f"dpdk{i}", "") for i in range(20)]
        self.hang()
        with self.terminal("unplug", IGB_VF1, lines=10) as terminal:
            terminal.read_until(b"and 14 more, 0 of them released")
            terminal.read_until(b"\x1b[9A\x1b[J")     # what is drawn again is on the terminal
            self.stand_in.users = self.stand_in.users[:-3]
            terminal.read_until(b"and 14 more, 3 of them released")
            self.answer()
            terminal.read_until(b"is free and bound to no driver")
            self.assertEqual(terminal.end(), 0)
        drawn = terminal.plain().split("\x1b[J")
        self.assertEqual({text.count("\n") for text in drawn[1:-1]}, {9})
        self.assertEqual(drawn[-1].count("  " + IGB_VF1), 21)       # all of them at the end

    def test_the_inventory_is_read_for_others_holders_only(self):
        self.stand_in.users = [user for user in self.stand_in.users if user[0] == IGB_VF1]
        self.stand_in.inhibitors = []
        run = self.start_waiting()
        self.stand_in.users.append((IGB_VF1, 4200002, 0, "dpdk", ""))
        run.line()
        self.assertEqual(self.calls("Describe"), [])
        self.answer()
        run.line()
        run.end()

    def test_second_interrupt_leaves(self):
        run = self.interrupt_in_vain()
        run.process.send_signal(signal.SIGINT)
        self.assertEqual(run.end(), (130, f"vfwarden: The unplug of {IGB_VF1} stays pending: it "
                                          "ends at its deadline, or when \"vfwarden cancel-unplug "
                                          f"{IGB_VF1}\" cancels it\n"))
        self.assertEqual(len(self.calls("CancelUnplug")), 1)

    def test_interrupt_of_what_has_just_been_done(self):
        run = self.start_waiting()

        def late():
            self.answer()
            raise DBusError("org.vfwarden1.Error.Failed", "no unplug is in progress")
        self.stand_in.answers["CancelUnplug"] = late
        run.process.send_signal(signal.SIGINT)
        self.assertEqual(run.line(), f"{IGB_VF1} is free and bound to no driver")
        self.assertEqual(run.end(), (0, ""))

    def test_waits_longer_than_for_other_calls(self):
        self.environment["SYSTEMD_BUS_TIMEOUT"] = SHORT_TIMEOUT
        run = self.start_waiting()
        threading.Timer(1.5 * SHORT_SECONDS, self.answer).start()
        self.assertEqual(run.line(), f"{IGB_VF1} is free and bound to no driver")
        self.assertEqual(run.end(), (0, ""))


class CancelUnplug(CommandTest):
    def test_done(self):
        daemon = self.start_daemon(pictures.host())
        self.check(["cancel-unplug", "1:10.0"], f"The unplug of {IGB_VF0} was cancelled\n")
        self.assertEqual(daemon.calls[-1], ("CancelUnplug", encode(IGB_VF0), (), True))
        self.check(["cancel-unplug", "1:10.0", "--json"])

    def test_no_way_back(self):
        def refuse():
            raise NO_WAY_BACK
        self.start_daemon(pictures.host()).answers["CancelUnplug"] = refuse
        self.check(["cancel-unplug", "1:10.0"], code=6,
                   error=f"vfwarden: Cannot cancel the unplug of {IGB_VF0}: this cannot be cancelled any more\n")


class MonitorOfUnplug(CommandTest):
    def setUp(self):
        super().setUp()
        self.stand_in = self.start_daemon(pictures.host())

    def watch(self, *arguments):
        run = self.monitor(*arguments)
        run.line()
        return run

    def unplug_requested(self, address, deadline_usec):
        self.stand_in.emit(encode(address), FUNCTION, "UnplugRequested", "(t)", (deadline_usec,))

    def test_unplug(self):
        run = self.watch()
        self.unplug_requested(IGB_VF0, 1795217466879000)
        self.unplug_requested(IGB_VF0, 0)
        self.unplug_requested(IGB_VF0, (1 << 64) - 1)
        self.assertEqual([run.event() for _ in range(3)], [
            f"{IGB_VF0}  unplug requested, to be released by 2026-11-20 23:31:06",
            f"{IGB_VF0}  unplug requested, is being taken away",
            f"{IGB_VF0}  unplug requested, to be released by the end"])

    def test_unplug_as_json(self):
        run = self.watch("--json")
        self.unplug_requested(IGB_VF0, 1795217466879000)
        event = json.loads(run.line())
        del event["Time"]
        self.assertEqual(event, {"Event": "unplug-requested", "Address": IGB_VF0,
                                 "DeadlineUsec": 1795217466879000})
