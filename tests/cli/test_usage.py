"""Options, verbs and addresses: what is printed before a request to the daemon."""

import json
import os
import re
import subprocess

from standin import CommandTest
import pictures

TRY = 'Try "vfwarden --help".\n'


class Usage(CommandTest):
    def check_usage(self, arguments, error):
        self.check(arguments, error=f"vfwarden: {error}\n{TRY}", code=2)

    def test_help(self):
        code, output, error = self.run_command("--help")
        self.assertEqual((code, error), (0, ""))
        self.assertEqual(output.splitlines()[0], "vfwarden [OPTION]... VERB [ARGUMENT]...")
        self.assertNotIn(" \n", output)
        for line in ("  lock ADDRESS [WHY]       Lock the files that remove, reset or reconfigure it",
                     "  why ADDRESS [OPERATION]  What blocks it, and what to do about that",
                     "  inhibit ADDRESS -- COMMAND...",
                     "                           Inhibit operations on it while COMMAND runs",
                     "  -H, --host=HOST     Ask the daemon of [USER@]HOST, over ssh",
                     "   0  done",
                     "   5  the daemon cannot be reached: not running, not installed, no bus",
                     "  10  not supported by the function or by this daemon"):
            self.assertIn(line, output.splitlines())
        self.assertLessEqual(max(map(len, output.splitlines())), 80)
        self.check(["-h"], output)
        lines = [line for line in output.splitlines() if "--even-if-host-uses-it" in line]
        self.assertEqual(len(lines), 1)
        self.assertIn("bind, unbind, reset, set-vfs, unplug: take it although", output)

    def test_help_as_a_verb(self):
        self.check(["help"], self.run_command("--help")[1])
        code, output, error = self.run_command("help", "unplug")
        self.assertEqual((code, error), (0, ""))
        self.assertEqual(output.splitlines()[0], "vfwarden [OPTION]... unplug ADDRESS...")
        self.assertIn("--insist", output)
        self.assertNotIn("--sriov", output)
        self.check(["unplug", "--help"], output)
        self.check(["--help", "unplug", "surplus", "--insist"], output)
        self.check(["unplgu", "--help"], code=2, error="vfwarden: There is no verb 'unplgu'; did you mean 'unplug'?\n")
        code, output, error = self.run_command("help", "io")
        self.assertEqual((code, error), (0, ""))
        self.assertIn("io load|store ADDRESS SPACE", output)
        self.assertIn("io serve ADDRESS [-- COMMAND...]", output)
        self.check(["help", "unplgu"], code=2, error="vfwarden: There is no verb 'unplgu'; did you mean 'unplug'?\n")

    def test_version(self):
        code, output, error = self.run_command("--version")
        self.assertEqual((code, error), (0, ""))
        self.assertRegex(output, r"\Avfwarden \d+\.\d+\.\d+(-\d+-g[0-9a-f]+)?\n\Z")

    def test_no_verb(self):
        self.check([], error='vfwarden: No command given; see "vfwarden --help"\n', code=2)

    def test_unknown_verb(self):
        self.check_usage(["frobnicate"], "There is no verb 'frobnicate'")
        for typed, meant in (("lst", "list"), ("lsit", "list"), ("Unplug", "unplug"),
                             ("mon", "monitor"), ("set-num-vfs", "set-vfs"), ("remove", "unplug")):
            self.check_usage([typed], f"There is no verb '{typed}'; did you mean '{meant}'?")
        self.check_usage(["lis\x1bt"], "There is no verb 'lis\\x1bt'; did you mean 'list'?")

    def test_number_of_arguments(self):
        self.check_usage(["list", "a"], "list does not take 'a': vfwarden list")
        self.check_usage(["show"], "show needs an address: vfwarden show ADDRESS...")
        self.check_usage(["lock"], "lock needs an address: vfwarden lock ADDRESS [WHY]")
        self.check_usage(["lock", "01:00.0", "guest", "db1"],
                         "lock does not take 'db1': vfwarden lock ADDRESS [WHY]")
        self.check_usage(["set-vfs"], "set-vfs needs an address: vfwarden set-vfs ADDRESS COUNT")
        self.check_usage(["set-vfs", "01:00.0"],
                         "set-vfs needs one argument more: vfwarden set-vfs ADDRESS COUNT")
        self.check_usage(["set-autoprobe", "01:00.0"], "set-autoprobe needs one argument more: "
                         "vfwarden set-autoprobe ADDRESS yes|no")
        for verb in ("unbind", "reset", "unplug", "cancel-unplug"):
            self.check_usage([verb], f"{verb} needs an address: vfwarden {verb} ADDRESS...")
        io = "vfwarden io load|store ADDRESS SPACE OFFSET LENGTH|HEXBYTES"
        for given in ([], ["load"], ["load", "1:0.0", "0"]):
            self.check_usage(["io", *given], f"io needs more arguments: {io}")
        self.check_usage(["io", "load", "1:0.0", "0", "0"], f"io needs one argument more: {io}")
        self.check_usage(["io", "load", "1:0.0", "0", "0", "8", "9"], f"io does not take '9': {io}")
        self.check_usage(["why"], "why needs an address: vfwarden why ADDRESS [OPERATION]")
        self.check_usage(["bind", "1:0.0", "igb", "b"],
                         "bind does not take 'b': vfwarden bind ADDRESS [DRIVER]")
        self.check_usage(["check-config", "a", "b"],
                         "check-config does not take 'b': vfwarden check-config [DIRECTORY]")
        for option in ("-H", "-M"):
            self.check([option, "far", "check-config"], code=2,
                       error="vfwarden: check-config reads files of this host: it takes no -H and no -M\n")
        code, output, error = self.run_command("--json", "check-config")
        self.assertEqual((code, output, json.loads(error)["Message"]), (2, "", "check-config has no --json"))
        self.check(["check-config", "/nowhere"], code=2, error="vfwarden: Cannot read /nowhere: No such file or directory\n")
        for verb in ("status", "monitor", "release-all", "reload", "inhibitors"):
            self.check_usage([verb, "a"], f"{verb} does not take 'a': vfwarden {verb}")

    def test_options(self):
        self.check_usage(["--frob", "list"], "There is no option --frob, or it can mean several")
        for typed, meant in (("--jsno", "json"), ("--tiemout=3", "timeout"), ("--no-legnd", "no-legend")):
            self.check_usage([typed, "list"], f"There is no option {typed}; did you mean --{meant}?")
        for arguments in (["-x", "list"], ["list", "-hx"], ["list", "--host=a", "-xh"]):
            self.check_usage(arguments, "There is no option -x")
        self.check_usage(["-\u00e9"], "There is no option -\\xc3")
        self.check_usage(["list", "--help=me"], "Option --help=me takes no value")
        self.check_usage(["list", "-H"], "Option -H needs a value")
        self.check_usage(["list", "--host"], "Option --host needs a value")
        self.check_usage(["list", "--json=yes"], "Option --json=yes takes no value")
        self.check_usage(["--color=blue", "list"],
                         "--color takes auto, always or never, not 'blue'")
        self.check_usage(["--sriov", "status"], "--sriov is an option of list, not of status")
        for option, owner in (("--sriov", "list"), ("--what=x", "inhibit"), ("--who=x", "inhibit"),
                              ("--why=x", "inhibit"), ("--list", "inhibit"),
                              ("--override", "set-vfs"), ("--timeout=3", "unplug"),
                              ("--insist", "unplug")):
            name = option.split("=")[0]
            self.check_usage(["status", option],
                             f"{name} is an option of {owner}, not of status")
        for value in ("", "s", "1d", "-1", "1.5s", "1 s", "0x1", "30S", "1234567890s"):
            self.check_usage(["unplug", "1:0.0", f"--timeout={value}"], "--timeout takes a time as "
                             f"30s, 500ms, 5min or 1h, not '{value}'")
        for value in ("25h", "86401", "1441min", "86400001ms"):
            self.check_usage(["unplug", "1:0.0", f"--timeout={value}"],
                             f"--timeout takes a day at most, not '{value}'")
        self.check(["-H", "a:b:c/d/e", "list"], code=2,
                   error="vfwarden: 'a:b:c/d/e' is not the name of a host\n")

    def test_malformed_addresses(self):
        for address, why in (
                ("", "there is no ':' between bus and device"),
                ("0100.0", "there is no ':' between bus and device"),
                ("0:0000:01:00.0", "there are more than two ':'"),
                ("01:00", "there is no '.' between device and function"),
                (":00.0", "the bus is missing"),
                (":01:00.0", "the domain is missing; did you mean 0000:01:00.0?"),
                ("0000:01:00:0", "there are more than two ':'; did you mean 0000:01:00.0?"),
                ("01:.0", "the device is missing"),
                ("01:00.", "the function is missing"),
                ("01:00.8", "function 8 is above 7"),
                ("01:00.00", "the function has more than 1 digit"),
                ("01:20.0", "device 20 is above 1f"),
                ("01:000.0", "the device has more than 2 digits"),
                ("100:00.0", "the bus has more than 2 digits"),
                ("000000000:01:00.0", "the domain has more than 8 digits"),
                ("0x1:01:00.0", "'x' in the domain is not a hexadecimal digit"),
                ("+1:00.0", "'+' in the bus is not a hexadecimal digit; did you mean 0000:01:00.0?"),
                ("1:00.0 ", "' ' in the function is not a hexadecimal digit; "
                            "did you mean 0000:01:00.0?"),
                ("1:\u00e9.0", "'\u00e9' in the device is not a hexadecimal digit")):
            with self.subTest(address):
                for verb in ("show", "lock", "unlock", "why", "users", "bind", "unbind", "reset",
                             "unplug", "cancel-unplug"):
                    self.check([verb, address], code=2,
                               error=f"vfwarden: '{address}' is not a PCI address: {why}\n")

    def test_arguments_that_are_no_text(self):
        for arguments, error in (
                (["show", b"\xff:00.0"],
                 b"'\\xff:00.0' is not a PCI address: it has bytes that are no text\n"),
                (["lock", "01:00.0", b"caf\xe9"],
                 b"'caf\\xe9' is not UTF-8, as a text for others has to be\n")):
            with self.subTest(arguments):
                done = subprocess.run(self.argv(arguments), env=self.environment, check=False,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.assertEqual((done.returncode, done.stdout, done.stderr),
                                 (2, b"", b"vfwarden: " + error))

    def test_malformed_values(self):
        for count in ("", "+1", "0x1", "1 ", "65536", "1234567890", "four"):
            self.check(["set-vfs", "1:0.0", count], code=2,
                       error=f"vfwarden: '{count}' is not a number of virtual functions\n")
        for count in ("-1", "-70000"):
            self.check(["set-vfs", "1:0.0", count], code=2, error=f"vfwarden: {count} is out of range: a "
                       "number of virtual functions is 0 to 65535\n")
        self.check(["io", "load", "1:0.0", "0", "-4", "4"], code=2,
                   error="vfwarden: The offset -4 is out of range: it cannot be negative\n")
        self.check(["show", "-1"], code=2, error="vfwarden: '-1' is not a PCI address: there is no ':' "
                                                 "between bus and device\n")
        for word in ("", "y", "2", "-1", "Yes"):
            self.check(["set-autoprobe", "1:0.0", word], code=2,
                       error=f"vfwarden: '{word}' is neither yes nor no\n")

    def test_values_that_are_no_text(self):
        for arguments, name in ((["why", "1:0.0", b"\xff"], "The operation '\\xff'"),
                                (["bind", "1:0.0", b"\xff"], "The driver '\\xff'"),
                                (["inhibit", "1:0.0", b"--what=\xff", "--", "a"], "--what '\\xff'"),
                                (["inhibit", "1:0.0", b"--who=\xff", "--", "a"], "--who '\\xff'"),
                                (["inhibit", "1:0.0", b"--why=\xff", "--", "a"], "--why '\\xff'")):
            with self.subTest(arguments):
                self.check(arguments, code=2,
                           error=f"vfwarden: {name} has bytes that are no text\n")

    def test_forms_of_an_address(self):
        functions = pictures.host()
        self.start_daemon([*functions, pictures.function("fedcba98:ab:1f.7", "plain")])
        for typed, address in (("01:00.0", pictures.IGB), ("1:0.0", pictures.IGB),
                               ("0:1:0.0", pictures.IGB), ("0000:01:00.0", pictures.IGB),
                               ("00000000:01:00.0", pictures.IGB),
                               ("40:0:10.0", pictures.DETACHED),
                               ("10000:E1:00.0", pictures.UNREADABLE),
                               ("FEDCBA98:AB:1F.7", "fedcba98:ab:1f.7")):
            with self.subTest(typed):
                code, output, error = self.run_command("show", typed)
                self.assertEqual((code, error), (0, ""))
                self.assertEqual(output.split()[0], address)

    def test_negative_numbers_are_values(self):
        daemon = self.start_daemon(pictures.host())
        self.run_command("lock", "-H", "-1", "01:00.0")
        self.assertEqual(daemon.calls, [])          # it was for the host -1
        self.run_command("lock", "01:00.0", "-7 and a half")
        self.run_command("lock", "01:00.0", "\x01")
        self.assertEqual([c[2] for c in daemon.calls if c[0] == "Lock"], [("-7 and a half",), ("\x01",)])

    def test_options_end_at_two_dashes(self):
        daemon = self.start_daemon(pictures.host())
        self.run_command("lock", "01:00.0", "--", "--json")
        self.assertIn(("Lock", (("--json"),)), [(c[0], c[2]) for c in daemon.calls])


class ManualPage(CommandTest):
    """The manual page, --help and the completion know the same verbs, options and exit codes."""

    ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

    def help(self):
        _, output, _ = self.run_command("--help")
        verbs, rest = output.split("Verbs:\n")[1].split("\nOptions:\n")
        options, codes = rest.split("\nExit codes:\n")
        return (re.findall(r"^  ([a-z-]+)", verbs, re.M), re.findall(r"--[a-z-]+", options),
                re.findall(r"^ +(\d+)  (.*)$", codes, re.M))

    def rendered(self):
        done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l",
                               os.path.join(self.ROOT, "docs", "vfwarden.1")],
                              env={**self.environment, "MANWIDTH": "100", "PAGER": "cat"},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        page = re.sub(".\b", "", done.stdout.decode()).replace("\u2010", "-")
        # groff 1.24 indents by 5 columns, earlier versions by 7.
        indent = re.search(r"(?m)^NAME\n( +)", page)[1]
        return re.sub(rf"(?m)^{indent}", " " * 7, page)

    def test_the_manual_page_has_it_all(self):
        verbs, options, codes = self.help()
        page = self.rendered()
        self.assertEqual(len(verbs), 30)
        for verb in verbs:
            self.assertRegex(page, rf"(?m)^ {{7}}{verb}( load| serve)?( \[?ADDRESS.*| \[--.*| +\[?[A-Z].*)?$")
        for option in options:
            self.assertRegex(page, rf"(?m)^ +(-\w, )?{option}\b")
        self.assertEqual([int(number) for number, _ in codes], list(range(12)))
        status = page.split("EXIT STATUS")[1]
        for number, _ in codes:
            self.assertRegex(status, rf"(?m)^ +{number} +\S")

    def test_the_manual_page_has_each_form(self):
        """What a verb takes, and the value of an option, stand in the page as the command has them."""
        page = self.rendered()
        for usage in re.findall(r"^  ((?:[a-z]+-?)+(?: \S+)*?)(?:  .*)?$", self.verbs_text(), re.M):
            forms = [usage]
            alternatives = re.fullmatch(r"(\w+) (\w+)\|(\w+) (.*) (\w+)\|(\w+)", usage)
            if alternatives:        # io has one paragraph for each
                verb, first, second, middle, last, other = alternatives.groups()
                forms = [f"{verb} {first} {middle} {last}", f"{verb} {second} {middle} {other}"]
            for form in forms:
                self.assertRegex(page, rf"(?m)^ {{7}}{re.escape(form)}( {{2,}}| [A-Z][a-z]|$)")
        for row in self.table():
            if row[0] == "option":
                self.assertRegex(page, rf"(?m)^ +(-\w, )?{row[3]}" + (r"\S" if row[3][-1] == "=" else r"( |$)"))

    def verbs_text(self):
        return self.run_command("--help")[1].split("Verbs:\n")[1].split("\nOptions:\n")[0]

    def table(self):
        code, output, error = self.run_command("completion-table")
        self.assertEqual((code, error), (0, ""))
        return [line.split("\t") for line in output.splitlines()]

    def test_the_completion_has_it_all(self):
        verbs, options, _ = self.help()
        table = self.table()
        self.assertEqual({len(row) for row in table}, {6})
        self.assertEqual({cell for row in table for cell in row if cell != cell.strip() or not cell}, set())
        words = {word for row in table for word in (row[1], row[3].rstrip("="))}
        self.assertEqual([w for w in verbs + options if w not in words], [])
