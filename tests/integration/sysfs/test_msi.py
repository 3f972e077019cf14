#!/usr/bin/python3
"""MSI-X: from configuration space, and from what the host shows of interrupts, to org.vfwarden1.Msix."""

import os

import fixtures
import vfwarden_bus as vb
from configspace import config_space, recorded_config

ONE, TWO, THREE = "0000:01:00.0", "0000:02:00.0", "0000:03:00.0"
MSIX = "org.vfwarden1.Msix"
IGB = {"Vectors": 10, "TableBar": 3, "TableOffset": 0, "PbaBar": 3, "PbaOffset": 0x2000}
REMAPPED, PLAIN = "IR-PCI-MSIX-{}", "PCI-MSIX-{}"
CAN, CANNOT = "f00f4e", "f00f46"
TYPE1 = "module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"


class MsiTest(fixtures.DaemonTest):
    machine = "x86_64"

    def add(self, address, iommu=None, chip=None, **kwargs):
        """A function with MSI-X, perhaps behind an IOMMU, perhaps with MSIs."""
        kwargs.setdefault("config", recorded_config("qemu-igb"))
        function = self.sysfs.add(address, **kwargs)
        if iommu:
            self.sysfs.serve(function, iommu)
        if chip:
            self.sysfs.allocate_msis(function, chip)
        return function

    def msix(self, address=ONE):
        """What clients heard of the interface, None when it is not there."""
        return self.picture.objects.get(vb.function_path(address), {}).get(MSIX)

    def wait_verdict(self, isolation, reason, address=ONE, deadline=None):
        def look():
            told = self.msix(address) or {}
            return told.get("Isolation") == isolation and reason in told.get("Reason", "") and told
        told = vb.wait_until(look, deadline, lambda: f"{isolation}, {reason!r} of {address}, is "
                             f"{self.msix(address)}")
        self.assertEqual(told["TableMappable"], isolation == "isolated")
        return told["Evidence"]

    def wait_evidence(self, text, address=ONE):
        vb.wait_until(lambda: any(text in s for s in (self.msix(address) or {}).get("Evidence", [])), None,
                      lambda: f"{text!r} of {address}, is {self.msix(address)}")


class Capability(MsiTest):
    def test_the_capability(self):
        self.add(ONE)
        self.add(TWO, config=recorded_config("qemu-nvme"))
        self.sysfs.add(THREE, config=recorded_config("intel-dsa"))
        self.start()
        self.wait_verdict("unknown", "Nothing shows")
        self.wait_property(TWO, "Vectors", 3)
        self.assertEqual({name: self.msix()[name] for name in IGB}, IGB)
        self.assertEqual({name: self.msix(TWO)[name] for name in IGB},
                         {"Vectors": 3, "TableBar": 0, "TableOffset": 0x2000, "PbaBar": 0, "PbaOffset": 0x3000})
        self.wait_property(THREE, "Width", 20)      # it was read
        self.assertIsNone(self.msix(THREE))

    def test_conventional_functions_have_it_too(self):
        self.add(ONE, config=recorded_config("qemu-igb")[:256])
        self.start()
        self.wait_property(ONE, "Vectors", 10)

    def test_the_link_and_the_serial_number(self):
        config = bytearray(recorded_config("qemu-igb"))
        config[0x100:0x10c] = bytes.fromhex("03000100 030201ff ffbae290")
        self.add(ONE, config=bytes(config))
        self.add(TWO, config=recorded_config("qemu-igb")[:256])
        self.start()
        self.wait_property(ONE, "LinkSpeed", 2500)
        self.wait_property(ONE, "LinkWidth", 1)
        self.wait_property(ONE, "Serial", "90-e2-ba-ff-ff-01-02-03")
        self.wait_property(TWO, "LinkWidth", 1)
        self.assertEqual(self.picture.function(TWO)["Serial"], "")

    def test_a_link_is_read_again_with_another_driver(self):
        function = self.add(ONE)
        self.start()
        self.wait_property(ONE, "LinkSpeed", 2500)
        config = bytearray(recorded_config("qemu-igb"))
        config[0xb2:0xb4] = bytes.fromhex("4300")
        function.write("config", bytes(config))
        self.sysfs.rebind(function, "vfio-pci")
        self.wait_property(ONE, "LinkSpeed", 8000)
        self.wait_property(ONE, "LinkWidth", 4)
        function.write("config", b"\xff" * 256)
        self.sysfs.rebind(function, "igb")
        self.wait_property(ONE, "Driver", "igb")
        self.assertEqual(self.client.get(vb.function_path(ONE), vb.FUNCTION, "LinkSpeed"), 8000)

    def test_broken_lists(self):
        looping = bytearray(config_space(0x8086, 0x1533))
        looping[0x34] = looping[0x41] = 0x40
        looping[0x40] = 0x01
        self.sysfs.add(ONE, config=bytes(looping))
        self.sysfs.add(TWO, config=recorded_config("qemu-igb")[:0x74])
        self.sysfs.add(THREE, config=b"\xff" * 256)
        self.start()
        self.daemon.wait_log("the list of its capabilities, or its MSI-X capability, is broken")
        self.daemon.wait_log("is CAP_SYS_ADMIN missing")
        self.daemon.wait_log("its configuration cannot be read")
        for address in (ONE, TWO, THREE):
            self.assertIsNone(self.msix(address))

    def test_vfs_have_their_own(self):
        pf = self.sysfs.add_pf(ONE, vfs=1, config=recorded_config("qemu-igb"))
        vf = pf.vfs[0]
        vf.write("config", recorded_config("qemu-igb-vf"))
        self.start()
        self.wait_property(vf.address, "Vectors", 3)
        self.wait_property(ONE, "Vectors", 10)
        # The PF gives it others while it has no driver (sriov_vf_msix_count).
        config = bytearray(recorded_config("qemu-igb-vf"))
        config[0x72] = 7
        vf.write("config", bytes(config))
        self.sysfs.bind(vf, "igbvf")
        self.wait_property(vf.address, "Vectors", 8)

    def test_what_sleeps_keeps_what_was_read(self):
        function = self.add(ONE)
        self.start()
        self.wait_property(ONE, "Vectors", 10)
        os.makedirs(function.path("power"))
        function.write("power/runtime_status", "suspended")
        function.write("power_state", "D3cold")
        self.sysfs.bind(function, "vfio-pci")
        self.wait_property(ONE, "Driver", "vfio-pci")
        self.fence()
        self.assertEqual(self.msix()["Vectors"], 10)


class X86(MsiTest):
    def test_own_names(self):
        self.sysfs.add_iommu("dmar0", ecap=CAN)
        irq, _ = self.sysfs.allocate_msis(self.add(ONE, "dmar0"), REMAPPED)
        self.add(TWO, "dmar0", PLAIN)
        self.add(THREE, None, "IR-PCI-MSI")         # remapping in effect, translation off; before 6.2
        self.start()
        self.assertEqual(self.wait_verdict("isolated", "Its own MSIs are isolated."), [
            f"Interrupt {irq} of this function has the controller IR-PCI-MSIX-{ONE}: it is remapped "
            f"(/sys/kernel/irq/{irq}/chip_name).",
            f"The IOMMU dmar0 is able to remap interrupts: bit 3 of its extended capabilities, {CAN}, is set "
            "(/sys/class/iommu/dmar0/intel-iommu/ecap)."])
        self.wait_verdict("not-isolated", "Its own MSIs are not remapped.", TWO)
        self.wait_verdict("isolated", "Its own MSIs", THREE)

    def test_another_behind_the_same_iommu(self):
        self.sysfs.add_iommu("dmar0", ecap=CAN)
        self.sysfs.add_iommu("dmar1", ecap=CAN)
        self.add(ONE, "dmar0")
        irq, _ = self.sysfs.allocate_msis(self.sysfs.add(TWO), REMAPPED)     # it need not have MSI-X
        self.sysfs.serve(self.sysfs[TWO], "dmar0")
        self.add(THREE, "dmar1")
        self.add("0001:01:00.0", "dmar0")       # another domain
        self.start()
        evidence = self.wait_verdict("isolated", "another function behind the same IOMMU are isolated")
        self.assertEqual(evidence[:2], [
            f"No MSI of this function is allocated (/sys/bus/pci/devices/{ONE}/msi_irqs).",
            f"Interrupt {irq} of {TWO}, which is behind the same IOMMU dmar0, has the controller "
            f"IR-PCI-MSIX-{TWO}: it is remapped (/sys/kernel/irq/{irq}/chip_name)."])
        for address in (THREE, "0001:01:00.0"):
            self.wait_verdict("unknown", "could remap interrupts", address)
        self.assertIsNone(self.msix(TWO))

    def test_only_advertised(self):
        self.sysfs.add_iommu("dmar0", ecap=CAN)
        self.sysfs.add_iommu("dmar1", ecap=CANNOT)
        self.add(ONE, "dmar0")
        self.add(TWO, "dmar1")
        self.start()
        self.assertEqual(len(self.wait_verdict("unknown", "could remap interrupts")), 3)
        self.wait_verdict("not-isolated", "cannot remap", TWO)

    def test_amd(self):
        self.sysfs.add_iommu("ivhd0", kind="amd-iommu")
        self.sysfs.add_iommu("ivhd1", kind="amd-iommu")
        self.add(ONE, "ivhd0")
        self.add(TWO, "ivhd0", REMAPPED)
        self.add(THREE, "ivhd1", PLAIN)
        self.start()
        self.wait_verdict("isolated", "another function")
        self.wait_verdict("not-isolated", "Its own", THREE)

    def test_an_iommu_that_says_nothing(self):
        self.sysfs.add_iommu("virtio0")
        self.add(ONE, "virtio0", PLAIN)
        self.add(TWO, "virtio0")
        self.start()
        self.wait_verdict("unknown", "The controller of its MSIs does not tell")
        self.wait_verdict("unknown", "another function's", TWO)

    def test_nothing(self):
        self.add(ONE)
        self.start()
        self.assertEqual(self.wait_verdict("unknown", "Nothing shows"), [
            f"No MSI of this function is allocated (/sys/bus/pci/devices/{ONE}/msi_irqs).",
            f"No IOMMU serves this function (/sys/bus/pci/devices/{ONE}/iommu)."])

    def test_contradictions(self):
        self.sysfs.add_iommu("dmar0", ecap=CAN)
        self.sysfs.add_iommu("dmar1", ecap=CANNOT)
        self.add(ONE, "dmar0")
        self.add(TWO, "dmar0", REMAPPED)
        self.add(THREE, "dmar0", "VMD-MSI")
        self.add("0000:04:00.0", "dmar1", REMAPPED)
        mixed = self.add("0000:05:00.0", "dmar0", REMAPPED)
        self.sysfs.allocate_msis(mixed, PLAIN)
        self.start()
        evidence = self.wait_verdict("unknown", "contradictory: of the functions behind the same IOMMU")
        self.assertEqual(len([s for s in evidence if "which is behind the same IOMMU" in s]), 2)
        self.wait_verdict("isolated", "Its own", TWO)
        self.wait_verdict("unknown", "contradictory: MSIs are called remapped", "0000:04:00.0")
        self.wait_verdict("unknown", "contradictory: some of its own", "0000:05:00.0")


class Changes(MsiTest):
    def test_it_follows_the_drivers(self):
        self.sysfs.add_iommu("dmar0", ecap=CAN)
        one, two = self.add(ONE, "dmar0"), self.add(TWO, "dmar0")
        self.start()
        for _ in range(2):
            self.wait_verdict("unknown", "could remap")
            self.sysfs.allocate_msis(two, REMAPPED)
            self.sysfs.bind(two, "igb")
            self.wait_verdict("isolated", "Its own", TWO)
            self.wait_verdict("isolated", "another function")
            self.sysfs.allocate_msis(one, REMAPPED)
            self.sysfs.bind(one, "igb")
            self.wait_verdict("isolated", "Its own")
            # Now the other one can go: this one stands for it.
            self.sysfs.free_msis(two)
            self.sysfs.unbind(two)
            self.wait_verdict("isolated", "another function", TWO)
            self.sysfs.free_msis(one)
            self.sysfs.unbind(one)
            self.wait_verdict("unknown", "could remap")
            self.wait_verdict("unknown", "could remap", TWO)

    def test_msis_that_come_after_the_driver(self):
        self.sysfs.add_iommu("dmar0", ecap=CAN)
        function = self.add(ONE, "dmar0")
        self.start()
        self.wait_verdict("unknown", "could remap")
        self.sysfs.bind(function, "igb")
        self.wait_property(ONE, "Driver", "igb")
        self.fence()
        self.sysfs.allocate_msis(function, REMAPPED)
        self.wait_verdict("isolated", "Its own")

    def test_msis_that_a_guest_asks_for_long_after_the_open(self):
        self.sysfs.add_iommu("dmar0", ecap=CAN)
        self.sysfs.add_iommu("dmar1", ecap=CAN)
        held, sibling = self.add(ONE, "dmar0", driver="vfio-pci"), self.add(THREE, "dmar0")
        other = self.add(TWO, "dmar1")
        self.start()
        held.write("enable", "1")
        self.wait_property(ONE, "InUse", True)
        # What is looked at again because it was opened has been, when this one has.
        self.sysfs.bind(other, "igb")
        self.wait_property(TWO, "Driver", "igb")
        self.fence()
        self.sysfs.allocate_msis(other, REMAPPED)
        self.wait_verdict("isolated", "Its own", TWO)
        self.wait_verdict("unknown", "could remap")
        self.sysfs.allocate_msis(held, REMAPPED)
        self.wait_verdict("isolated", "Its own", deadline=2 * fixtures.DEADLINE)    # it is looked at every five seconds
        self.wait_verdict("isolated", "another function", sibling.address)

    def test_who_stands_for_the_others_goes(self):
        self.sysfs.add_iommu("dmar0", ecap=CAN)
        self.add(ONE, "dmar0")
        others = [self.add(address, "dmar0", REMAPPED) for address in (TWO, THREE)]
        self.start()
        evidence = self.wait_verdict("isolated", "another function")
        named = next(o for o in others if o.address in evidence[1])
        other = next(o for o in others if o is not named)
        self.sysfs.remove(named)
        self.wait_evidence(f"of {other.address}, which")
        self.sysfs.remove(other)
        self.wait_verdict("unknown", "could remap")

    def test_what_is_plugged_anew_is_looked_at_anew(self):
        self.sysfs.add_iommu("dmar0", ecap=CAN)
        function = self.add(ONE, "dmar0", REMAPPED)
        self.start()
        self.wait_verdict("isolated", "Its own")
        self.sysfs.remove(function)
        self.wait_function(ONE, False)
        self.sysfs.tell("add", self.add(ONE, "dmar0"))
        self.wait_verdict("unknown", "could remap")

    def test_many_behind_one_iommu(self):
        self.sysfs.add_iommu("dmar0", ecap=CAN)
        addresses = [f"0000:{bus:02x}:{device:02x}.0" for bus in range(0x10, 0x20) for device in range(32)]
        for address in addresses:
            self.add(address, "dmar0")
        two = self.add(TWO, "dmar0")
        self.start()
        for address in addresses:
            self.wait_verdict("unknown", "could remap", address)
        self.sysfs.allocate_msis(two, REMAPPED)
        self.sysfs.bind(two, "igb")
        for address in addresses:
            self.wait_verdict("isolated", "another function", address)

    def parameter(self, value):
        path = self.sysfs.path(TYPE1)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w" if not os.path.exists(path) else "r+", encoding="ascii") as file:
            file.write(value + "\n")

    def test_unsafe_interrupts_are_told(self):
        self.sysfs.add_iommu("dmar0", ecap=CANNOT)
        function = self.add(ONE, "dmar0")
        self.start()
        self.wait_verdict("not-isolated", "cannot remap")
        self.assertFalse(any("allow_unsafe" in s for s in self.msix()["Evidence"]))
        # The module comes with the first user of VFIO.
        self.parameter("N")
        self.sysfs.bind(function, "vfio-pci")
        self.wait_evidence(f"VFIO insists on isolation: allow_unsafe_interrupts is not set (/sys/{TYPE1}).")
        mark = self.mark()
        self.parameter("Y")
        self.wait_evidence("VFIO does not insist on isolation, which isolates nothing: "
                           f"allow_unsafe_interrupts is set (/sys/{TYPE1}).")
        changed = [s.args[1] for s in self.client.recorder.since(mark, "PropertiesChanged")
                   if s.args[0] == MSIX]
        self.assertEqual([list(c) for c in changed], [["Evidence"]])
        self.assertEqual((self.msix()["Isolation"], self.msix()["TableMappable"]), ("not-isolated", False))
        self.parameter("N")
        self.wait_evidence("allow_unsafe_interrupts is not set")


class Arm(MsiTest):
    machine = "aarch64"

    def test_own_names(self):
        irq, _ = self.sysfs.allocate_msis(self.add(ONE), "ITS-PCI-MSIX-{}")
        self.add(TWO, None, "ITS-MSI")
        self.add(THREE, None, "GICv2m-PCI-MSIX-{}")
        self.add("0000:04:00.0", None, REMAPPED)
        self.start()
        self.assertEqual(self.wait_verdict("isolated", "Its own")[0],
                         f"Interrupt {irq} of this function has the controller ITS-PCI-MSIX-{ONE}: who writes is "
                         f"checked (/sys/kernel/irq/{irq}/chip_name).")
        self.wait_verdict("isolated", "Its own", TWO)
        for address in (THREE, "0000:04:00.0"):
            self.wait_verdict("unknown", "does not tell", address)

    def test_another_behind_the_same_iommu(self):
        self.sysfs.add_iommu("smmu3.0x0000000009050000", kind="arm-smmu-v3")
        self.add(ONE, "smmu3.0x0000000009050000")
        self.add(TWO, "smmu3.0x0000000009050000", "ITS-PCI-MSI-{}")
        self.start()
        self.wait_verdict("isolated", "another function")

    def test_it_follows_the_driver(self):
        self.sysfs.add_iommu("smmu3.0x0000000009050000", kind="arm-smmu-v3")
        one, two = (self.add(address, "smmu3.0x0000000009050000") for address in (ONE, TWO))
        self.start()
        self.wait_verdict("unknown", "Nothing shows")
        self.sysfs.bind(one, "nvme")
        self.wait_property(ONE, "Driver", "nvme")
        self.sysfs.allocate_msis(one, "ITS-PCI-MSIX-{}")    # the first that are
        self.wait_verdict("isolated", "Its own")
        self.wait_verdict("isolated", "another function", TWO)
        self.sysfs.free_msis(one)
        self.sysfs.unbind(one)
        for address in (ONE, TWO):
            self.wait_verdict("unknown", "Nothing shows", address)


class Elsewhere(MsiTest):
    def test_s390(self):
        self.machine = "s390x"
        self.add(ONE, "s390-iommu.00000103", PLAIN, attributes={"vfn": "0x0000"})
        self.start()
        self.assertEqual(self.wait_verdict("isolated", "architecture isolates"), [
            "This is a function of s390, where all MSIs are isolated, though less strictly than elsewhere "
            f"(/sys/bus/pci/devices/{ONE}/vfn)."])

    def test_others(self):
        for number, machine in enumerate(("ppc64le", "riscv64")):
            with self.subTest(machine):
                self.machine = machine
                self.add((ONE, TWO)[number], "dmar0", REMAPPED)
                if self.daemon:
                    self.stop()
                self.start()
                self.assertEqual(self.wait_verdict("unknown", "On this architecture"), [
                    f"Nothing shows on {machine} whether MSIs are isolated (uname -m)."])


if __name__ == "__main__":
    fixtures.main()
