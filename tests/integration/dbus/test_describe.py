#!/usr/bin/python3
"""Describe() is the same picture as the objects, as one document."""

import json
import os
import re
import socket
import time
import xml.etree.ElementTree as ElementTree

import fixtures
import vfwarden_bus as vb
from configspace import recorded_config
from test_operations import OperationTest

DBUS = os.path.join(fixtures.SOURCE, "dbus")
PF = "0000:01:00.0"
PASID = "org.vfwarden1.Pasid"
MSIX = "org.vfwarden1.Msix"
ZPCI_IO = "org.vfwarden1.ZpciIo"


class Describe(fixtures.DaemonTest):
    def check(self):
        document = json.loads(self.client.manager("Describe"))
        self.assertEqual(set(document), {"SchemaVersion", "Hostname", "MachineId", "Time", "Version", "Enforcement",
                                         "Problems", "Guards", "LongestTurn", "LongestTurnCpu", "Functions"})
        for name in ("LongestTurn", "LongestTurnCpu"):
            self.assertGreater(document[name], 0)
        self.assertEqual(document["Version"], self.client.manager_property("Version"))
        self.assertEqual(document["Enforcement"], self.client.manager_property("Enforcement"))
        self.assertEqual(document["Problems"], self.client.manager_property("Problems"))
        addresses = {path: properties[vb.FUNCTION]["Address"]
                     for path, properties in self.client.managed_objects().items()}
        truth = {}
        for interfaces in self.client.managed_objects().values():
            flat = {"Users": [], "Uses": []}
            for name, properties in interfaces.items():
                if name == PASID:
                    flat["Pasid"] = {**properties, "Provider": addresses[properties["Provider"]],
                                     "Dependents": [addresses[p] for p in properties["Dependents"]]}
                elif name in (MSIX, ZPCI_IO):
                    flat[name.rpartition(".")[2]] = properties
                else:
                    flat.update(properties)
            flat["Parent"] = addresses.get(flat["Parent"], "")
            flat["Children"] = [addresses[path] for path in flat["Children"]]
            if "VirtualFunctions" in flat:
                flat["VirtualFunctions"] = [addresses[p] for p in flat["VirtualFunctions"]]
            if "PhysicalFunction" in flat:
                flat["PhysicalFunction"] = addresses.get(flat["PhysicalFunction"])
            truth[flat["Address"]] = flat
        for user in self.client.manager("DescribeUsers", "(s)", ""):
            function = truth[user.pop("address")]
            function["Users"].append({name.capitalize(): value for name, value in user.items()})
        for use in self.client.manager("DescribeUses", "(s)", ""):
            function = truth[use.pop("address")]
            function["Uses"].append({name.capitalize(): value for name, value in use.items()})
        told = {f["Address"]: f for f in document["Functions"]}
        for flat in told.values():
            # "/" of a detached VF has no address: absent, null or empty are all honest.
            if "PhysicalFunction" in truth[flat["Address"]]:
                flat["PhysicalFunction"] = flat.get("PhysicalFunction") or None
        self.assertEqual(told, truth)
        order = [f["Address"] for f in document["Functions"]]
        self.assertEqual(order, sorted(order, key=lambda a: (
            int(a.split(":")[0], 16), a.split(":", 1)[1])))
        return document

    def test_all_kinds(self):
        self.start_polkit(configure=True)
        self.sysfs.add_pf(PF, vfs=3, vf_driver="igbvf", slot="3")
        self.sysfs.add_pf("0000:04:00.0", driver="vfio-pci")
        self.sysfs.add("0000:02:00.0", group=None, attributes={"vendor": None})
        self.sysfs.add("0013:00:00.0", attributes={"vfn": "0x0001"})
        self.sysfs.add("10000:00:00.0", config=recorded_config("qemu-igb"))
        self.start()
        self.wait_property("10000:00:00.0", "Vectors", 10)
        self.client.lock(PF, "a \"quote\", a\nline and an ü")
        self.fence()
        document = self.check()
        self.assertEqual(len(document["Functions"]), 9)

    def test_users(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        before = time.time_ns() // 1000
        pf.vfs[1].write("enable", "1")
        self.wait_property(pf.vfs[1].address, "InUse", True)
        document = self.check()
        told = {f["Address"]: f["Users"] for f in document["Functions"] if f["Users"]}
        self.assertEqual(list(told), [pf.vfs[1].address])
        user, = told[pf.vfs[1].address]
        self.assertTrue(before <= user.pop("Since") <= time.time_ns() // 1000)
        self.assertEqual(user, {"Pid": 0, "Uid": 0, "Command": "", "Unit": "", "Machine": "", "Session": False,
                                "Brokered": False})
        pf.vfs[1].write("enable", "0")
        self.wait_property(pf.vfs[1].address, "InUse", False)
        self.check()

    def test_pasid(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci", config=recorded_config("amd-gpu-enabled"))
        self.start()
        self.wait_property(PF, "Enabled", True)
        pf.vfs[1].write("enable", "1")
        self.wait_property(PF, "Dependents", [vb.function_path(pf.vfs[1].address)])
        document = self.check()
        told = {f["Address"]: f.get("Pasid") for f in document["Functions"]}
        self.assertEqual(told[PF], {"Enabled": True, "Width": 16, "Execute": True, "Privileged": True,
                                    "Provider": PF, "Dependents": [pf.vfs[1].address]})
        self.assertEqual(told[pf.vfs[0].address], {**told[PF], "Dependents": []})
        self.assertIsNone(told[self.SENTINEL])

    def test_which_host_and_when(self):
        self.start()
        before = time.time_ns() // 1000
        document = json.loads(self.client.manager("Describe"))
        self.assertEqual(document["SchemaVersion"], 1)
        self.assertEqual(document["Hostname"], socket.gethostname())
        try:
            with open("/etc/machine-id", encoding="ascii") as file:
                machine = file.read().strip()
        except FileNotFoundError:
            machine = ""
        self.assertEqual(document["MachineId"], machine)
        self.assertTrue(before <= document["Time"] <= time.time_ns() // 1000)

    def test_nothing(self):
        self.start()
        self.check()


JSON_TYPES = {bool: "boolean", int: "number", str: "string", list: "array", dict: "object"}
DBUS_TYPES = {"b": "boolean", "s": "string", "o": "string", "as": "array", "ao": "array",
              **dict.fromkeys("yqui", "number")}


class Documented(OperationTest):
    """The documentation of Describe(), in org.vfwarden1.Manager.xml, and what it returns, to the last member."""

    def setUp(self):
        super().setUp()
        self.seen = {}

    def documented(self):
        """What "Members of X:" lists: X -> {name: type}."""
        with open(os.path.join(DBUS, "org.vfwarden1.Manager.xml"), encoding="utf-8") as file:
            comment, = (text for text in re.findall("<!--(.*?)-->", file.read(), re.S)
                        if text.split() and text.split()[0] == "Describe:")
        members = {}
        for paragraph in re.split(r"\n\s*\n", comment):
            words = " ".join(paragraph.split())
            if match := re.match(r"Members of (?:the|an?) (\w+):", words):
                members[match[1]] = dict(re.findall(r'"(\w+)" \((\w+)\)', words))
        return members

    @staticmethod
    def properties(name):
        root = ElementTree.parse(os.path.join(DBUS, f"org.vfwarden1.{name}.xml")).getroot()
        return {p.get("name"): DBUS_TYPES[p.get("type")] for p in root.iter("property")}

    def note(self, kind, members):
        for name, value in members.items():
            self.seen.setdefault(kind, {}).setdefault(name, JSON_TYPES[type(value)])
            self.assertEqual(self.seen[kind][name], JSON_TYPES[type(value)], f"{kind} {name}")

    def collect(self):
        document = json.loads(self.client.manager("Describe"))
        self.note("document", document)
        for function in document["Functions"]:
            self.note("function", function)
            for user in function["Users"]:
                self.note("user", user)
            for use in function["Uses"]:
                self.note("use", use)
            for kind in ("Pasid", "Msix", "ZpciIo", "Operation"):
                if kind in function:
                    self.note(kind.lower(), function[kind])

    def test_every_member_is_documented_and_there(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci", config=recorded_config("amd-gpu-enabled"))
        self.sysfs.add("0000:02:00.0")
        self.sysfs.add("0013:00:00.0", attributes={"vfn": "0x0001"})
        self.sysfs.add("10000:00:00.0", config=recorded_config("qemu-igb"))
        os.makedirs(pf.path("net"))     # its interface is in another network namespace
        self.kernel.hang.add("0000:02:00.0/reset")
        self.start()
        self.wait_property(PF, "Enabled", True)
        vb.wait_until(lambda: self.client.manager("DescribeUses", "(s)", PF), None, "the uses to be known")
        self.wait_property("10000:00:00.0", "Vectors", 10)
        pf.vfs[1].write("enable", "1")
        self.wait_property(pf.vfs[1].address, "InUse", True)
        call = self.client.start_function_call("0000:02:00.0", "Reset")
        write = self.kernel.wait_for("0000:02:00.0/reset")
        self.collect()
        self.kernel.release(write)
        call.result()

        documented = self.documented()
        for name in ("Unknown", "SocketPid", "Others"):      # not to be had here; tests/unit/test-describe-user.c looks at them
            del documented["user"][name]
        for name in ("Function", "PhysicalFunction", "VirtualFunction", "Zpci"):
            documented["function"].update(self.properties(name))
        for name in ("Pasid", "Msix", "ZpciIo"):
            documented[name.lower()] = self.properties(name)
        self.assertEqual(self.seen, documented)


if __name__ == "__main__":
    fixtures.main()
