"""A function is named by whatever people call it."""

import json
import os

from standin import CommandTest, DBusError, encode
import pictures
from pictures import DETACHED, IGB, IGB_VF0, IGB_VF1, NETWORK, NVME, NVME_VF


def named_host():
    """The usual host, with names: a card in a slot, a disk with two paths, VFs in one IOMMU group."""
    functions = pictures.host()
    names = {
        NETWORK: {"Interfaces": ["ens3"], "BlockDevices": []},
        IGB: {"Interfaces": ["ens4"], "BlockDevices": [], "Slot": "4"},
        IGB_VF0: {"Interfaces": ["ens4v0"], "IommuGroup": 20},
        IGB_VF1: {"IommuGroup": 20},
        NVME: {"BlockDevices": ["nvme0", "nvme0n1"]},
        NVME_VF: {"BlockDevices": ["nvme0n1", "nvme1"]},
    }
    for function in functions:
        function.update(names.get(function["Address"], {}))
    return functions


class Names(CommandTest):
    def start(self):
        return self.start_daemon(named_host())

    def shown(self, *names, code=0):
        done, output, error = self.run_command("show", "--json", *names)
        self.assertEqual(done, code, error)
        return json.loads(output)

    def test_each_form(self):
        self.start()
        for name, address in (
                ("1:0.0", IGB), ("ens4", IGB), ("net:ens4", IGB), ("slot:4", IGB), ("pci_0000_01_00_0", IGB),
                ("pci-0000:01:00.0-x", IGB), (f"/sys/bus/pci/devices/{IGB}", IGB), ("8086:10c9", IGB),
                ("nvme0", NVME), ("block:nvme1", NVME_VF), ("/dev/nvme1", NVME_VF), ("group:14", IGB),
                ("/dev/vfio/14", IGB), ("fid:ff", DETACHED), ("uid:0x40", DETACHED), ("1af4:1041", NETWORK)):
            with self.subTest(name):
                self.assertEqual(self.shown(name)["Address"], address)

    def test_a_path_of_this_host(self):
        """A link leads to the function, wherever it is."""
        self.start()
        os.makedirs(os.path.join(self.directory, f"pci0000:00/{IGB}/net/other"))
        link = os.path.join(self.directory, "card")
        os.symlink(os.path.join(self.directory, f"pci0000:00/{IGB}/net/other"), link)
        self.assertEqual(self.shown(link)["Address"], IGB)

    def test_every_verb(self):
        daemon = self.start()
        for verb, method in (("lock", "Lock"), ("unlock", "Unlock"), ("bind", "Bind"), ("unbind", "Unbind"),
                             ("reset", "Reset"), ("cancel-unplug", "CancelUnplug")):
            with self.subTest(verb):
                self.assertEqual(self.run_command(verb, "ens4")[0], 0)
                self.assertEqual(self.run_command(verb, IGB)[0], 0)
                (_, by_name, *_), (_, by_address, *_) = [call for call in daemon.calls if call[0] == method]
                self.assertEqual(by_name, by_address)
        self.assertEqual(self.run_command("set-vfs", "ens4", "2")[0], 0)
        self.assertEqual(self.run_command("why", "ens4", "reset")[0], 0)
        self.assertEqual(self.run_command("users", "ens4")[:2], (0, f"Nobody uses {IGB}.\n"))
        self.assertEqual(self.run_command("inhibit", "ens4", "--", "true")[0], 0)

    def test_a_name_of_several_functions(self):
        daemon = self.start()
        code, output, error = self.run_command("reset", "nvme0n1")
        self.assertEqual((code, output), (2, ""))
        self.assertEqual(error, (
            "vfwarden: 'nvme0n1' can mean 2 functions; name one of them\n"
            f"vfwarden: {NVME}: Red Hat, Inc. QEMU NVM Express Controller, nvme0, nvme0n1\n"
            f"vfwarden: {NVME_VF}: Red Hat, Inc. QEMU NVM Express Controller, nvme0n1, nvme1\n"))
        self.assertNotIn("Reset", [call[0] for call in daemon.calls])
        _, _, error = self.run_command("--json", "unplug", "group:20")
        answer = json.loads(error)
        self.assertEqual((answer["ExitCode"], answer["Address"], len(answer["Hints"])), (2, "group:20", 2))

    def test_a_verb_that_only_shows_takes_them_all(self):
        daemon = self.start()
        self.assertEqual([one["Address"] for one in self.shown("group:20")], [IGB_VF0, IGB_VF1])
        self.assertEqual([one["Address"] for one in self.shown("ens4v0", "nvme0n1", IGB_VF0)], [IGB_VF0, NVME, NVME_VF])
        output = self.run_command("show", "ens4", "group:20")[1]
        self.assertEqual([line.split("  ")[0] for line in output.splitlines() if line.startswith("0000:")],
                         [IGB, IGB_VF0, IGB_VF1])
        daemon.users = [(IGB_VF1, 7, 0, "qemu", ""), (NVME, 8, 0, "qemu", ""), (IGB, 9, 0, "dpdk", "")]
        users = json.loads(self.run_command("users", "--json", "group:20", "nvme0")[1])
        self.assertEqual([user["Pid"] for user in users], [7, 8])
        self.assertEqual(self.run_command("users", "ens4v0", "ens3")[1], f"Nobody uses {IGB_VF0} and {NETWORK}.\n")

    def test_a_name_that_nobody_has(self):
        self.start()
        for name, meant in (("esn4", "; did you mean ens4?"), ("nothing-like-it", ""), ("group:99", "; did you mean group:2?"),
                            ("pci_0000_01_00_0_9", ""), ("/dev/nonsense/of/it", "")):
            with self.subTest(name):
                code, output, error = self.run_command("lock", name)
                called = os.path.basename(name) if name[0] == "/" else name
                self.assertEqual((code, output, error),
                                 (3, "", f"vfwarden: No function is called '{called}'{meant}\n"))
        self.assertEqual(json.loads(self.run_command("--json", "show", "esn4")[2])["Error"],
                         "org.vfwarden1.Error.NoSuchFunction")

    def test_hostile_names(self):
        functions = named_host()
        functions[0]["Interfaces"] = ["\x1b[31m", "$(reboot)"]
        functions[1]["Interfaces"] = ["\x1b[31m"]
        self.start_daemon(functions)
        _, _, error = self.run_command("reset", "net:\x1b[31m")
        self.assertNotIn("\x1b", error)
        self.assertIn("can mean 2 functions", error)
        self.assertNotIn("reboot", self.run_command("completion-names")[1])

    def test_the_daemon_cannot_be_asked(self):
        code, _, error = self.run_command("show", "ens4")
        self.assertEqual(code, 5, error)
        daemon = self.start()

        def fail():
            raise DBusError("org.freedesktop.DBus.Error.AccessDenied", "because")
        daemon.answers["Describe"] = fail
        self.assertEqual(self.run_command("lock", "ens4")[::2], (4, "vfwarden: Cannot look for 'ens4': because\n"))

    def test_an_older_daemon(self):
        self.start_daemon(pictures.host())
        self.assertEqual(self.run_command("show", "ens4")[0], 3)

    def test_completion(self):
        self.start()
        offered = self.run_command("completion-names")[1].splitlines()
        self.assertEqual(offered[:len(named_host())], [one["Address"] for one in named_host()])
        self.assertEqual(offered[len(named_host()):], ["ens3", "ens4", "ens4v0", "nvme0", "nvme0n1", "nvme1"])
        self.assertEqual(self.run_command("completion-names", "slot:")[1], "slot:4\n")
        self.assertEqual(self.run_command("-H", "far", "completion-names")[:2], (5, ""))


class Several(CommandTest):
    """Several names and patterns, for verbs that show and for verbs that act."""

    def setUp(self):
        super().setUp()
        self.stand_in = self.start_daemon(named_host())

    def called(self, method):
        return [call[1] for call in self.stand_in.calls if call[0] == method]

    def shown(self, *names):
        code, output, error = self.run_command("show", "--json", *names)
        self.assertEqual((code, error), (0, ""))
        answer = json.loads(output)
        return [one["Address"] for one in (answer if isinstance(answer, list) else [answer])]

    def test_patterns(self):
        for pattern, addresses in (
                ("0000:01:10.*", [IGB_VF0, IGB_VF1]), ("ens4*", [IGB, IGB_VF0]), ("net:ens?", [NETWORK, IGB]),
                ("slot:*", [IGB]), ("1af4:*", [NETWORK]), ("group:2*", [NETWORK, IGB_VF0, IGB_VF1, NVME_VF]),
                ("*:10.2", [IGB_VF1]), ("nvme?", [NVME, NVME_VF])):
            with self.subTest(pattern):
                self.assertEqual(self.shown(pattern), addresses)
        self.check(["show", "wl*"], code=3, error="vfwarden: No function is called 'wl*'\n")

    def test_a_virtual_machine(self):
        self.stand_in.function(IGB_VF1)["Users"] = [{"Pid": 7, "Machine": "web1"}, "nonsense"]
        self.assertEqual(self.shown("domain:web1"), [IGB_VF1])
        self.assertEqual(self.shown("domain:web*"), [IGB_VF1])
        self.assertEqual(self.run_command("show", "domain:web")[0], 3)

    def test_each_is_done(self):
        self.check(["reset", IGB_VF0, "nvme1"], f"{IGB_VF0} was reset\n{NVME_VF} was reset\n")
        self.check(["reset", "0000:01:10.*"], f"{IGB_VF0} was reset\n{IGB_VF1} was reset\n")
        self.check(["reset", "1:10.0", IGB_VF0, "ens4v0"], f"{IGB_VF0} was reset\n")
        self.assertEqual(self.called("Reset"), [encode(a) for a in (IGB_VF0, NVME_VF, IGB_VF0, IGB_VF1, IGB_VF0)])

    def test_nothing_is_done_if_one_name_is_wrong(self):
        self.assertEqual(self.run_command("reset", IGB_VF0, "nonsense")[0], 3)
        self.assertEqual(self.run_command("reset", IGB_VF0, "nvme0n1")[0], 2)
        self.assertEqual(self.called("Reset"), [])

    def test_it_goes_on_when_one_fails(self):
        def refuse():
            if self.called("Unbind")[-1] == encode(IGB_VF0):
                raise DBusError("org.vfwarden1.Error.Refused", "because")
        self.stand_in.answers["Unbind"] = refuse
        code, output, error = self.run_command("unbind", IGB_VF0, IGB_VF1, NVME)
        self.assertEqual(code, 6)
        self.assertEqual([line.split()[0] for line in output.splitlines()], [IGB_VF1, NVME])
        self.assertIn(f"Cannot unbind {IGB_VF0}: because", error)
        code, output, error = self.run_command("--json", "unbind", IGB_VF0, IGB_VF1, NVME)
        self.assertEqual((code, [one["Address"] for one in json.loads(output)]), (6, [IGB_VF1, NVME]))
        self.assertEqual(json.loads(error)["Address"], IGB_VF0)

    def test_each_verb_that_takes_several(self):
        for verb, method in (("unlock", "Unlock"), ("unbind", "Unbind"), ("cancel-unplug", "CancelUnplug"),
                             ("unplug", "Unplug"), ("reset", "Reset")):
            with self.subTest(verb):
                self.assertEqual(self.run_command(verb, "ens4", "ens3")[0], 0)
                self.assertEqual(self.called(method), [encode(IGB), encode(NETWORK)])
        self.assertEqual(len(json.loads(self.run_command("--json", "unplug", "ens4", "ens3")[1])), 2)

    def test_a_verb_that_takes_one_refuses_a_pattern_of_several(self):
        code, _, error = self.run_command("set-vfs", "*", "1")
        self.assertEqual(code, 2)
        self.assertIn("can mean 8 functions", error)
        self.assertEqual(self.run_command("set-vfs", "0000:01:00.*", "1")[0], 0)


class Tree(CommandTest):
    PORT, BRIDGE = "0000:00:1c.0", "0000:00:01.0"

    def start(self, **parents):
        functions = named_host() + [pictures.function(self.PORT, "plain", NumaNode=0),
                                    pictures.function(self.BRIDGE, "plain")]
        functions.sort(key=lambda one: one["Address"].rjust(13))
        for one in functions:
            one["Parent"] = {IGB: self.PORT, NVME: self.PORT, self.PORT: self.BRIDGE, **parents}.get(one["Address"], "")
        self.start_daemon(functions)

    def lines(self, *options):
        code, output, error = self.run_command("list", "--tree", "--no-legend", "--columns=address", *options)
        self.assertEqual((code, error), (0, ""))
        return output.splitlines()

    def test_by_topology(self):
        self.start()
        self.assertEqual(self.lines(), [
            self.BRIDGE, f"└─{self.PORT}", f"  ├─{IGB}", f"  │ ├─{IGB_VF0}", f"  │ └─{IGB_VF1}", f"  └─{NVME}",
            f"    └─{NVME_VF}", NETWORK, DETACHED, "10000:e1:00.0"])
        self.environment["LC_ALL"] = "C"
        self.assertIn(f"  | `-{IGB_VF1}", self.lines())

    def test_where_a_bridge_is_left_out(self):
        self.start()
        self.assertEqual(self.lines("--kind=pf,vf"), [IGB, f"├─{IGB_VF0}", f"└─{IGB_VF1}", NVME, f"└─{NVME_VF}"])

    def test_functions_that_are_below_each_other(self):
        """A daemon says so: each is printed once all the same."""
        self.start(**{self.BRIDGE: self.PORT})
        addresses = [line.lstrip(" ├└─│") for line in self.lines()]
        self.assertEqual(len(addresses), 10)
        self.assertEqual(len(set(addresses)), 10)

    def test_columns(self):
        self.start()
        self.assertEqual(self.run_command("list", "--tree")[1].split("\n")[0].split(),
                         ["ADDRESS", "KIND", "SLOT", "NUMA", "GROUP", "DRIVER", "LOCK", "STATE", "NAME"])
        self.assertEqual(self.run_command("list", "--tree", "--sort=numa")[0], 2)
