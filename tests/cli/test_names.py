"""A function is named by whatever people call it."""

import json
import os

from standin import CommandTest, DBusError
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
