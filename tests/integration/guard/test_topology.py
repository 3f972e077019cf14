#!/usr/bin/python3
"""What is below what: shown, judged, locked and taken away together, on made-up trees."""

import os
import shutil
import subprocess

import fixtures
from test_cli import Command
import vfwarden_bus as vb

BRIDGE = 0x060400
ROOT, UP, DOWN1, DOWN2 = "0000:00:02.0", "0000:01:00.0", "0000:02:01.0", "0000:02:02.0"
PF, MATE, CARD, OTHER = "0000:03:00.0", "0000:03:00.1", "0000:04:00.0", "0000:00:1f.0"
VMD, PORT, DISK = "0000:00:0e.0", "10000:e0:01.0", "10000:e1:00.0"
TAKING = ("bind", "unbind", "reset", "remove", "power-off")
LONG = 600
SHORT = 0.3


class TopologyTest(fixtures.DaemonTest):
    """A root port with a switch in slot 5, below it a PF with a VF and a second function of its device, and a card in
    a slot of the switch; a VMD controller with a disk; and a function by itself."""

    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True, inhibit=True, unplug=True)
        self.start_kernel()
        add = self.sysfs.add
        self.root = add(ROOT, class_code=BRIDGE, driver="pcieport", attributes={"reset_subordinate": ""})
        self.root.chmod("reset_subordinate", 0o200)
        self.up = add(UP, parent=self.root, class_code=BRIDGE, driver="pcieport", slot="5")
        self.down1 = add(DOWN1, parent=self.up, class_code=BRIDGE, driver="pcieport")
        self.down2 = add(DOWN2, parent=self.up, class_code=BRIDGE, driver="pcieport")
        self.pf = self.sysfs.add_pf(PF, parent=self.down1, vfs=1, vf_driver="vfio-pci")
        self.vf = self.pf.vfs[0]
        self.mate = add(MATE, parent=self.down1, driver="vfio-pci")
        self.card = add(CARD, parent=self.down2, driver="vfio-pci", slot="5-2")
        self.vmd = add(VMD, class_code=0x010400, driver="vmd")
        self.port = add(PORT, parent=self.vmd, class_code=BRIDGE, driver="pcieport")
        self.disk = add(DISK, parent=self.port, class_code=0x010802, driver="vfio-pci")
        self.other = add(OTHER, driver="vfio-pci")
        self.above = (self.root, self.up, self.down1)

    def use(self, *functions):
        """A VMM opens them."""
        for function in functions:
            function.write("enable", "1")
            self.kernel.held.add(function.address)
        for function in functions:
            self.wait_property(function.address, "InUse", True)

    def release(self, *functions):
        for function in functions:
            function.write("enable", "0")
            self.kernel.held.discard(function.address)
        for function in functions:
            self.wait_property(function.address, "InUse", False)

    def blockers(self, address, operation):
        return [row[:2] for row in self.client.check(address, operation)[1]]

    def is_closed(self, function, name):
        return function.mode(name) & 0o222 == 0


class Shown(TopologyTest):
    def test_parent_children_and_slot(self):
        self.start()
        paths = vb.function_path
        for address, parent, children, slot in (
                (ROOT, None, [UP], ""), (UP, ROOT, [DOWN1, DOWN2], "5"), (DOWN1, UP, [PF, MATE, self.vf.address], "5"),
                (PF, DOWN1, [], "5"), (self.vf.address, DOWN1, [], "5"), (CARD, DOWN2, [], "5-2"),
                (VMD, None, [PORT], ""), (PORT, VMD, [DISK], ""), (DISK, PORT, [], ""), (OTHER, None, [], "")):
            with self.subTest(address):
                told = self.picture.function(address)
                self.assertEqual((told["Parent"], told["Children"], told["Slot"]),
                                 (paths(parent) if parent else "/", [paths(child) for child in children], slot))

    def test_what_the_command_shows(self):
        self.start()
        lines = [line.split() for line in Command(self, ["show", UP]).result()[1].splitlines()]
        for expected in (["Slot:", "5"], ["Parent:", ROOT], ["Children:", DOWN1], [DOWN2]):
            self.assertIn(expected, lines)
        self.assertNotIn("Parent:", Command(self, ["show", OTHER]).result()[1])

    def test_a_card_that_comes_and_goes(self):
        self.start()
        card = self.sysfs.add("0000:05:00.0", parent=self.root, driver="igb", slot="9", announce=True)
        self.wait_function(card.address)
        self.wait_property(ROOT, "Children", [vb.function_path(UP), vb.function_path(card.address)])
        self.assertEqual(self.picture.function(card.address)["Slot"], "9")
        self.sysfs.remove(card)
        self.wait_property(ROOT, "Children", [vb.function_path(UP)])


class Judged(TopologyTest):
    def test_a_user_below(self):
        self.start()
        self.use(self.vf)
        for bridge in self.above:
            for operation in TAKING:
                with self.subTest(f"{operation} of {bridge.address}"):
                    allowed, blockers, _ = self.client.check(bridge.address, operation)
                    self.assertFalse(allowed)
                    self.assertIn(("user", self.vf.address), [row[:2] for row in blockers])
        _, blockers, _ = self.client.check(ROOT, "remove")
        self.assertIn(f"is below it ({ROOT} > {UP} > {DOWN1} > {self.vf.address}) and in use by", blockers[0][2])
        for operation in TAKING[:-1]:      # the slot is the same
            self.assertEqual(self.blockers(DOWN2, operation), [], f"another branch: {operation}")

    def test_another_domain(self):
        self.start()
        self.assertEqual(self.blockers(VMD, "unbind"), [])
        self.use(self.disk)
        self.assertEqual(self.blockers(VMD, "unbind"), [("user", DISK)])
        with self.assertRaises(vb.BusError) as caught:
            self.client.start_function_call(VMD, "Unbind").result()
        self.assertEqual(caught.exception.name, "org.vfwarden1.Error.Refused")

    def test_the_slot_of_a_switch(self):
        self.start()
        self.use(self.vf)
        for address in (UP, DOWN1, PF, MATE):
            self.assertIn(("user", self.vf.address), self.blockers(address, "power-off"), address)
        self.assertEqual(self.blockers(CARD, "power-off"), [], "its own slot")

    def test_an_administrators_lock_below(self):
        self.start()
        self.client.lock(CARD, "customer 7")
        self.assertEqual(self.blockers(ROOT, "remove"), [("lock", CARD)])
        self.wait_property(ROOT, "LockReasons", ["below-locked"])
        self.assertTrue(self.is_closed(self.root, "remove"))
        self.client.unlock(CARD)
        self.wait_property(ROOT, "LockReasons", [])
        self.assertFalse(self.is_closed(self.root, "remove"))

    def test_a_bus_reset_names_the_siblings(self):
        self.start()
        warnings = self.client.check(MATE, "reset")[2]
        self.assertTrue(any(PF in warning for warning in warnings), warnings)
        self.mate.write("reset_method", "bus")
        self.use(self.vf)
        vb.wait_until(lambda: ("user", self.vf.address) in self.blockers(MATE, "reset"), None,
                      "the bus reset's consequence")

    def test_no_reset_method(self):
        self.card.unset("reset")
        self.card.unset("reset_method")
        self.start()
        self.assertEqual(self.blockers(CARD, "reset"), [("unsupported", CARD)])

    def test_what_a_reset_does_to_vfs(self):
        self.start()
        warnings = self.client.check(PF, "reset")[2]
        self.assertTrue(any("1 virtual functions" in warning for warning in warnings), warnings)


class Apart(TopologyTest):
    """Files that are locked and are not in the function's directory: of the nvme driver's controller and of ACPI."""
    ADDRESS = "0000:05:00.0"
    OF_PF = ["sriov_numvfs", "sriov_drivers_autoprobe", "remove", "reset", "reset_method"]
    OF_ROOT = ["remove", "reset", "reset_method", "reset_subordinate", "enable", "eject"]

    def setUp(self):
        super().setUp()
        self.nvme = self.sysfs.add_pf(self.ADDRESS, parent=self.root, vfs=1, vf_driver="vfio-pci", driver="nvme",
                                      class_code=0x010802)
        self.reset = self.make_controller("nvme0")
        device = self.sysfs.path("devices/LNXSYSTM:00/PNP0A08:00")
        self.eject = self.make_file(os.path.join(device, "eject"))
        os.symlink(os.path.relpath(device, self.sysfs.path("devices/pci0000:00")),
                   self.sysfs.path("devices/pci0000:00/firmware_node"))

    def make_file(self, path):
        os.makedirs(os.path.dirname(path))
        self.sysfs.watch.add(os.path.dirname(path))
        with open(path, "w", encoding="ascii"):
            pass
        os.chmod(path, 0o200)
        return path

    def make_controller(self, name):
        return self.make_file(self.nvme.path(f"nvme/{name}/reset_controller"))

    def remove_controller(self):
        os.unlink(self.reset)
        os.rmdir(os.path.dirname(self.reset))

    def wait_mode(self, path, mode):
        vb.wait_until(lambda: os.stat(path).st_mode & 0o777 == mode, None, f"mode {mode:o} of {path}")

    def test_locked_and_opened_again(self):
        self.start()
        self.use(self.nvme.vfs[0])
        self.wait_property(self.ADDRESS, "ClosedFiles", self.OF_PF + ["reset_controller"])
        self.wait_property(ROOT, "ClosedFiles", self.OF_ROOT)
        self.assertEqual(self.root.mode("enable"), 0o444)
        for path in (self.reset, self.eject):
            self.wait_mode(path, 0)
        self.assertEqual(self.nvme.mode("enable"), 0o644, "of what is no bridge")
        self.release(self.nvme.vfs[0])
        self.wait_property(self.ADDRESS, "ClosedFiles", [])
        self.wait_property(ROOT, "ClosedFiles", [])
        self.assertEqual(self.root.mode("enable"), 0o644)
        for path in (self.reset, self.eject):
            self.wait_mode(path, 0o200)

    def test_the_root_bridge_is_locked_until_the_last_has_gone(self):
        self.start()
        self.use(self.nvme.vfs[0], self.disk)
        for address in (ROOT, VMD):
            vb.wait_until(lambda: "eject" in self.picture.function(address)["ClosedFiles"], None,    # pylint: disable=cell-var-from-loop
                          f"the lock of {address}")
        self.assertNotIn("eject", self.picture.function(PORT)["ClosedFiles"])
        self.release(self.nvme.vfs[0])
        self.wait_property(ROOT, "ClosedFiles", [])
        self.wait_mode(self.eject, 0)
        self.release(self.disk)
        self.wait_property(VMD, "ClosedFiles", [])
        self.wait_mode(self.eject, 0o200)

    def test_a_bit_that_is_restored(self):
        self.start()
        self.use(self.nvme.vfs[0])
        for address, path, operation in ((self.ADDRESS, self.reset, "reset"), (ROOT, self.eject, "remove")):
            self.wait_mode(path, 0)
            mark = self.mark()
            os.chmod(path, 0o200)
            told = self.client.recorder.wait_for("Violation", mark=mark).args
            self.assertEqual((told[0], told[1], told[2]["file"]), (address, operation, os.path.basename(path)))
            self.wait_mode(path, 0)

    def test_the_driver_is_bound_again(self):
        self.start()
        self.use(self.nvme.vfs[0])
        self.wait_mode(self.reset, 0)
        self.remove_controller()
        self.sysfs.unbind(self.nvme)
        self.wait_property(self.ADDRESS, "ClosedFiles", self.OF_PF)
        again = self.make_controller("nvme1")
        self.sysfs.bind(self.nvme, "nvme")
        self.wait_property(self.ADDRESS, "ClosedFiles", self.OF_PF + ["reset_controller"])
        self.wait_mode(again, 0)
        self.release(self.nvme.vfs[0])
        self.wait_mode(again, 0o200)

    def test_the_driver_is_bound_again_at_once(self):
        self.start()
        self.use(self.nvme.vfs[0])
        self.wait_mode(self.reset, 0)
        before = os.open(os.path.dirname(self.reset), os.O_DIRECTORY)
        self.addCleanup(os.close, before)
        self.remove_controller()
        again = self.make_controller(os.path.basename(os.path.dirname(self.reset)))
        self.sysfs.unbind(self.nvme)
        self.sysfs.bind(self.nvme, "nvme")
        self.wait_mode(again, 0)
        # The daemon watches nothing of the old one any more.
        os.fchmod(before, 0o700)
        self.release(self.nvme.vfs[0])
        self.wait_mode(again, 0o200)

    def test_a_restart(self):
        self.start()
        self.use(self.nvme.vfs[0])
        for path in (self.reset, self.eject):
            self.wait_mode(path, 0)
        self.kill()
        self.start()
        self.wait_property(self.ADDRESS, "ClosedFiles", self.OF_PF + ["reset_controller"])
        self.release(self.nvme.vfs[0])
        for path in (self.reset, self.eject):
            self.wait_mode(path, 0o200)


class Locked(TopologyTest):
    FILES = ("remove", "reset", "reset_method")

    def test_everything_above_a_held_function(self):
        self.start()
        self.use(self.vf)
        for bridge in self.above:
            self.wait_property(bridge.address, "LockReasons", ["below-in-use"])
            for name in self.FILES:
                self.assertTrue(self.is_closed(bridge, name), f"{name} of {bridge.address}")
        self.assertTrue(self.is_closed(self.root, "reset_subordinate"))
        self.assertEqual(self.sysfs.slot_mode("5") & 0o222, 0, "the slot with the switch")
        for name in self.FILES:
            self.assertFalse(self.is_closed(self.down2, name), "another branch")
        self.assertNotEqual(self.sysfs.slot_mode("5-2") & 0o222, 0)

        self.use(self.card)
        self.release(self.vf)
        self.wait_property(DOWN1, "LockReasons", [])
        self.assertEqual(self.picture.function(ROOT)["LockReasons"], ["below-in-use"], "the card is held still")
        self.assertTrue(self.is_closed(self.root, "remove"))
        self.release(self.card)
        for bridge in self.above:
            self.wait_property(bridge.address, "ClosedFiles", [])
            for name in self.FILES:
                self.assertFalse(self.is_closed(bridge, name), f"{name} of {bridge.address}")
        self.assertEqual(self.root.mode("reset_subordinate"), 0o200)
        self.assertEqual(self.sysfs.slot_mode("5"), 0o644)

    def test_a_slot_that_gets_another_name(self):
        """Of two with one number the second is "6-1"; made anew when the first has gone, it is "6"."""
        function = self.sysfs.add("0000:06:00.0", driver="vfio-pci", slot="6-1")
        self.start()
        self.use(function)
        self.assertEqual(self.sysfs.slot_mode("6-1") & 0o222, 0)
        shutil.rmtree(self.sysfs.path("bus/pci/slots/6-1"))
        self.sysfs.add_slot("6", "0000:06:00")
        self.sysfs.tell("bind", self.port)      # the driver of a port makes slots
        self.wait_property(function.address, "Slot", "6")
        vb.wait_until(lambda: self.sysfs.slot_mode("6") & 0o222 == 0, None, "the lock of the slot's power")
        self.release(function)
        vb.wait_until(lambda: self.sysfs.slot_mode("6") == 0o644, None, "the slot's power to be unlocked")

    def test_a_restart(self):
        self.start()
        self.use(self.card)
        self.wait_property(ROOT, "LockReasons", ["below-in-use"])
        own = self.root.mode("reset_method")
        self.kill()
        self.assertTrue(self.is_closed(self.root, "remove"), "no gap")
        self.start()
        self.wait_property(ROOT, "LockReasons", ["below-in-use"])
        self.assertEqual(self.root.mode("reset_method"), own)
        self.release(self.card)
        self.wait_property(ROOT, "ClosedFiles", [])
        self.assertEqual(self.root.mode("reset_method"), 0o644)

    def test_a_bridge_that_comes_above_a_held_function(self):
        """Its children are known first."""
        self.start()
        root = self.sysfs.add("0000:00:05.0", class_code=BRIDGE, listed=False)
        card = self.sysfs.add("0000:09:00.0", parent=root, driver="vfio-pci", announce=True)
        self.wait_function(card.address)
        self.use(card)
        self.sysfs.list_function(root)
        self.sysfs.tell("add", root)
        self.wait_function(root.address)
        self.wait_property(root.address, "LockReasons", ["below-in-use"])
        self.assertTrue(self.is_closed(root, "remove"))


class AriSlot(TopologyTest):
    """Below a PCIe port the slot is the whole bus: a device with ARI has functions with other device numbers there."""

    FAR = "0000:06:01.0"

    def add_device(self, port, **kwargs):
        return (self.sysfs.add("0000:06:00.0", parent=port, driver="vfio-pci", slot="6", **kwargs),
                self.sysfs.add(self.FAR, parent=port, driver="vfio-pci", **kwargs))

    def add_port(self):
        return self.sysfs.add("0000:00:1c.0", class_code=BRIDGE, driver="pcieport")

    def check_one_slot(self, first, far):
        self.wait_property(far.address, "Slot", "6")
        self.use(far)
        self.wait_slot_mode("6", 0o444)
        self.assertEqual(self.blockers(first.address, "power-off"), [("user", far.address)])
        self.client.start_unplug(first.address, LONG).result()
        self.assertEqual(self.kernel.writes, [("vfio-pci/unbind", first.address), (f"{first.address}/remove", "1")])
        self.assertEqual(self.picture.function(far.address)["State"], "present")
        self.release(far)
        self.wait_slot_mode("6", 0o644)

    def test_known_at_the_start(self):
        devices = self.add_device(self.add_port())
        self.start()
        self.check_one_slot(*devices)

    def test_the_driver_of_the_port_is_known_late(self):
        """The functions below are announced before the driver of the port is bound, which makes the slot."""
        port = self.sysfs.add("0000:00:1c.0", class_code=BRIDGE, announce=False)
        self.start()
        devices = self.add_device(port, announce=True)
        self.wait_function(self.FAR)
        self.assertEqual(self.picture.function(self.FAR)["Slot"], "")
        self.sysfs.attach_driver(port, "pcieport")
        self.sysfs.tell("bind", port)
        self.check_one_slot(*devices)

    def test_the_last_takes_the_slot_along(self):
        first, far = self.add_device(self.add_port())
        self.start()
        self.client.start_unplug(far.address, LONG).result()
        self.client.start_unplug(first.address, LONG).result()
        self.assertEqual([write[0] for write in self.kernel.writes][-1], "6/power")


class Unplugged(TopologyTest):
    def unplug(self, address, timeout=LONG, **options):
        return self.client.start_unplug(address, timeout, **options)

    def requests(self, mark=0):
        self.fence()
        return {self.picture.objects[told.path][vb.FUNCTION]["Address"]
                for told in self.client.recorder.since(mark, "UnplugRequested")}

    def test_from_the_leaves_up(self):
        self.start()
        self.unplug(UP).result()
        self.assertEqual(self.kernel.writes, [
            ("vfio-pci/unbind", self.vf.address), (f"{PF}/sriov_numvfs", "0"), ("igb/unbind", PF),
            ("vfio-pci/unbind", MATE), ("vfio-pci/unbind", CARD),
            (f"{PF}/remove", "1"), (f"{MATE}/remove", "1"), (f"{DOWN1}/remove", "1"), (f"{CARD}/remove", "1"),
            (f"{DOWN2}/remove", "1"), ("5/power", "0")])
        self.assertIsNone(self.picture.function(UP), "it was reported as gone before the reply")
        # On a busy machine the others can be reported after it.
        for address in (DOWN1, DOWN2, PF, MATE, CARD):
            self.wait_function(address, there=False)
        self.assertIsNotNone(self.picture.function(ROOT))

    def test_holders_below_are_asked(self):
        self.start()
        self.use(self.vf, self.card)
        mark = self.mark()
        call = self.unplug(ROOT)
        self.wait_property(ROOT, "State", "unplug-requested")
        self.assertEqual(self.requests(mark), {ROOT, self.vf.address, CARD})
        self.assertEqual(self.kernel.writes, [])
        self.assertIn(("operation", ROOT), self.blockers(MATE, "open"))
        self.release(self.vf)
        self.wait_property(ROOT, "State", "draining")
        self.assertEqual(self.kernel.writes, [])
        self.release(self.card)
        call.result()
        self.assertIsNone(self.picture.function(ROOT))

    def test_a_holder_below_that_refuses(self):
        self.start()
        self.use(self.card)
        with self.assertRaises(vb.BusError) as caught:
            self.unplug(ROOT, SHORT).result()
        self.assertEqual(caught.exception.name, "org.vfwarden1.Error.Timeout")
        self.assertEqual(self.kernel.writes, [])
        self.wait_property(ROOT, "State", "present")

    def test_a_removal_that_is_slower_than_the_deadline(self):
        """Nobody holds it any more: the words and the exit code say what is."""
        self.start()
        self.kernel.hang.add("vfio-pci/unbind")
        command = subprocess.Popen([os.environ["VFWARDEN"], "unplug", "--timeout=1s", CARD], text=True,
                                   env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.bus.address},
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        pidfd = os.pidfd_open(command.pid)
        self.addCleanup(os.close, pidfd)
        fixtures.wait_for_end(pidfd)
        said, _ = command.communicate()
        for write in list(self.kernel.waiting):
            self.kernel.release(write)
        self.assertEqual(command.returncode, 11, said)
        self.assertNotIn("Nothing has changed", said)
        self.assertIn("is being removed", said)

    def test_an_inhibitor_below_refuses_it(self):
        self.start()
        self.addCleanup(os.close, self.client.inhibit(CARD, "remove", "backup", "copying"))
        with self.assertRaises(vb.BusError) as caught:
            self.unplug(ROOT).result()
        self.assertEqual(caught.exception.name, "org.vfwarden1.Error.Refused")
        self.assertEqual(self.kernel.writes, [])


class Dying(TopologyTest):
    def test_the_lock_holds_until_the_last_vf_is_gone(self):
        """`echo 0 > sriov_numvfs` by a descriptor of before: the links go first, the kernel waits then."""
        self.start()
        self.use(self.vf)
        self.wait_property(PF, "LockReasons", ["vf-in-use"])
        for function, name in ((self.pf, "virtfn0"), (self.vf, "physfn")):
            function.unset(name)
        self.sysfs.detach_driver(self.vf, keep_enable=True)
        self.sysfs.tell("unbind", self.vf)
        self.wait_property(self.vf.address, "Driver", "")
        self.sysfs.change(self.pf)
        self.fence()
        told = self.picture.function(self.vf.address)
        self.assertEqual((told["Kind"], told["InUse"]), ("vf", True))
        self.assertEqual(told["PhysicalFunction"], vb.function_path(PF))
        self.assertEqual(self.picture.function(PF)["LockReasons"], ["vf-in-use"])
        self.assertTrue(self.is_closed(self.pf, "remove"))
        self.assertIn(("user", self.vf.address), self.blockers(PF, "remove"))


if __name__ == "__main__":
    fixtures.main_among_own_processes()
