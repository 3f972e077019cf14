#!/usr/bin/python3
"""The XML in dbus/ is what the live objects say of themselves, to the last argument's name."""

import glob
import os
import re
import xml.etree.ElementTree as ElementTree

import fixtures
import vfwarden_bus as vb
from configspace import recorded_config

DBUS = os.path.join(fixtures.SOURCE, "dbus")
EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"
PF = "0000:01:00.0"


def members(interface):
    """An <interface> as a dict that compares by what counts."""
    told = {}
    for node in interface:
        if node.tag not in ("method", "signal", "property"):
            continue
        notes = {a.get("name"): a.get("value") for a in node.findall("annotation")
                 if a.get("name") != "org.freedesktop.systemd1.Privileged"}
        if node.tag == "property":
            notes.setdefault(EMITS, "true")
            told["property", node.get("name")] = (node.get("type"), node.get("access"), notes)
        else:
            default = "in" if node.tag == "method" else "out"
            arguments = [(a.get("name"), a.get("type"),
                          a.get("direction", default) if node.tag == "method" else "out")
                         for a in node.findall("arg")]
            told[node.tag, node.get("name")] = (arguments, notes)
    return told


class Introspection(fixtures.DaemonTest):
    def checked_in(self):
        interfaces = {}
        for path in sorted(glob.glob(os.path.join(DBUS, "org.vfwarden1.*.xml"))):
            for interface in ElementTree.parse(path).getroot().iter("interface"):
                name = interface.get("name")
                self.assertNotIn(name, interfaces, path)
                self.assertEqual(os.path.basename(path), f"{name}.xml")
                interfaces[name] = members(interface)
        self.assertTrue(interfaces, "no XML in dbus/")
        return interfaces

    def test_every_member_is_documented(self):
        # A comment before each, in the form of gdbus-codegen: "Name:", a line for each argument, text.
        for path in sorted(glob.glob(os.path.join(DBUS, "org.vfwarden1.*.xml"))):
            parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
            root = ElementTree.parse(path, parser).getroot()
            for parent in (root, *root.iter("interface")):
                before = None
                for node in parent:
                    if node.tag in ("interface", "method", "signal", "property"):
                        name = node.get("name")
                        with self.subTest(f"{path} {name}"):
                            self.assertIs(getattr(before, "tag", None), ElementTree.Comment)
                            lines = [line.strip() for line in before.text.strip().splitlines()]
                            self.assertEqual(lines[0], f"{name}:")
                            for argument in node.findall("arg"):
                                self.assertRegex(before.text, rf"@{argument.get('name')}: \S")
                            self.assertRegex(before.text, r"\n\s*\n\s*[A-Z0-9\"]", "no text")
                    before = node

    def test_all_of_it_is_installed(self):
        with open(os.path.join(DBUS, "meson.build"), encoding="utf-8") as file:
            listed = set(re.findall(r"'(org\.vfwarden1\.\w+\.xml)'", file.read()))
        self.assertEqual(listed, {os.path.basename(p) for p in
                                  glob.glob(os.path.join(DBUS, "org.vfwarden1.*.xml"))})

    def live(self):
        pf = self.sysfs.add_pf(PF, vfs=1, config=recorded_config("intel-dsa"))
        self.sysfs.add("0000:02:00.0", config=recorded_config("qemu-igb"))
        self.sysfs.add("0013:00:00.0", attributes={"vfn": "0x0000"})
        self.start()
        self.wait_property(PF, "Width", 20)     # comes a moment after the function
        self.wait_property("0000:02:00.0", "Vectors", 10)
        interfaces = {}
        for path in (vb.ROOT, vb.function_path(PF), vb.function_path(pf.vfs[0].address),
                     vb.function_path("0000:02:00.0"), vb.function_path("0013:00:00.0")):
            for interface in ElementTree.fromstring(self.client.introspect(path)).findall("interface"):
                name = interface.get("name")
                if not name.startswith("org.vfwarden1."):
                    continue
                said = members(interface)
                self.assertEqual(interfaces.setdefault(name, said), said, f"{name} differs at {path}")
        return interfaces

    def test_xml_is_the_live_interface(self):
        checked_in, live = self.checked_in(), self.live()
        self.assertEqual(sorted(checked_in), sorted(live))
        for name in checked_in:
            for member in sorted(set(checked_in[name]) | set(live[name])):
                with self.subTest(f"{name} {member}"):
                    self.assertEqual(checked_in[name].get(member), live[name].get(member))

    def test_every_argument_has_a_name(self):
        for name, interface in self.live().items():
            for (kind, member), said in interface.items():
                if kind == "property":
                    continue
                for argument, _type, _direction in said[0]:
                    self.assertTrue(argument, f"{name}.{member}")

    def test_contract(self):
        # The names that clients are written against; an addition is fine, a loss is not.
        live = self.live()
        for name, wanted in {
            vb.MANAGER: {"method": "GetFunction ListFunctions Describe ReleaseAll Reload",
                         "signal": "Violation",
                         "property": "Version:s Enforcement:s FunctionCount:u Problems:as Guards:as"},
            vb.FUNCTION: {"method": "Lock Unlock",
                          "property": "Address:s Kind:s VendorId:q DeviceId:q SubsystemVendorId:q "
                          "SubsystemDeviceId:q Class:u Revision:y VendorName:s DeviceName:s Driver:s "
                          "DriverOverride:s IommuGroup:i NumaNode:i CommandMemory:s InUse:b Locked:b "
                          "LockReasons:as LockWhy:s ClosedFiles:as UserspaceDriver:b Tainted:b State:s "
                          "Parent:o Children:ao Slot:s Interfaces:as BlockDevices:as LinkSpeed:u LinkWidth:y Serial:s"},
            vb.PHYSICAL: {"property": "TotalVFs:q NumVFs:q VirtualFunctions:ao DriversAutoprobe:b"},
            vb.VIRTUAL: {"property": "PhysicalFunction:o Index:u"},
            vb.ZPCI: {"property": "FunctionId:u FunctionHandle:u Uid:u Pchid:q FunctionGroup:y "
                      "VirtualFunctionNumber:q FunctionType:y MioEnabled:b"},
            "org.vfwarden1.Msix": {"property": "Vectors:q TableBar:y TableOffset:u PbaBar:y PbaOffset:u "
                                   "Isolation:s Evidence:as TableMappable:b Reason:s"},
        }.items():
            for kind, words in wanted.items():
                for word in words.split():
                    member, _, signature = word.partition(":")
                    self.assertIn((kind, member), live[name], name)
                    if signature:
                        self.assertEqual(live[name][kind, member][0], signature, f"{name}.{member}")

    def test_objects_that_are_not_there(self):
        self.start()
        for path in (vb.function_path("0000:44:00.0"), f"{vb.ROOT}/function/nonsense",
                     f"{vb.ROOT}/function/_30000_3a02_3a00_2e", f"{vb.ROOT}/other"):
            with self.subTest(path):
                with self.assertRaises(vb.BusError):
                    self.client.get_all(path, vb.FUNCTION)

    def test_interfaces_of_another_kind_are_absent(self):
        self.sysfs.add("0000:02:00.0")
        self.start()
        path = vb.function_path("0000:02:00.0")
        for interface in (vb.PHYSICAL, vb.VIRTUAL):
            with self.assertRaises(vb.BusError):
                self.client.get(path, interface, "NumVFs" if interface == vb.PHYSICAL else "Index")

    def test_children_are_listed(self):
        self.sysfs.add("0000:02:00.0")
        self.start()
        nodes = {node.get("name") for node in ElementTree.fromstring(
            self.client.introspect(f"{vb.ROOT}/function")).findall("node")}
        self.assertEqual(nodes, {vb.encode("0000:02:00.0"), vb.encode(self.SENTINEL)})


if __name__ == "__main__":
    fixtures.main()
