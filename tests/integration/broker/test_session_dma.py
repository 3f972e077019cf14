#!/usr/bin/python3
"""Sessions with DMA over the daemon: who may have one, with which function, and what it may pin."""

import fcntl
import os

from gi.repository import GLib

import fixtures
from configspace import recorded_config
from test_session import OTHER, PLAIN, ZPCI_IO, SessionTest
import vfio_user as vu
import vfwarden_bus as vb

DMA_ACTION = "org.vfwarden1.zpci-io-dma"
REAL = "0000:05:00.0"
PAGE = 4096
TYPE1 = "module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"


class DmaTest(SessionTest):
    machine = "x86_64"

    def setUp(self):
        super().setUp()
        self.polkit.verdicts[DMA_ACTION] = True

    def start_open(self, address=PLAIN, client=None, dma=True, **options):
        values = {name.replace("_", "-"): GLib.Variant("t", value) for name, value in options.items()}
        if dma is not None:
            values["dma"] = GLib.Variant("b", dma)
        return (client or self.client).bus.start_call(vb.function_path(address), ZPCI_IO, "OpenSession", "(a{sv})",
                                                      (values,), with_fds=True)

    def add_real(self, config="qemu-igb", **kwargs):
        """A function with MSI-X that is no emulated one."""
        function = self.sysfs.add(REAL, driver="vfio-pci", config=config and recorded_config(config), **kwargs)
        self.sysfs.add_iommu("dmar0", ecap="f00f4e")
        self.sysfs.serve(function, "dmar0")
        return function

    def asked(self):
        """The actions that polkit was asked about."""
        return [question.action for question in self.polkit.questions]


class Allowed(DmaTest):
    def test_the_action_is_asked_besides(self):
        self.start()
        with self.acting_as():
            session, _ = self.open()
            self.assertEqual(self.asked(), ["org.vfwarden1.zpci-io", DMA_ACTION])
            session.close()
            self.wait_property(PLAIN, "InUse", False)
            self.open(dma=False)
            self.assertEqual(self.asked(), ["org.vfwarden1.zpci-io", DMA_ACTION, "org.vfwarden1.zpci-io"])

    def test_who_may_not(self):
        """Sessions without DMA stay possible, and what was refused leaves nothing."""
        self.start()
        self.polkit.verdicts[DMA_ACTION] = False
        with self.acting_as():
            self.assert_fails(vb.ACCESS_DENIED, self.start_open().result)
            self.assertFalse(self.helpers("vfwarden-io"))
            self.wait_property(PLAIN, "InUse", False)
            self.open(dma=False)
        self.polkit.verdicts["org.vfwarden1.zpci-io"] = False
        self.polkit.verdicts[DMA_ACTION] = True
        with self.acting_as():
            self.assert_fails(vb.ACCESS_DENIED, self.start_open(OTHER).result)

    def test_the_option_is_a_boolean(self):
        self.start()
        for value in (GLib.Variant("s", "yes"), GLib.Variant("u", 1)):
            self.assert_fails(vb.INVALID_ARGS, self.client.bus.call, vb.function_path(PLAIN), ZPCI_IO, "OpenSession",
                              "(a{sv})", ({"dma": value},))


class Served(DmaTest):
    def test_bus_master_and_memory(self):
        """The client sets the one, and maps the other: what it may write, up to what it may have."""
        self.start()
        session, _ = self.open(max_mapped_memory=16 * PAGE)
        session.write(vu.CONFIG, 4, b"\x06\0")
        self.assertEqual(session.read(vu.CONFIG, 4, 1), b"\x06")
        memory = os.memfd_create("memory", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.addCleanup(os.close, memory)
        os.ftruncate(memory, 32 * PAGE)
        session.map(0, 16 * PAGE, memory)
        with self.assertRaises(vu.ErrorReply):
            session.map(16 * PAGE, PAGE, memory)
        session.unmap(0, 16 * PAGE)
        fcntl.fcntl(memory, 1033, 8)    # a seal against writes
        with self.assertRaises(vu.ErrorReply):
            session.map(0, PAGE, memory)
        session.map(0, PAGE, memory, flags=vu.READ)

    def test_without_the_option(self):
        self.start()
        for dma in (False, None):
            session, _ = self.open(dma=dma)
            session.write(vu.CONFIG, 4, b"\x06\0")
            self.assertEqual(session.read(vu.CONFIG, 4, 1), b"\x02", "bus master is masked")
            session.close()
            self.wait_property(PLAIN, "InUse", False)

    def test_a_removal_ends_it(self):
        """DMA, too: the client gets ENODEV for a map."""
        self.start()
        session, _ = self.open()
        self.sysfs.remove(self.sysfs.functions[PLAIN])
        self.wait_function(PLAIN, there=False)
        self.wait_ended(session)

    def wait_ended(self, session):
        def has_ended():
            try:
                session.device_info()
            except vu.ErrorReply:
                return True
            return False
        fixtures.wait_until(has_ended, None, "requests to be refused")


class Refused(DmaTest):
    """Functions that are no emulated ones: a refusal is asserted, or that there is none before the device is opened."""

    def refusal(self, **options):
        return self.assert_fails(vb.REFUSED, self.start_open(REAL, **options).result)

    def wait_isolation(self, isolation):
        fixtures.wait_until(lambda: self.picture.objects.get(vb.function_path(REAL), {}).get("org.vfwarden1.Msix", {})
                            .get("Isolation") == isolation, None, f"isolation: {isolation}")

    def assert_reaches_the_device(self):
        """No rule is against it; there is no device to be opened."""
        message = self.assert_fails(vb.FAILED, self.start_open(REAL).result)
        self.assertIn("cannot be opened", message)

    def test_msix_needs_no_allowance(self):
        self.sysfs.allocate_msis(self.add_real(), "IR-PCI-MSIX-{}")
        self.start()
        self.wait_isolation("isolated")
        self.assertIn("AllowMsix=", self.refusal(dma=False))
        self.assert_reaches_the_device()

    def test_msis_that_are_not_isolated(self):
        self.sysfs.allocate_msis(self.add_real(), "PCI-MSIX-{}")
        self.start(io="AllowMsix=yes\n")
        self.wait_isolation("not-isolated")
        self.assertIn("may do no DMA for a client", self.refusal())

    def test_the_kernels_gate_is_open(self):
        """Nothing shows isolation, and the kernel would not look."""
        self.add_real()
        self.open_gate()
        self.start()
        self.wait_isolation("unknown")
        self.assertIn("may do no DMA for a client", self.refusal())

    def test_the_kernels_gate_is_open_and_there_is_no_msix(self):
        """A function without MSI-X can write to where MSIs go, too."""
        self.add_real(config=None)
        self.open_gate()
        self.start()
        self.assertIn("may do no DMA for a client", self.refusal())
        with open(self.sysfs.path(TYPE1), "w", encoding="ascii") as file:
            file.write("N\n")
        fixtures.wait_until(self.passes_the_gate, None, "the parameter to be read again")

    def passes_the_gate(self):
        with self.assertRaises(vb.BusError) as caught:
            self.start_open(REAL).result()
        return caught.exception.name == vb.FAILED

    def open_gate(self):
        path = self.sysfs.path(TYPE1)
        os.makedirs(os.path.dirname(path))
        with open(path, "w", encoding="ascii") as file:
            file.write("Y\n")

    def test_group(self):
        """As for Open(): another member is the host's."""
        function = self.add_real()
        self.sysfs.add("0000:05:00.1", driver="igb", group=function.group)
        self.start()
        self.assertIn("shares the IOMMU group", self.refusal())


if __name__ == "__main__":
    fixtures.main()
