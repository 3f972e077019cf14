"""What reaches a terminal, a pipe, a closed pipe and a full disk."""

import json
import os
import re
import subprocess

from gi.repository import GLib

from standin import CommandTest, DBusError
import pictures
from pictures import function

ESCAPE = "\x1b"
FULL = "0000:01:00.0"
# Clears the screen; rings; C1's control sequence introducer; turns the direction of writing; ends a
# line in Unicode; a private character; a character outside the first plane that is nothing.
HOSTILE = "a\x1b[2J\x07\r\n\t\x7f\x9b\u202e\u2028\ue000\U000e0001\\z"
HARMLESS = "a\\x1b[2J\\x07\\x0d\\n\\t\\x7f\\u009b\\u202e\\u2028\\ue000\\U000e0001\\z"


class Colors(CommandTest):
    ROW = (f"{ESCAPE}[1m0000:02:00.0{ESCAPE}[0m  pf    vfio-pci     15  "
           f"{ESCAPE}[33muserspace-driver,administrator{ESCAPE}[0m  "
           f"{ESCAPE}[1;31min-use,tainted{ESCAPE}[0m   "
           "Red Hat, Inc. QEMU NVM Express Controller")
    HEADINGS = "  ".join(f"{ESCAPE}[1m{heading}{ESCAPE}[0m{padding}" for heading, padding in (
        ("ADDRESS", "      "), ("KIND", ""), ("DRIVER", "  "), ("GROUP", ""),
        ("LOCK", " " * 26), ("STATE", " " * 10), ("NAME", "")))

    def setUp(self):
        super().setUp()
        self.start_daemon(pictures.host())

    def sgr(self, text):
        return ESCAPE in text

    def test_on_a_terminal(self):
        output = self.run_on_terminal("list", "--sriov")
        self.assertEqual(output.splitlines()[0].replace(" ", ""),
                         re.sub(" ", "", self.HEADINGS))
        self.assertIn("pf           vfio-pci     15  " + self.ROW.split("15  ")[1],
                      output.splitlines()[4])

    def test_colors_do_not_move_columns(self):
        output = self.run_on_terminal("list")
        plain = re.sub(ESCAPE + r"\[[0-9;]*m", "", output)
        self.check(["list"], plain)

    def test_never_on_a_pipe_or_when_told_not_to(self):
        for arguments in (["list"], ["show", FULL], ["status"], ["lock", FULL], ["unlock", FULL]):
            with self.subTest(arguments):
                _, output, _ = self.run_command(*arguments)
                self.assertFalse(self.sgr(output))
                self.assertFalse(self.sgr(self.run_on_terminal(*arguments, "--color=never")))

    def test_on_a_terminal_everywhere(self):
        for arguments in (["show", FULL], ["status"], ["lock", FULL], ["unlock", FULL]):
            with self.subTest(arguments):
                self.assertTrue(self.sgr(self.run_on_terminal(*arguments)))
                _, output, _ = self.run_command(*arguments, "--color=always")
                self.assertTrue(self.sgr(output))

    def test_json_has_none(self):
        self.assertFalse(self.sgr(self.run_on_terminal("list", "--json")))

    def test_no_color(self):
        self.environment["NO_COLOR"] = "1"
        self.assertFalse(self.sgr(self.run_on_terminal("list")))
        self.assertTrue(self.sgr(self.run_on_terminal("list", "--color=always")))
        self.environment["NO_COLOR"] = ""
        self.assertTrue(self.sgr(self.run_on_terminal("list")))

    def test_dumb_terminal(self):
        for term in ("dumb", "", None):
            with self.subTest(term):
                self.environment.pop("TERM", None)
                if term is not None:
                    self.environment["TERM"] = term
                self.assertFalse(self.sgr(self.run_on_terminal("list")))


class Escaping(CommandTest):
    """Nothing that came over the bus makes a terminal do anything."""

    def hostile(self, **members):
        return function(FULL, "vf", **{
            "VendorName": HOSTILE, "DeviceName": "", "Driver": HOSTILE, "State": HOSTILE,
            "DriverOverride": HOSTILE, "LockWhy": HOSTILE, "LockReasons": [HOSTILE],
            "ClosedFiles": [HOSTILE], "PhysicalFunction": HOSTILE, "CommandMemory": HOSTILE,
            HOSTILE: HOSTILE, **members})

    def check_safe(self, output):
        self.assertEqual(re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028\ue000\U000e0001]",
                                    output), [])

    def test_list(self):
        self.start_daemon([self.hostile()])
        self.check(["list", "--no-legend"],
                   f"0000:01:00.0  vf  {HARMLESS}  -  {HARMLESS}  {HARMLESS}  {HARMLESS} Device "
                   "10ca\n")

    def test_kind_and_address(self):
        self.start_daemon([function(HOSTILE, HOSTILE)])
        _, output, _ = self.run_command("list", "--no-legend")
        self.assertTrue(output.startswith(f"{HARMLESS}  {HARMLESS}  -"), output)

    def test_show(self):
        self.start_daemon([self.hostile()])
        _, output, _ = self.run_command("show", FULL)
        self.check_safe(output)
        self.assertEqual(output.count(HARMLESS), 12)
        self.assertEqual(len(output.splitlines()), 21)

    def test_status(self):
        self.start_daemon(version=HOSTILE, enforcement=HOSTILE, problems=[HOSTILE])
        _, output, _ = self.run_command("status")
        self.assertEqual(output.splitlines()[:3], [
            f"            Daemon:  running, version {HARMLESS}", f"       Enforcement:  {HARMLESS}",
            f"           Problem:  {HARMLESS}"])

    def test_lock_and_release_all(self):
        daemon = self.start_daemon([self.hostile()])
        self.check(["lock", FULL], f"{FULL} is locked, write-protected files: {HARMLESS}\n")
        self.check(["unlock", FULL], f"{FULL} is no longer locked by the administrator, but still by\n"
                                     f"  {HARMLESS}\n")
        daemon.answers["ReleaseAll"] = lambda: GLib.Variant("(as)", ([HOSTILE],))
        self.check(["release-all"], HARMLESS + "\n")

    def test_errors(self):
        def fail(*_):
            raise DBusError("org.vfwarden1.Error.Refused", HOSTILE)
        self.start_daemon([function(FULL, "plain")]).answers["Lock"] = fail
        # A newline in a message begins a line that cannot be taken for another message.
        self.check(["lock", FULL], code=6, error=f"vfwarden: Cannot lock {FULL}: "
                   + HARMLESS.replace("\\n", "\n          ") + "\n")

    def test_json(self):
        functions = [self.hostile()]
        self.start_daemon(functions)
        _, output, _ = self.run_command("list", "--json")
        self.check_safe(output)
        self.assertEqual(json.loads(output), functions)

    def test_locale_that_has_ascii_only(self):
        functions = [function("0000:01:00.0", "pf", DeviceName="Käse \U0001f9c0"),
                     function("0000:01:10.0", "vf", PhysicalFunction="0000:01:00.0"),
                     function("0000:01:10.2", "vf", PhysicalFunction="0000:01:00.0")]
        self.start_daemon(functions)
        self.environment["LC_ALL"] = "C"
        _, output, _ = self.run_command("list", "--no-legend")
        lines = output.splitlines()
        self.assertTrue(lines[0].endswith("Intel Corporation K\\u00e4se \\U0001f9c0"), output)
        self.assertTrue(lines[1].startswith("|-0000:01:10.0"), output)
        self.assertTrue(lines[2].startswith("`-0000:01:10.2"), output)
        _, output, _ = self.run_command("list", "--json")
        self.assertTrue(output.isascii())
        self.assertEqual(json.loads(output), functions)

    def test_columns_are_aligned_as_displayed(self):
        self.start_daemon([function("0000:01:00.0", "plain", Driver="漢字", IommuGroup=1),
                           function("0000:02:00.0", "plain", Driver="e\u0301t\u00e9", IommuGroup=22),
                           function("0000:03:00.0", "plain", Driver="plain1", IommuGroup=333)])
        _, output, _ = self.run_command("list", "--no-legend")
        self.assertEqual([line.split("  -  -  ")[0] for line in output.splitlines()], [
            "0000:01:00.0  plain  漢字      1",
            "0000:02:00.0  plain  e\u0301t\u00e9      22",
            "0000:03:00.0  plain  plain1  333"])


class Writing(CommandTest):
    def setUp(self):
        super().setUp()
        self.start_daemon([function(f"{i:04x}:00:00.0", "plain") for i in range(2000)])

    def test_closed_pipe_is_silent(self):
        for ignored in (True, False):
            with self.subTest(sigpipe_ignored=ignored):
                read, write = os.pipe()
                os.close(read)
                done = subprocess.run(self.argv(["list"]), env=self.environment, stdout=write,
                                      stderr=subprocess.PIPE, check=False,
                                      restore_signals=not ignored)
                os.close(write)
                self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_reader_that_goes_half_way(self):
        with subprocess.Popen(self.argv(["list"]), env=self.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            self.assertTrue(process.stdout.readline().startswith(b"ADDRESS"))
            process.stdout.close()
            self.assertEqual(process.stderr.read(), b"")
            self.assertEqual(process.wait(), 0)

    def test_full_disk(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(self.argv(["list"]), env=self.environment, stdout=full,
                                  stderr=subprocess.PIPE, check=False)
        self.assertEqual((done.returncode, done.stderr), (
            1, b"vfwarden: Cannot write the output: No space left on device\n"))

    def test_closed_standard_descriptors(self):
        # The bus connection must not become standard output.
        command = " ".join(self.argv(["status"]))
        for closed, code, error in ((">&-", 1, b"vfwarden: Cannot write the output: Bad file "
                                               b"descriptor\n"),
                                    ("<&- >&-", 1, b"vfwarden: Cannot write the output: Bad file "
                                                   b"descriptor\n"),
                                    ("<&- 2>&-", 0, b"")):
            with self.subTest(closed):
                done = subprocess.run(["/bin/sh", "-c", f"exec {command} {closed}"],
                                      env=self.environment, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, check=False)
                self.assertEqual((done.returncode, done.stderr), (code, error))


class Terminals(CommandTest):
    """What is done for the sake of a terminal: tables are cut, and pages turned."""

    def setUp(self):
        super().setUp()
        self.start_daemon(pictures.host())
        self.environment["NO_COLOR"] = "1"

    def widths(self, *arguments):
        return [len(line) for line in self.run_on_terminal(*arguments).splitlines()]

    def test_a_table_that_is_too_wide_is_cut(self):
        self.environment["COLUMNS"] = "80"
        output = self.run_on_terminal("list")
        self.assertEqual(max(map(len, output.splitlines())), 80)
        for address in (one["Address"] for one in pictures.host()):
            self.assertIn(address, output)
        self.assertIn("  userspa", output)
        self.assertNotIn("userspace-driver", output)
        self.assertIn("\u2026", output)
        self.environment["LC_ALL"] = "C"
        self.assertRegex(self.run_on_terminal("list"), r"userspa\w*\.\.\.  ")

    def test_in_full(self):
        self.environment["COLUMNS"] = "80"
        _, whole, _ = self.run_command("list")
        for option in ("-l", "--full"):
            self.assertEqual(self.run_on_terminal("list", option), whole)

    def test_a_wide_terminal_and_a_pipe_cut_nothing(self):
        _, whole, _ = self.run_command("list")
        self.environment["COLUMNS"] = "200"
        self.assertEqual(self.run_on_terminal("list"), whole)
        self.environment["COLUMNS"] = "20"
        self.check(["list"], whole)

    def test_a_very_narrow_terminal(self):
        """The addresses stay whole."""
        self.environment["COLUMNS"] = "1"
        for line in self.run_on_terminal("list", "--no-legend").splitlines():
            self.assertRegex(line, r"^[\u251c\u2514\u2500]*[0-9a-f]+:\w\w:\w\w\.\d  ")

    def pager(self, text="sed s/^/>/", **variables):
        self.environment.update(SYSTEMD_PAGER=text, SYSTEMD_PAGERSECURE="0", **variables)

    def test_a_pager(self):
        _, whole, _ = self.run_command("list")
        self.pager()
        paged = "".join(f">{line}\n" for line in whole.splitlines())
        self.assertEqual(self.run_on_terminal("list"), paged)
        self.check(["list"], whole)
        self.assertEqual(self.run_on_terminal("list", "--no-pager"), whole)
        del self.environment["SYSTEMD_PAGER"]
        self.environment["PAGER"] = "sed s/^/>/"
        self.assertEqual(self.run_on_terminal("list"), paged)

    def test_no_pager(self):
        _, whole, _ = self.run_command("list")
        for pager in ("", "cat"):
            self.pager(pager, PAGER="sed s/^/>/")
            self.assertEqual(self.run_on_terminal("list"), whole)
        self.pager(TERM="dumb")
        self.assertEqual(self.run_on_terminal("list"), whole)

    def test_a_verb_that_acts_has_none(self):
        self.pager()
        self.assertEqual(self.run_on_terminal("reset", FULL), f"{FULL} was reset\n")

    def test_a_pager_that_ends_early(self):
        self.pager("head -n 1")
        self.assertEqual(self.run_on_terminal("list").count("\n"), 1)

    def test_a_pager_that_does_not_exist(self):
        """Less is taken; without it, nothing stands between."""
        _, whole, _ = self.run_command("list")
        os.mkdir(os.path.join(self.directory, "empty"))
        self.pager("no-such-pager", PATH=os.path.join(self.directory, "empty"))
        self.assertEqual(self.run_on_terminal("list"), whole)

    def test_a_pager_is_secure_for_somebody_else(self):
        """By sudo, no pager is taken that could start commands, and less gets its secure mode."""
        tools = os.path.join(self.directory, "tools")
        os.mkdir(tools)
        for name, text in (("less", "echo less $LESSSECURE $LESS"), ("mine", "echo mine $LESSSECURE")):
            with open(os.path.join(tools, name), "w", encoding="utf-8") as file:
                file.write(f"#!/bin/sh\ncat >/dev/null\n{text}\n")
            os.chmod(os.path.join(tools, name), 0o755)
        self.pager("mine", PATH=f"{tools}:/usr/bin:/bin")
        self.assertEqual(self.run_on_terminal("list"), "mine\n")
        self.environment["SYSTEMD_PAGERSECURE"] = "1"
        self.assertEqual(self.run_on_terminal("list"), "mine 1\n")
        del self.environment["SYSTEMD_PAGERSECURE"]
        self.environment["SUDO_UID"] = "12345"
        self.assertEqual(self.run_on_terminal("list"), "less 1 FRSXMK\n")


class Quiet(CommandTest):
    def test_what_was_done_is_not_said(self):
        self.start_daemon(pictures.host())
        for arguments in (["reset", FULL], ["lock", FULL], ["unlock", FULL], ["unplug", FULL], ["set-vfs", FULL, "2"]):
            for option in ("-q", "--quiet"):
                self.check([*arguments, option])

    def test_what_was_asked_for_is(self):
        self.start_daemon(pictures.host())
        _, whole, _ = self.run_command("list")
        self.check(["list", "-q"], whole)
        self.assertTrue(self.run_command("reset", FULL, "-qj")[1])

    def test_errors_are_without_hints(self):
        daemon = self.start_daemon(pictures.host())

        def refuse():
            raise DBusError("org.vfwarden1.Error.Refused", "it is in use")
        daemon.answers["Reset"] = refuse
        self.check(["reset", "-q", FULL], code=6, error=f"vfwarden: Cannot reset {FULL}: it is in use\n")
        self.check(["lsit", "-q"], code=2, error="vfwarden: There is no verb 'lsit'; did you mean 'list'?\n")
