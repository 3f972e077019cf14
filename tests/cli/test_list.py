"""What list shows when it is asked for less, more, or another order."""

import json

from standin import CommandTest
import pictures
from pictures import DETACHED, IGB, IGB_VF0, IGB_VF1, NETWORK, NVME, NVME_VF, UNREADABLE


def used_host():
    functions = {one["Address"]: one for one in pictures.host()}
    functions[IGB_VF1]["Users"] = [{"Pid": 4711, "Uid": 0, "Command": "/usr/bin/qemu", "Unit": "web.service",
                                    "Machine": "web1"}]
    functions[NVME]["Users"] = [{"Pid": 815, "Uid": 0, "Command": "", "Unit": "", "Machine": ""},
                                {"Pid": 0, "Uid": 0, "Command": "", "Unit": "", "Machine": ""}]
    functions[IGB].update(Interfaces=["ens4", "ens5"], Slot="4", LinkSpeed=2500, LinkWidth=4, Serial="90-e2")
    functions[NVME].update(BlockDevices=["nvme0"], LinkSpeed=16000, LinkWidth=8)
    return list(functions.values())


class List(CommandTest):
    def setUp(self):
        super().setUp()
        self.start_daemon(used_host())

    def listed(self, *options):
        code, output, error = self.run_command("list", "--json", *options)
        self.assertEqual((code, error), (0, ""))
        addresses = [one["Address"] for one in json.loads(output)]
        printed = self.rows("--columns=address", *options)
        self.assertEqual([row[0].lstrip("├─└") for row in printed], addresses)
        return addresses

    def rows(self, *options):
        code, output, error = self.run_command("list", "--no-legend", *options)
        self.assertEqual((code, error), (0, ""))
        return [line.split() for line in output.splitlines()]

    def test_filters(self):
        for option, addresses in (
                ("--kind=pf", [IGB, NVME]), ("--kind=vf,detached-vf", [IGB_VF0, IGB_VF1, NVME_VF, DETACHED]),
                ("--kind=*vf", [IGB_VF0, IGB_VF1, NVME_VF, DETACHED]), ("--kind=x*", []),
                ("--driver=igb", [IGB]), ("--driver=igb*", [IGB, IGB_VF0]), ("--driver=-", [UNREADABLE]),
                ("--state=in-use", [IGB_VF1, NVME]), ("--state=locked", [NVME]), ("--state=tainted", [NVME]),
                ("--state=draining", [IGB_VF1]), ("--state=free,draining", [
                    NETWORK, IGB, IGB_VF0, IGB_VF1, NVME_VF, DETACHED, UNREADABLE]),
                ("--holder=web1", [IGB_VF1]), ("--holder=web.service", [IGB_VF1]), ("--holder=*qemu", [IGB_VF1]),
                ("--holder=815", [NVME]), ("--holder=*", [IGB_VF1, NVME]), ("--holder=nobody", []),
                ("--numa=0", [IGB, NVME]), ("--numa=-", [NETWORK, IGB_VF0, IGB_VF1, NVME_VF, DETACHED, UNREADABLE]),
                ("--sriov", [IGB, IGB_VF0, IGB_VF1, NVME, NVME_VF, DETACHED])):
            with self.subTest(option):
                self.assertEqual(self.listed(option), addresses)
        self.assertEqual(self.listed("--kind=pf", "--state=free"), [IGB])

    def test_a_condition_that_none_can_meet(self):
        for option, error in (("--kind=other", "--kind does not know 'other'"),
                              ("--kind=pf,vfs", "--kind does not know 'vfs'; did you mean 'vf'?"),
                              ("--state=in_use", "--state does not know 'in_use'; did you mean 'in-use'?"),
                              ("--state=", "--state does not know ''"),
                              ("--numa=x", "--numa takes numbers of NUMA nodes, and '-' for none, not 'x'")):
            code, output, printed = self.run_command("list", option)
            self.assertEqual((code, output), (2, ""), option)
            self.assertIn(f"vfwarden: {error}\n", printed)

    def test_a_vf_without_its_pf(self):
        self.assertEqual([row[0] for row in self.rows("--kind=vf")], [IGB_VF0, IGB_VF1, NVME_VF])
        self.assertEqual([row[0] for row in self.rows("--driver=igb*")], [IGB, f"└─{IGB_VF0}"])

    def test_columns(self):
        code, output, _ = self.run_command("list", "--kind=pf", "--columns=address,numa,slot,id,link,serial,"
                                           "interfaces,disks,holder")
        self.assertEqual((code, output), (0, (
            "ADDRESS       NUMA  SLOT  ID         LINK   SERIAL  INTERFACES  DISKS  HOLDER\n"
            "0000:01:00.0     0  4     8086:10c9  2.5x4  90-e2   ens4,ens5   -      -\n"
            "0000:02:00.0     0  -     1b36:0010  16x8   -       -           nvme0  pid 815,unknown\n")))
        usual = self.run_command("list")[1].splitlines()[0].split()
        self.assertEqual(self.run_command("list", "--columns=+holder")[1].splitlines()[0].split(), [*usual, "HOLDER"])
        self.assertEqual(self.rows("--columns=holder", "--holder=web1"), [["web1"]])

    def test_sorting(self):
        """Numbers in words are numbers, and there is no tree."""
        self.assertEqual([row[1] for row in self.rows("--sort=group", "--columns=address,group")],
                         ["-", "2", "3", "14", "15", "20", "21", "22"])
        self.assertEqual([row[0] for row in self.rows("--sort=driver", "--kind=vf", "--columns=address")],
                         [IGB_VF0, IGB_VF1, NVME_VF])
        self.assertEqual(self.listed("--sort=kind")[:2], [DETACHED, IGB])

    def test_words_that_are_no_column(self):
        for option in ("--columns=drivr", "--columns=address,drivr", "--sort=drivr"):
            self.check(["list", option], code=2, error="vfwarden: There is no column 'drivr'; did you mean 'driver'?\n")
        self.check(["list", "--columns="], code=2, error="vfwarden: --columns names no column\n")
