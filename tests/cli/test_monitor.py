"""monitor: every change is a line, in order, with what it was before."""

import datetime
import json

from gi.repository import GLib

from standin import CommandTest, FUNCTION, MANAGER, PHYSICAL, ROOT, VIRTUAL, encode
import pictures
from pictures import IGB, IGB_VF0, NETWORK, NVME

WATCHING = "vfwardend     version 0.1.0, enforcement enforce, 8 functions"
NEW = "0000:01:10.4"


def text(value):
    return GLib.Variant("s", value)


def new_vf():
    return {"org.freedesktop.DBus.Introspectable": {},
            FUNCTION: {"Address": text(NEW), "Kind": text("vf"), "Driver": text("igbvf"),
                       "VendorName": text("Intel Corporation"),
                       "DeviceName": text("82576 Virtual Function"),
                       "VendorId": GLib.Variant("q", 0x8086), "DeviceId": GLib.Variant("q", 0x10ca),
                       "IommuGroup": GLib.Variant("i", 23)},
            VIRTUAL: {"PhysicalFunction": GLib.Variant("o", encode(IGB)),
                      "Index": GLib.Variant("u", 2)}}


class Monitor(CommandTest):
    def watch(self, *arguments, problems=None):
        """A daemon, and a monitor that has its picture."""
        self.stand_in = self.start_daemon(pictures.host(), problems=problems)
        run = self.monitor(*arguments)
        if "--json" in arguments:
            self.assertEqual(json.loads(run.line())["Event"], "watching")
        else:
            self.assertEqual(run.event(), WATCHING)
        return run

    def test_property(self):
        run = self.watch()
        self.stand_in.changed(IGB, FUNCTION, Driver=text("vfio-pci"))
        self.assertEqual(run.event(), f"{IGB}  Driver: igb -> vfio-pci")
        # The old value is the last one reported.
        self.stand_in.changed(IGB, FUNCTION, Driver=text(""))
        self.assertEqual(run.event(), f"{IGB}  Driver: vfio-pci -> none")

    def test_each_property_has_its_line(self):
        run = self.watch()
        self.stand_in.changed(IGB, FUNCTION, Locked=GLib.Variant("b", True),
                              LockReasons=GLib.Variant("as", ["in-use", "inhibitor"]))
        self.assertEqual({run.event(), run.event()}, {
            f"{IGB}  Locked: no -> yes", f"{IGB}  LockReasons: none -> in-use, inhibitor"})

    def test_kinds_of_values(self):
        run = self.watch()
        for name, value, line in (
                ("IommuGroup", GLib.Variant("i", -1), "14 -> none"),
                ("VendorId", GLib.Variant("q", 0xffff), "8086 -> unreadable"),
                ("DeviceId", GLib.Variant("q", 0x1), "10c9 -> 0001"),
                ("Class", GLib.Variant("u", 0x10802), "020000 -> 010802"),
                ("Revision", GLib.Variant("y", 2), "01 -> 02"),
                ("Tainted", GLib.Variant("b", True), "no -> yes"),
                ("New1", GLib.Variant("x", -(1 << 63)), "-9223372036854775808"),
                ("New2", GLib.Variant("t", 1 << 63), "9.2233720368547758e+18"),
                ("New3", GLib.Variant("d", 0.5), "0.5"),
                ("New4", GLib.Variant("n", -2), "-2"),
                ("New5", GLib.Variant("t", 7), "7"),
                ("New6", GLib.Variant("a(su)", [("a", 1), ("b", 2)]), "a, 1, b, 2"),
                ("New7", GLib.Variant("a{sv}", {"k": text("v")}), '{"k":"v"}'),
                ("New8", GLib.Variant("v", text("v")), "v"),
                ("New9", GLib.Variant("g", "as"), "as")):
            with self.subTest(name):
                self.stand_in.changed(IGB, FUNCTION, **{name: value})
                self.assertEqual(run.event(), f"{IGB}  {name}: {line}")

    def test_paths_are_addresses(self):
        run = self.watch()
        self.stand_in.changed(IGB, PHYSICAL, NumVFs=GLib.Variant("q", 1))
        self.stand_in.changed(IGB, PHYSICAL,
                              VirtualFunctions=GLib.Variant("ao", [encode(IGB_VF0)]))
        self.stand_in.changed(IGB_VF0, VIRTUAL, PhysicalFunction=GLib.Variant("o", "/"))
        self.assertEqual([run.event(), run.event(), run.event()], [
            f"{IGB}  NumVFs: 2 -> 1",
            f"{IGB}  VirtualFunctions: 0000:01:10.0, 0000:01:10.2 -> 0000:01:10.0",
            f"{IGB_VF0}  PhysicalFunction: 0000:01:00.0 -> none"])

    def test_sentences(self):
        run = self.watch()
        self.stand_in.changed(IGB, "org.vfwarden1.Msix", Evidence=GLib.Variant("as", ["One (/a).", "Two (/b)."]))
        self.assertEqual(run.event(), f"{IGB}  Evidence: One (/a). Two (/b).")

    def test_value_that_was_invalidated(self):
        run = self.watch()
        self.stand_in.changed(IGB, FUNCTION, invalidated=["Driver"])
        self.assertEqual(run.event(), f"{IGB}  Driver: igb -> unknown")
        self.stand_in.changed(IGB, FUNCTION, Driver=text("other"))
        self.assertEqual(run.event(), f"{IGB}  Driver: other")

    def test_daemon_that_said_it_before_it_sent_it(self):
        run = self.watch()
        self.stand_in.changed(IGB, FUNCTION, Driver=text("igb"))
        self.assertEqual(run.event(), f"{IGB}  Driver: igb")

    def test_functions_come_and_go(self):
        run = self.watch()
        self.stand_in.added(NEW, new_vf())
        self.stand_in.changed(NEW, FUNCTION, Driver=text("vfio-pci"))
        self.stand_in.removed(NEW, [FUNCTION, VIRTUAL, "org.freedesktop.DBus.Introspectable"])
        self.stand_in.removed(NETWORK, [FUNCTION])
        self.assertEqual([run.event() for _ in range(4)], [
            f"{NEW}  added: vf of {IGB}, Intel Corporation 82576 Virtual Function, igbvf",
            f"{NEW}  Driver: igbvf -> vfio-pci", f"{NEW}  removed", f"{NETWORK}  removed"])
        # Gone is gone: nothing is remembered of it.
        self.stand_in.changed(NETWORK, FUNCTION, Driver=text("x"))
        self.assertEqual(run.event(), f"{NETWORK}  Driver: x")

    def test_function_that_is_added_though_it_is_known(self):
        run = self.watch()
        self.stand_in.added(NETWORK, {FUNCTION: {"Kind": text("plain"), "Driver": text("new")}})
        self.stand_in.changed(NETWORK, FUNCTION, Driver=text("newer"))
        self.assertEqual([run.event(), run.event()],
                         [f"{NETWORK}  added: plain, new", f"{NETWORK}  Driver: new -> newer"])

    def test_function_of_which_nothing_is_known(self):
        run = self.watch()
        self.stand_in.added(NEW, {FUNCTION: {"Kind": text("plain")}})
        self.assertEqual(run.event(), f"{NEW}  added: plain, no driver")

    def test_interfaces_come_and_go(self):
        run = self.watch()
        self.stand_in.added(NETWORK, {"org.vfwarden1.Pasid": {"Width": GLib.Variant("y", 20)},
                                      "com.example.Other": {"Foreign": text("x")}})
        self.stand_in.removed(NETWORK, ["com.example.Other", "org.vfwarden1.Pasid"])
        self.assertEqual([run.event() for _ in range(3)], [
            f"{NETWORK}  org.vfwarden1.Pasid added", f"{NETWORK}  Width: 20",
            f"{NETWORK}  org.vfwarden1.Pasid removed"])

    def test_violations(self):
        run = self.watch()
        self.stand_in.violation(NVME, "set-num-vfs", file=text("sriov_numvfs"),
                                mode=GLib.Variant("u", 0o644),
                                reasons=GLib.Variant("as", ["userspace-driver", "in-use"]))
        self.stand_in.violation(NVME, "set-num-vfs", num_vfs_before=GLib.Variant("q", 4),
                                num_vfs=GLib.Variant("q", 0),
                                reasons=GLib.Variant("as", ["vf-in-use"]))
        self.stand_in.violation(NVME, "remove", comm=text("sh"))
        self.assertEqual([run.event() for _ in range(3)], [
            f"{NVME}  violation: set-num-vfs, sriov_numvfs was found open, mode 0644, locked by "
            "userspace-driver, in-use",
            f"{NVME}  violation: set-num-vfs, number of VFs 4 -> 0, locked by vf-in-use",
            f"{NVME}  violation: remove, comm=sh"])

    def device_failed(self, address, error):
        self.stand_in.emit(encode(address), FUNCTION, "DeviceFailed", "(s)", (error,))

    def test_a_device_that_fails(self):
        run = self.watch()
        self.device_failed(NVME, "BEGIN_RECOVERY")
        self.device_failed(IGB_VF0, "\x1b[2J")
        self.assertEqual([run.event(), run.event()], [
            f"{NVME}  device error: BEGIN_RECOVERY", f"{IGB_VF0}  device error: \\x1b[2J"])

    def test_a_device_that_fails_as_json(self):
        run = self.watch("--json")
        self.device_failed(NVME, "FAILED_RECOVERY")
        event = json.loads(run.line())
        del event["Time"]
        self.assertEqual(event, {"Event": "device-failed", "Address": NVME, "ErrorEvent": "FAILED_RECOVERY"})

    def test_manager(self):
        run = self.watch()
        self.stand_in.changed(None, MANAGER, FunctionCount=GLib.Variant("u", 9),
                              Enforcement=text("advise"))
        self.stand_in.changed(None, MANAGER, Enforcement=text("enforce"))
        self.assertEqual([run.event(), run.event()], [
            "vfwardend     Enforcement: enforce -> advise",
            "vfwardend     Enforcement: advise -> enforce"])

    def test_problems(self):
        run = self.watch(problems=[])
        for problems in (["Failed to save the state: full", "Failed to look: no"], []):
            self.stand_in.changed(None, MANAGER, Problems=GLib.Variant("as", problems))
        self.assertEqual([run.event(), run.event()], [
            "vfwardend     Problems: none -> Failed to save the state: full, Failed to look: no",
            "vfwardend     Problems: Failed to save the state: full, Failed to look: no -> none"])

    def test_what_is_not_the_contracts_is_passed_over(self):
        run = self.watch()
        self.stand_in.changed(IGB, "com.example.Other", Driver=text("x"))
        self.stand_in.emit(ROOT, MANAGER, "Novel", "(s)", ("x",))
        self.stand_in.emit(ROOT + "/session/1", "org.freedesktop.DBus.ObjectManager",
                           "InterfacesAdded", "(oa{sa{sv}})", (ROOT + "/session/1", {}))
        self.stand_in.removed(NETWORK, [FUNCTION])
        self.assertEqual(run.event(), f"{NETWORK}  removed")

    def test_signal_that_is_not_understood(self):
        run = self.watch()
        self.stand_in.emit(ROOT, MANAGER, "Violation", "(u)", (7,))
        self.stand_in.removed(NETWORK, [FUNCTION])
        self.assertEqual(run.event(), f"{NETWORK}  removed")
        self.assertEqual(run.error_line(), "vfwarden: A signal Violation of the daemon is not "
                                           "understood: No such device or address")

    def test_changes_before_the_picture_are_not_lost(self):
        daemon = self.start_daemon(pictures.host())

        def describe():
            daemon.changed(IGB, FUNCTION, Driver=text("vfio-pci"))
            daemon.removed(NETWORK, [FUNCTION])
            daemon.function(IGB)["Driver"] = "vfio-pci"
            daemon.document["Functions"].remove(daemon.function(NETWORK))
            return daemon._Describe()
        daemon.answers["Describe"] = describe
        run = self.monitor()
        self.assertEqual([run.event() for _ in range(3)], [
            WATCHING.replace("8", "7"), f"{IGB}  Driver: vfio-pci", f"{NETWORK}  removed"])
        daemon.changed(IGB, FUNCTION, Driver=text("igb"))
        self.assertEqual(run.event(), f"{IGB}  Driver: vfio-pci -> igb")

    def test_signals_of_others_are_not_believed(self):
        run = self.watch()
        liar = self.bus.connect()
        monitor = self.stand_in.clients[-1]
        for arguments in (
                (monitor, ROOT, MANAGER, "Violation",
                 GLib.Variant("(ssa{sv})", (IGB, "remove", {}))),
                (monitor, "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged",
                 GLib.Variant("(sss)", ("org.vfwarden1", ":1.1", "")))):
            liar.emit_signal(*arguments)
        # The bus has passed both on before it answers this.
        liar.call_sync("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.Peer",
                       "Ping", None, None, 0, -1, None)
        liar.close_sync(None)
        self.stand_in.removed(NETWORK, [FUNCTION])
        self.assertEqual(run.event(), f"{NETWORK}  removed")

    def test_json(self):
        run = self.watch("--json")
        self.stand_in.added(NEW, new_vf())
        self.stand_in.changed(NEW, FUNCTION, IommuGroup=GLib.Variant("i", 24))
        self.stand_in.changed(NEW, FUNCTION, Novel=GLib.Variant("ab", [True]))
        self.stand_in.changed(NEW, FUNCTION, invalidated=["Driver"])
        self.stand_in.removed(NEW, [FUNCTION])
        self.stand_in.added(IGB, {"org.vfwarden1.Pasid": {}})
        self.stand_in.violation(NVME, "remove", file=text("remove"), mode=GLib.Variant("u", 0o644),
                                reasons=GLib.Variant("as", ["in-use"]))
        self.stand_in.changed(None, MANAGER, Enforcement=text("advise"))
        self.stand_in.close()
        events = [json.loads(run.line()) for _ in range(9)]
        for event in events:
            self.assertRegex(event.pop("Time"), r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z")
        self.assertEqual(events, [
            {"Event": "function-added", "Address": NEW, "Function": {
                "Address": NEW, "Kind": "vf", "Driver": "igbvf", "VendorName": "Intel Corporation",
                "DeviceName": "82576 Virtual Function", "VendorId": 0x8086, "DeviceId": 0x10ca,
                "IommuGroup": 23, "PhysicalFunction": IGB, "Index": 2}},
            {"Event": "property-changed", "Address": NEW, "Property": "IommuGroup", "Old": 23,
             "New": 24},
            {"Event": "property-changed", "Address": NEW, "Property": "Novel", "New": [True]},
            {"Event": "property-changed", "Address": NEW, "Property": "Driver", "Old": "igbvf"},
            {"Event": "function-removed", "Address": NEW},
            {"Event": "interface-added", "Address": IGB, "Interface": "org.vfwarden1.Pasid"},
            {"Event": "violation", "Address": NVME, "Operation": "remove",
             "Details": {"file": "remove", "mode": 0o644, "reasons": ["in-use"]}},
            {"Event": "property-changed", "Property": "Enforcement", "Old": "enforce",
             "New": "advise"},
            {"Event": "daemon-stopped"}])

    def test_escaping(self):
        run = self.watch()
        self.stand_in.changed(IGB, FUNCTION, Driver=text("\x1b[2J\n"))
        self.stand_in.violation("\x1b", "\x9b", file=text("\x07"))
        self.stand_in.changed(IGB, FUNCTION, **{"\x1b": text("\r")})
        self.assertEqual([run.event() for _ in range(3)], [
            f"{IGB}  Driver: igb -> \\x1b[2J\\n",
            "\\x1b          violation: \\u009b, \\x07 was found open", f"{IGB}  \\x1b: \\x0d"])

    def test_time_is_local_and_in_json_it_is_not(self):
        self.environment["TZ"] = "XYZ-14"
        before = datetime.datetime.now(datetime.timezone.utc)
        run = self.watch()
        self.stand_in.removed(NETWORK, [FUNCTION])
        plain = run.line()
        as_json = json.loads(self.monitor("--json").line())["Time"]
        after = datetime.datetime.now(datetime.timezone.utc)
        there = datetime.timezone(datetime.timedelta(hours=14))
        for time in (datetime.datetime.fromisoformat(plain[:23]).replace(tzinfo=there),
                     datetime.datetime.fromisoformat(as_json)):
            # Milliseconds are cut off.
            self.assertGreater(time, before - datetime.timedelta(milliseconds=1))
            self.assertLess(time, after)

    def test_colors(self):
        self.start_daemon(pictures.host())
        run = self.monitor("--color=always")
        run.event()
        run.process.terminate()
        plain = self.monitor()
        self.assertNotIn("\x1b", plain.line())
