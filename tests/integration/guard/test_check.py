#!/usr/bin/python3
"""Check(): "may I?" for every operation, answered without touching the device."""

import ctypes
import os
import struct

import fixtures
import vfwarden_bus as vb
from configspace import recorded_config

PF = "0000:01:00.0"
PLAIN = "0000:02:00.0"
PEER = "0000:02:00.1"

OPERATIONS = ["set-num-vfs", "set-autoprobe", "bind", "unbind", "reset", "remove", "power-off",
              "disable-pasid", "open"]
# What each does to users: of the function itself, of its VFs, of members of its IOMMU group.
SELF = {"bind", "unbind", "reset", "remove", "power-off", "open"}
VFS = {"set-num-vfs", "set-autoprobe", "bind", "unbind", "reset", "remove", "power-off"}
GROUP = {"bind", "unbind", "open"}
PASID = {"bind", "unbind", "reset", "remove", "power-off", "disable-pasid"}
UNKNOWN = "by a process that could not be found"


class CheckTest(fixtures.DaemonTest):
    def start(self, *options, **more):
        """Waits, too, until the daemon knows what the host uses; before, each answer warns of that."""
        super().start(*options, **more)
        vb.wait_until(lambda: not self.client.check(self.SENTINEL, "unbind")[2], what="what the host uses to be known")

    def use(self, *functions):
        """Somebody opens them through VFIO; returns when that is known."""
        for function in functions:
            function.write("enable", "1")
        if self.daemon:
            for function in functions:
                self.wait_property(function.address, "InUse", True)

    def blockers(self, address, operation):
        allowed, blockers, _ = self.client.check(address, operation)
        self.assertEqual(allowed, not blockers)
        return blockers

    def all_blockers(self, address, operations=OPERATIONS):
        found = {operation: self.blockers(address, operation) for operation in operations}
        return {operation: blockers for operation, blockers in found.items() if blockers}


class Users(CheckTest):
    def test_nothing_stands_against_an_idle_pf(self):
        pf = self.sysfs.add_pf(PF, driver="igb")
        self.start()
        for operation in OPERATIONS:
            if operation != "open":
                self.assertEqual(self.client.check(PF, operation), (True, [], []), operation)
        self.assertEqual(self.client.check(PF, "open"), (
            False, [("driver", PF, "bound to igb, not to a VFIO driver", 0)], []))
        self.sysfs.unbind(pf)
        self.wait_property(PF, "Driver", "")
        self.assertEqual(self.blockers(PF, "open"), [("driver", PF, "bound to no driver", 0)])

    def test_upper_case_is_the_same_function(self):
        self.sysfs.add("0000:0a:00.0", driver="vfio-pci")
        self.start()
        self.assertEqual(self.client.check("0000:0A:00.0", "open"), (True, [], []))

    def test_a_function_in_use(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.assertEqual(self.all_blockers(PLAIN, OPERATIONS[2:]), {})
        self.use(function)
        self.assertEqual(self.all_blockers(PLAIN, OPERATIONS[2:]), {
            operation: [("user", PLAIN, f"in use {UNKNOWN}", 0)] for operation in SELF})
        function.write("enable", "0")
        self.wait_property(PLAIN, "InUse", False)
        self.assertEqual(self.all_blockers(PLAIN, OPERATIONS[2:]), {})

    def test_vfs_in_use_block_their_pf_and_nothing_else(self):
        pf = self.sysfs.add_pf(PF, vfs=3, vf_driver="vfio-pci")
        self.start()
        self.use(*pf.vfs[1:])
        expected = [("user", vf.address, f"is a VF of it and in use {UNKNOWN}", 0) for vf in pf.vfs[1:]]
        found = self.all_blockers(PF)
        found.pop("open")
        self.assertEqual(found, {operation: expected for operation in VFS})
        # A VF that is not in use has nothing against it but what sits in its slot, which is the PF's.
        idle = self.all_blockers(pf.vfs[0].address, OPERATIONS[2:])
        in_slot = [("user", vf.address, f"sits in its slot and is in use {UNKNOWN}", 0) for vf in pf.vfs[1:]]
        self.assertEqual(idle, {"power-off": in_slot})

    def test_members_of_a_group(self):
        self.sysfs.add(PLAIN, driver="vfio-pci", group=7)
        peer = self.sysfs.add(PEER, driver="vfio-pci", group=7)
        self.start()
        self.use(peer)
        expected = {operation: [("group", PEER, f"shares the IOMMU group and is in use {UNKNOWN}", 0)]
                    for operation in GROUP}
        # They are functions of one slot, too.
        expected["power-off"] = [("user", PEER, f"sits in its slot and is in use {UNKNOWN}", 0)]
        self.assertEqual(self.all_blockers(PLAIN, OPERATIONS[2:]), expected)

    def test_a_group_with_a_driver_of_the_host(self):
        self.sysfs.add(PLAIN, driver="vfio-pci", group=7)
        self.sysfs.add("0000:09:00.0", driver="e1000e", group=7)
        self.sysfs.add("0000:0a:00.0", driver="pcieport", group=7, class_code=0x060400)
        self.sysfs.add("0000:0b:00.0", driver="pci-stub", group=7)
        self.sysfs.add("0000:0c:00.0", driver="shpchp", group=7, class_code=0x060400)
        self.sysfs.add("0000:0d:00.0", driver=None, group=7)
        self.start()
        self.assertEqual(sorted(self.blockers(PLAIN, "open")), [
            ("driver", "0000:09:00.0", "shares the IOMMU group and is bound to e1000e", 0),
            ("driver", "0000:0c:00.0", "shares the IOMMU group and is bound to shpchp", 0)])

    def test_pasid(self):
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci", config=recorded_config("amd-gpu-enabled"))
        self.start()
        vb.wait_until(lambda: self.picture.function(PF).get("Enabled"), None, "PASID")
        self.assertEqual(self.blockers(PF, "disable-pasid"), [])
        self.use(pf.vfs[0])
        for operation in OPERATIONS:
            pasid = [b[1:] for b in self.blockers(PF, operation) if b[0] == "pasid"]
            self.assertEqual(pasid, [(
                pf.vfs[0].address, "relies on the PASID capability of its PF, which is enabled, while used "
                + UNKNOWN, 0)] if operation in PASID else [], operation)


class Locks(CheckTest):
    def test_userspace_driver(self):
        self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        lock = [("lock", PF, "bound to the userspace driver vfio-pci", 0)]
        self.assertEqual(self.all_blockers(PF), {"set-num-vfs": lock, "set-autoprobe": lock})

    def test_administrator(self):
        self.start_polkit(configure=True)
        pf = self.sysfs.add_pf(PF, vfs=1)
        self.start()
        self.client.lock(PF, "until tomorrow")
        lock = [("lock", PF, "locked by an administrator: until tomorrow", 0)]
        closed = {"set-num-vfs", "set-autoprobe", "reset", "remove", "power-off"}
        found = self.all_blockers(PF)
        found.pop("open")
        self.assertEqual(found, {operation: lock for operation in closed})
        self.assertEqual(self.all_blockers(pf.vfs[0].address, ["bind", "reset", "remove"]), {})
        self.client.lock(PF, "")
        self.assertEqual(self.blockers(PF, "reset"), [("lock", PF, "locked by an administrator", 0)])


class Inhibitors(CheckTest):
    def stood_against(self, inhibited, of, asked_of):
        """The operations on `asked_of` that an inhibitor of `inhibited` on `of` stands against."""
        before = self.all_blockers(asked_of)
        fd = self.client.inhibit(of, inhibited, "backup", "it runs until six")
        found = {asked for asked in OPERATIONS
                 for kind, who, reason, pid in self.blockers(asked_of, asked) if kind == "inhibitor"
                 and (who, pid) == ("backup", os.getpid()) and inhibited in reason and "until six" in reason}
        os.close(fd)
        vb.wait_until(lambda: not self.client.manager("ListInhibitors"), None, "the end")
        self.assertEqual(self.all_blockers(asked_of), before)
        return found

    def test_each_operation_and_what_does_it_on_the_way(self):
        self.start_polkit(inhibit=True)
        self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        for operation in OPERATIONS:
            with self.subTest(operation):
                self.assertEqual(self.stood_against(operation, PF, PF), {operation} | {
                    "unbind": {"bind", "remove", "power-off"}, "remove": {"power-off"}}.get(operation, set()))

    def test_of_a_vf_against_what_takes_it_away(self):
        self.start_polkit(inhibit=True)
        pf = self.sysfs.add_pf(PF, vfs=1)
        self.start()
        for operation, expected in {"unbind": {"set-num-vfs", "bind", "unbind", "remove", "power-off"},
                                    "remove": {"set-num-vfs", "bind", "unbind", "remove", "power-off"},
                                    "reset": {"reset"}, "power-off": {"power-off"},
                                    "bind": set(), "open": set(), "disable-pasid": set()}.items():
            with self.subTest(operation):
                self.assertEqual(self.stood_against(operation, pf.vfs[0].address, PF), expected)

    def test_the_reason_names_the_vf(self):
        self.start_polkit(inhibit=True)
        pf = self.sysfs.add_pf(PF, vfs=1)
        self.start()
        vf = pf.vfs[0].address
        fd = self.client.inhibit(vf, "unbind:remove:reset", "vm", "busy")
        self.assertEqual(self.blockers(PF, "set-num-vfs"),
                         [("inhibitor", "vm", f"inhibits unbind:remove of {vf}: busy", os.getpid())])
        os.close(fd)


class Warnings(CheckTest):
    def test_of_enabled_vfs(self):
        pf = self.sysfs.add_pf(PF, vfs=3)
        self.start()
        told = {operation: self.client.check(PF, operation)[2] for operation in OPERATIONS}
        self.assertEqual({operation for operation, warnings in told.items() if warnings},
                         {"set-num-vfs", "bind", "unbind", "reset", "remove", "power-off", "open"})
        for warnings in told.values():
            for warning in warnings:
                self.assertIn("3 virtual functions", warning)
        for operation in OPERATIONS[2:]:
            if operation != "power-off":    # which is the PF's
                self.assertEqual(self.client.check(pf.vfs[0].address, operation)[2], [], operation)


class Arguments(CheckTest):
    def check(self, address, operation):
        return self.client.check(address, operation)

    def test_errors(self):
        pf = self.sysfs.add_pf(PF, vfs=1)
        self.sysfs.add(PLAIN)
        self.start()
        for address in ("", "1", "0000:01:00", "0000:01:00.8", "0000:01:00.0 ", "0000:01:20.0"):
            self.assert_bus_error(vb.INVALID_ARGS, self.check, address, "bind")
        for operation in ("", "Bind", "unplug", "bind:unbind", "bind ", "set-num-vfs "):
            self.assert_bus_error(vb.INVALID_ARGS, self.check, PF, operation)
        self.assert_bus_error(vb.NO_SUCH_FUNCTION, self.check, "0000:44:00.0", "bind")
        for address in (PLAIN, pf.vfs[0].address):
            for operation in ("set-num-vfs", "set-autoprobe"):
                error = self.assert_bus_error(vb.NOT_SUPPORTED, self.check, address, operation)
                self.assertIn(address, error.message)

    def test_everybody_may_ask(self):
        self.sysfs.add_pf(PF)
        self.start()
        self.assertEqual(self.as_other_user(vb.ROOT, vb.MANAGER, "Check", "(ss)", (PF, "reset")),
                         [True, [], []])


class Pure(CheckTest):
    """The device is not looked at: not one of its files, nor its directory, is opened or read."""

    IN_ACCESS, IN_OPEN, IN_ATTRIB, IN_MODIFY = 0x1, 0x20, 0x4, 0x2

    def events(self, fd):
        names = []
        try:
            while data := os.read(fd, 65536):
                at = 0
                while at < len(data):
                    _, mask, _, length = struct.unpack_from("iIII", data, at)
                    names.append((hex(mask), data[at + 16:at + 16 + length].rstrip(b"\0")))
                    at += 16 + length
        except BlockingIOError:
            pass
        return names

    def test_no_file_is_opened(self):
        pf = self.sysfs.add_pf(PF, vfs=2, slot="3")
        plain = self.sysfs.add(PLAIN)
        self.start()
        self.fence()
        libc = ctypes.CDLL(None, use_errno=True)
        fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.addCleanup(os.close, fd)
        mask = self.IN_ACCESS | self.IN_OPEN | self.IN_ATTRIB | self.IN_MODIFY
        for directory in (pf.directory, plain.directory, *(vf.directory for vf in pf.vfs),
                          self.sysfs.path("bus/pci/slots/3"), self.sysfs.path("bus/pci/drivers/igb")):
            self.assertGreaterEqual(libc.inotify_add_watch(fd, os.fsencode(directory), mask), 0)

        def files_opened_meanwhile():
            self.events(fd)
            for function in (pf, plain, *pf.vfs):
                for operation in OPERATIONS[0 if function is pf else 2:]:
                    self.client.check(function.address, operation)
            return self.events(fd)

        # The daemon still reads new functions' configuration space, and once more a second later. That
        # ends; what Check opened would be opened each time.
        vb.wait_until(lambda: not files_opened_meanwhile(), None, "checks without a file's being opened")
        with open(plain.path("vendor"), encoding="ascii"):
            pass
        self.assertNotEqual(self.events(fd), [], "the watch sees what there is to be seen")


if __name__ == "__main__":
    fixtures.main()
