"""The completion for bash, as readline calls it; for fish, as fish itself does; and for zsh, with stand-ins for what
its completion system has."""

import os
import subprocess
import textwrap

from standin import CommandTest
import pictures

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "cli", "completion")
SCRIPT = os.path.join(SCRIPTS, "vfwarden.bash")


class Shell(CommandTest):
    def setUp(self):
        super().setUp()
        os.symlink(os.path.abspath(self.vfwarden), os.path.join(self.directory, "vfwarden"))
        self.environment["PATH"] = f"{self.directory}:{os.environ['PATH']}"

    def run_shell(self, *command):
        done = subprocess.run(command, env={**self.environment, "HOME": self.directory}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.splitlines()


class Completion(Shell):
    def complete(self, line, word_breaks=" \t\n\"'><=;|&(:"):
        """What bash would offer at the end of `line`."""
        done = subprocess.run(
            ["bash", "--norc", "-euc", textwrap.dedent("""\
                source "$1"
                [[ $(complete -p vfwarden) == *_vfwarden* ]]
                COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDBREAKS=$3
                read -r -a COMP_WORDS <<<"$2"
                _vfwarden || true
                (( ${#COMPREPLY[@]} == 0 )) || printf '%s\\n' "${COMPREPLY[@]}"
                """), "bash", SCRIPT, line, word_breaks],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
            text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split()

    def test_verbs(self):
        self.assertEqual(self.complete("vfwarden "), [
            "list", "show", "status", "monitor", "top", "log", "metrics", "why", "users", "inhibitors", "inhibit", "open", "bind",
            "unbind", "reset", "set-vfs", "set-autoprobe", "unplug", "cancel-unplug", "io", "lock",
            "unlock", "release-all", "reload", "check-config", "record", "replay", "libvirt-hook", "help"])
        self.assertEqual(self.complete("vfwarden --json l"), ["list", "log", "lock", "libvirt-hook"])
        self.assertEqual(self.complete("vfwarden -H far s"), ["show", "status", "set-vfs",
                                                                   "set-autoprobe"])
        self.assertEqual(self.complete("vfwarden list "), [])

    def test_options(self):
        self.assertEqual(self.complete("vfwarden list --s"), ["--sriov", "--state=", "--sort="])
        self.assertEqual(self.complete("vfwarden list --kind=p"), ["pf", "plain"])
        self.assertEqual(self.complete("vfwarden --"), [
            "--help", "--version", "--host=", "--machine=", "--json", "--quiet", "--full", "--no-pager", "--no-legend", "--color=", "--no-ask-password"])
        self.assertEqual(self.complete("vfwarden inhibit --w"), ["--what=", "--who=", "--why="])
        self.assertEqual(self.complete("vfwarden set-vfs --o"), ["--override"])
        self.assertEqual(self.complete("vfwarden unplug 1:0.0 --"), [
            "--help", "--version", "--host=", "--machine=", "--json", "--quiet", "--full", "--no-pager", "--no-legend", "--color=", "--no-ask-password", "--timeout=",
            "--insist", "--even-if-host-uses-it"])
        self.assertEqual(self.complete("vfwarden reset --i"), [])
        self.assertEqual(self.complete("vfwarden libvirt-hook --u"), ["--unguarded="])
        self.assertEqual(self.complete("vfwarden libvirt-hook --unguarded=a"), ["allow"])
        self.assertEqual(self.complete("vfwarden unplug --timeout=5"), [])
        self.assertEqual(self.complete("vfwarden inhibit --who "), [])
        self.assertEqual(self.complete("vfwarden --color=a"), ["auto", "always"])
        self.assertEqual(self.complete("vfwarden --color n"), ["never"])

    def test_addresses(self):
        self.start_daemon(pictures.host())
        everything = [f["Address"] for f in pictures.host()]
        for verb in ("show", "lock", "unlock", "why", "users", "inhibit", "bind", "unbind", "reset",
                     "set-vfs", "set-autoprobe", "unplug", "cancel-unplug", "inhibit --why x",
                     "io load", "io store"):
            self.assertEqual(self.complete(f"vfwarden {verb} "), everything)
        self.assertEqual(self.complete("vfwarden show 00", ""), everything[:-1])
        self.assertEqual(self.complete("vfwarden show 0000:01:1", ""),
                         ["0000:01:10.0", "0000:01:10.2"])
        self.assertEqual(self.complete("vfwarden show 1"), ["10000:e1:00.0"])
        self.assertEqual(self.complete("vfwarden lock 0000:01:00.0 "), [])
        self.assertEqual(self.complete("vfwarden list show "), [])
        self.assertEqual(self.complete("vfwarden show 1:0.0 2:0.0 1"), ["10000:e1:00.0"])
        self.assertEqual(self.complete("vfwarden users 1:0.0 1"), ["10000:e1:00.0"])

    def test_names(self):
        self.start_daemon([{**one, "Interfaces": ["ens4", "$(touch x)"], "Slot": "7"} for one in pictures.host()[1:2]])
        self.assertEqual(self.complete("vfwarden unplug e"), ["ens4"])
        self.assertEqual(self.complete("vfwarden unplug slot:"), ["7"])
        self.assertEqual(self.complete("vfwarden unplug slot:", ""), ["slot:7"])
        self.assertEqual(self.complete("vfwarden unplug "), [pictures.IGB, "ens4"])

    def test_operations(self):
        self.assertEqual(self.complete("vfwarden why 1:0.0 "), [
            "set-num-vfs", "set-autoprobe", "bind", "unbind", "reset", "remove", "power-off",
            "disable-pasid", "open"])
        self.assertEqual(self.complete("vfwarden why 1:0.0 re"), ["reset", "remove"])
        self.assertEqual(self.complete("vfwarden why 1:0.0 reset "), [])
        self.assertEqual(self.complete("vfwarden inhibit --what=o"), ["open"])
        self.assertEqual(self.complete("vfwarden inhibit --what=reset:o"), ["open"])
        self.assertEqual(self.complete("vfwarden inhibit --what reset:o", ""), ["reset:open"])

    def test_second_arguments(self):
        self.assertEqual(self.complete("vfwarden set-autoprobe 1:0.0 "), ["yes", "no"])
        self.assertEqual(self.complete("vfwarden set-vfs 1:0.0 "), [])
        self.assertEqual(self.complete("vfwarden reset 1:0.0 "), [])
        drivers = "/sys/bus/pci/drivers"
        self.assertEqual(sorted(self.complete("vfwarden bind 1:0.0 ")),
                         sorted(os.listdir(drivers)) if os.path.isdir(drivers) else [])

    def test_a_hooks_operation(self):
        self.assertEqual(self.complete("vfwarden libvirt-hook "), [])
        self.assertEqual(self.complete("vfwarden libvirt-hook --unguarded allow web1 re"), ["reconnect", "release"])
        self.assertEqual(self.complete("vfwarden libvirt-hook web1 prepare "), [])

    def test_io(self):
        self.assertEqual(self.complete("vfwarden io "), ["load", "store", "serve"])
        self.assertEqual(self.complete("vfwarden io s"), ["store", "serve"])
        self.assertEqual(self.complete("vfwarden io load 1:0.0 "), ["0", "1", "2", "3", "4", "5", "config"])
        self.assertEqual(self.complete("vfwarden io load 1:0.0 c"), ["config"])
        self.assertEqual(self.complete("vfwarden io load 1:0.0 0 "), [])

    def test_a_recording(self):
        with open(os.path.join(self.directory, "host.tar"), "wb"):
            self.assertEqual(self.complete(f"vfwarden replay {self.directory}/ho"), [f"{self.directory}/host.tar"])

    def test_what_inhibit_runs(self):
        self.assertEqual(self.complete("vfwarden inhibit 1:0.0 -- l"), [])

    def test_only_what_follows_the_colon_is_replaced(self):
        self.start_daemon(pictures.host())
        self.assertEqual(self.complete("vfwarden show 0000:01:1"), ["10.0", "10.2"])
        self.assertEqual(self.complete("vfwarden show 0000:"), [
            "00:02.0", "01:00.0", "01:10.0", "01:10.2", "02:00.0", "02:00.1"])

    def test_without_the_domain(self):
        self.start_daemon(pictures.host())
        self.assertEqual(self.complete("vfwarden show 02:", ""), ["02:00.0", "02:00.1"])
        self.assertEqual(self.complete("vfwarden show 02:00.1"), ["00.1"])

    def test_no_daemon_and_other_hosts(self):
        self.assertEqual(self.complete("vfwarden show "), [])
        self.start_daemon(pictures.host())
        self.assertEqual(self.complete("vfwarden -H far show "), [])


class OtherShells:
    """What zsh and fish offer. The order is theirs."""

    def offered(self, line):
        return {word.rstrip("=") for word in self.complete(line)}

    def test_syntax(self):
        self.run_shell(*self.CHECK)

    def test_verbs(self):
        self.assertEqual(self.offered("vfwarden l"), {"list", "lock", "log", "libvirt-hook"})
        self.assertEqual(len(self.offered("vfwarden ")), 29)
        self.assertEqual(self.offered("vfwarden -H far s"), {"show", "status", "set-vfs", "set-autoprobe"})
        self.assertEqual(self.offered("vfwarden list "), set())

    def test_options(self):
        common = {"--help", "--version", "--host", "--machine", "--json", "--quiet", "--full", "--no-pager", "--no-legend", "--color", "--no-ask-password"}
        self.assertEqual(self.offered("vfwarden --"), common)
        self.assertEqual(self.offered("vfwarden unplug 1:0.0 --"), common | {"--timeout", "--insist", "--even-if-host-uses-it"})
        self.assertEqual(self.offered("vfwarden --color a"), {"auto", "always"})
        self.assertEqual(self.offered("vfwarden inhibit --who "), set())

    def test_arguments(self):
        self.assertEqual(self.offered("vfwarden why 1:0.0 re"), {"reset", "remove"})
        self.assertEqual(self.offered("vfwarden set-autoprobe 1:0.0 "), {"yes", "no"})
        self.assertEqual(self.offered("vfwarden set-vfs 1:0.0 "), set())
        self.assertEqual(self.offered("vfwarden io "), {"load", "store", "serve"})
        self.assertEqual(self.offered("vfwarden io load 1:0.0 "), {"0", "1", "2", "3", "4", "5", "config"})
        self.assertEqual(self.offered("vfwarden libvirt-hook web1 re"), {"reconnect", "release"})
        self.assertEqual({word.rpartition(":")[2] for word in self.offered("vfwarden inhibit --what reset:o")},
                         {"open"})

    def test_addresses(self):
        self.start_daemon(pictures.host())
        everything = {f["Address"] for f in pictures.host()}
        for verb in ("show", "lock", "inhibit --why x", "io load"):
            self.assertEqual(self.offered(f"vfwarden {verb} "), everything)
        self.assertEqual(self.offered("vfwarden lock 0000:01:00.0 "), set())
        self.assertEqual(self.offered("vfwarden show 0000:01:00.0 "), everything)
        self.assertEqual(self.offered("vfwarden show 1:0.0 2:0.0 1"), {"10000:e1:00.0"})
        self.assertEqual(self.offered("vfwarden -H far show "), set())


    def test_names(self):
        self.start_daemon([{**one, "Interfaces": ["ens4"], "Slot": "7"} for one in pictures.host()[1:2]])
        self.assertEqual(self.offered("vfwarden unplug e"), {"ens4"})
        self.assertEqual(self.offered("vfwarden unplug slot:"), {"slot:7"})


class Fish(OtherShells, Shell):
    SCRIPT = os.path.join(SCRIPTS, "vfwarden.fish")
    CHECK = ("fish", "--no-execute", SCRIPT)

    def complete(self, line):
        lines = self.run_shell("fish", "--no-config", "-c", 'source $argv[1]; complete -C $argv[2]', self.SCRIPT, line)
        return [line.split("\t")[0] for line in lines]


class Zsh(OtherShells, Shell):
    SCRIPT = os.path.join(SCRIPTS, "_vfwarden")
    CHECK = ("zsh", "-fn", SCRIPT)
    # These exist only while zsh completes. Each prints what it is given that begins as typed.
    STAND_INS = textwrap.dedent("""\
        compadd() {
                while [[ $1 != -- ]]; do shift; done
                shift
                (( $# == 0 )) || print -rl -- ${(M)@:#$PREFIX*}
        }
        _describe() {
                local array=$2
                [[ $1 != -o ]] || array=$3
                print -rl -- ${${(M)${(P)array}:#$PREFIX*}%%:*}
        }
        compset() { PREFIX=${PREFIX##*${2#\\*}} }
        words=(${(z)2})
        [[ $2 != *' ' ]] || words+=('')
        CURRENT=$#words PREFIX=$words[-1]
        source $1
        true
        """)

    def complete(self, line):
        return [word for word in self.run_shell("zsh", "-fc", self.STAND_INS, "zsh", self.SCRIPT, line) if word]
