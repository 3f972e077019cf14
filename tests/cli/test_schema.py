"""docs/schema is what --json prints: each verb, and each property that D-Bus has."""

import glob
import json
import os
import xml.etree.ElementTree as ElementTree

from gi.repository import GLib
import jsonschema

import schema
from standin import CommandTest, DBusError, FUNCTION, MANAGER, ROOT, encode
import pictures
from pictures import DETACHED, IGB, IGB_VF0, IGB_VF1, NVME
from test_metrics import statistics

DBUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "dbus")
JSON_TYPES = {"b": "boolean", "s": "string", "o": "string", "as": "array", "ao": "array", "y": "integer", "q": "integer",
              "u": "integer", "t": "integer", "i": "integer"}
# The line of `monitor` for each signal, and an argument of each type that signals have.
EVENTS = {"DeviceFailed": "device-failed", "UnplugRequested": "unplug-requested", "Violation": "violation"}
SENT = {"s": IGB, "t": 0, "a{sv}": {}}
OF_FUNCTIONS = {"Function": None, "PhysicalFunction": None, "VirtualFunction": None, "Zpci": None, "Pasid": "Pasid",
                "Msix": "Msix", "ZpciIo": "ZpciIo"}


def host():
    """A host in which every member occurs that functions can have."""
    functions = {one["Address"]: one for one in pictures.host()}
    functions[NVME].update(
        Users=[{"Pid": 815, "Uid": 0, "Command": "qemu", "Unit": "", "Machine": "", "Since": 1, "Session": False,
                "Brokered": True, "Unknown": True, "Others": 3}],
        Uses=[{"Kind": "mounted", "Subsystem": "block", "Object": "nvme0n1", "By": "", "Namespace": "", "Pid": 0, "Text": "x",
               "Lost": "y"}],
        Operation={"Name": "reset", "Pid": 7, "Since": 1}, UsersOmitted=2, Slot="4", Interfaces=["a"], BlockDevices=["b"],
        LinkSpeed=16000, LinkWidth=4, Serial="00-01", Parent="", Children=[IGB])
    return list(functions.values())


class Schema(CommandTest):
    def printed(self, verb, *arguments, code=0):
        done, output, error = self.run_command(verb, "--json", *arguments)
        self.assertEqual(done, code, error)
        schema.check(verb, output)
        return output

    def setUp(self):
        super().setUp()
        self.stand_in = self.start_daemon(host(), problems=["one"], statistics=statistics())
        self.stand_in.users = [(IGB_VF1, 7, 0, "qemu", "", "web1", 1795222312_000000)]
        self.stand_in.inhibitors = [(IGB, "reset", "backup", "nightly", 0, 817)]
        self.stand_in.modes = ["delay"]

    def test_each_verb_that_shows(self):
        for arguments in (["list"], ["show", IGB], ["show", IGB_VF1, NVME, DETACHED], ["users"], ["inhibitors"], ["status"],
                          ["metrics"], ["top"], ["why", IGB, "reset"], ["why", IGB]):
            with self.subTest(arguments):
                self.printed(*arguments)

    def test_each_verb_that_does_something(self):
        for arguments in (["lock", IGB, "why"], ["unlock", IGB], ["bind", IGB_VF0, "vfio-pci"], ["unbind", IGB_VF0],
                          ["reset", IGB_VF0], ["set-vfs", IGB, "2"], ["set-autoprobe", IGB, "yes"], ["unplug", IGB]):
            with self.subTest(arguments):
                self.printed(*arguments)

    def test_blockers(self):
        self.stand_in.verdicts["reset"] = ([("user", IGB, "is in use", 7)], ["beware"])
        answer = json.loads(self.printed("why", IGB, "reset", code=6))
        self.assertEqual(len(answer["Blockers"]), 1)

    def test_an_unplug_that_timed_out(self):
        def fail(*_):
            raise DBusError("org.vfwarden1.Error.Timeout", "because")
        self.stand_in.answers["Unplug"] = fail
        self.assertIn("Holders", self.printed("unplug", IGB, code=8))

    def test_errors(self):
        for arguments in (["show", "9:0.0"], ["shwo"], ["why"]):
            _, _, error = self.run_command("--json", *arguments)
            schema.check("error", error)

    def test_events(self):
        monitor = self.monitor("--json")
        self.assertEqual(json.loads(line := monitor.line())["Event"], "watching")
        schema.check("monitor", line)
        self.stand_in.violation(IGB, "reset", file=GLib.Variant("s", "reset"))
        schema.check("monitor", monitor.line())
        monitor.process.terminate()

    def test_each_signal_is_a_line(self):
        monitor = self.monitor("--json")
        monitor.line()
        for path, interface in ((encode(IGB), FUNCTION), (ROOT, MANAGER)):
            for name, signature in self.signals(interface.split(".")[-1]).items():
                arguments = tuple(SENT[kind] for kind in signature)
                self.stand_in.emit(path, interface, name, f"({''.join(signature)})", arguments)
                line = monitor.line()
                schema.check("monitor", line)
                self.assertEqual(json.loads(line)["Event"], EVENTS[name])
        monitor.process.terminate()

    def test_the_version(self):
        code, output, _ = self.run_command("--version", "--json")
        self.assertEqual(code, 0)
        schema.check("version", output)
        self.check(["--version", "-j"], output)

    def test_a_member_that_no_schema_has_is_seen(self):
        """The comparison fails when it should."""
        output = json.loads(self.printed("status"))
        for change in ({"New": 1}, {"Running": "yes"}):
            with self.assertRaises(jsonschema.ValidationError):
                schema.check("status", json.dumps({**output, **change}))
        del output["Running"]
        with self.assertRaises(jsonschema.ValidationError):
            schema.check("status", json.dumps(output))

    def test_each_property_is_in_it(self):
        functions = schema.schemas()["function"]["properties"]
        for interface, member in OF_FUNCTIONS.items():
            known = functions[member]["properties"] if member else functions
            for name, kind in self.properties(interface).items():
                self.assertEqual(known[name]["type"], JSON_TYPES[kind], f"{interface}.{name}")
        self.assertEqual(set(schema.schemas()["metrics"]["properties"]), set(self.properties("Statistics")))

    def test_each_interface_was_thought_of(self):
        files = {os.path.basename(path).split(".")[2] for path in glob.glob(os.path.join(DBUS, "org.vfwarden1.*.xml"))}
        self.assertEqual(files, {*OF_FUNCTIONS, "Manager", "Statistics"})

    def signals(self, interface):
        root = ElementTree.parse(os.path.join(DBUS, f"org.vfwarden1.{interface}.xml")).getroot()
        return {node.get("name"): [argument.get("type") for argument in node.iter("arg")] for node in root.iter("signal")}

    def properties(self, interface):
        root = ElementTree.parse(os.path.join(DBUS, f"org.vfwarden1.{interface}.xml")).getroot()
        return {node.get("name"): node.get("type") for node in root.iter("property")}

    def test_each_schema_is_one(self):
        for name, one in schema.schemas().items():
            with self.subTest(name):
                jsonschema.Draft202012Validator.check_schema(one)
                self.assertTrue(one["title"])
