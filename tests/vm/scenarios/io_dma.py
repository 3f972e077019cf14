"""DMA in a session: a client without privilege drives an NVMe controller's admin queue, in memory of its own. The end of the
session leaves no page pinned, and no device that could write."""

import pathlib
import re

import vfwarden_bus as vb

from guest import service
from guest.check import contains, equal, raises
from guest.io_client import IoClient
from guest.pci import NVME
from guest.registry import scenario
from guest.vfio import wait_free
from scenarios.io_device import BUS_MASTER, COMMAND, device_word

RULE = """polkit.addRule(function(action, subject) {
    if ((action.id == "org.vfwarden1.zpci-io" || action.id == "org.vfwarden1.zpci-io-dma") && subject.user == "visitor")
        return polkit.Result.YES;
});
"""
RULE_WITHOUT = RULE.replace(' || action.id == "org.vfwarden1.zpci-io-dma"', "")
# So far behind the client's memory that it has none there.
OUTSIDE = 1 << 30
MODEL = b"QEMU NVMe Ctrl"
UNTOUCHED = b"\xaa" * 4096


def pinned():
    """Pages that are pinned for devices, as the kernel counts them when all processors have told their part."""
    pathlib.Path("/proc/sys/vm/stat_refresh").read_bytes()
    counts = dict(re.findall(r"^nr_foll_pin_(acquired|released) (\d+)$", pathlib.Path("/proc/vmstat").read_text(), re.MULTILINE))
    return int(counts["acquired"]) - int(counts["released"])


def allow(machine, rule=RULE):
    """AllowMsix= is left alone: DMA needs none."""
    machine.add_polkit_rule(rule)
    machine.daemon.configure("[Io]\nDrainSeconds=2\n")
    service.systemctl("reload", service.UNIT)
    NVME.bind("vfio-pci")
    machine.wait_property(NVME, "Driver", "vfio-pci")


def check_identified(client):
    status, page = client.identify()
    equal((status, page[:2].hex(), page[24:24 + len(MODEL)]), (0, "361b", MODEL), "status, vendor and model")


def check_quiet(machine, before):
    """No page is pinned that was not before, and the device cannot write."""
    wait_free(machine, NVME)
    equal(device_word(NVME, COMMAND, 2) & BUS_MASTER, 0, "bus master of the device")
    machine.poll(lambda: pinned() <= before, f"pinned pages to be {before} again")


@scenario("with DMA a client has the controller write to its memory, and hears of that by MSI-X; what it unmaps the device "
          "loses; outside of its maps there is a fault, and nothing else", deadline=120)
def identify(machine):
    allow(machine, RULE_WITHOUT)
    client = IoClient(machine)
    error = raises(vb.BusError, lambda: client.open(NVME, dma=True), "a session with DMA without a rule")
    equal(error.name, vb.ACCESS_DENIED, "its error")
    error = raises(vb.BusError, lambda: client.open(NVME), "one without DMA")
    equal(error.name, vb.REFUSED, "its error")
    contains(error.message, "AllowMsix=", "its text")
    machine.add_polkit_rule(RULE)
    wait_free(machine, NVME)

    before = pinned()
    client.open(NVME, dma=True)
    client.start_queue()
    equal(pinned() - before, 3, "pages that are pinned for it")
    for _ in range(20):     # once around the queue
        check_identified(client)
    # QEMU's controller does not look at how its write went (dma_buf_rw()), so its status says nothing.
    equal(client.identify(OUTSIDE)[1], UNTOUCHED, "the client's page")
    machine.poll(lambda: "DMAR: [DMA Write" in machine.run("dmesg").stdout, "the kernel to log the fault")
    check_identified(client)

    client.unmap_queue()
    equal(pinned(), before, "pinned pages after that was answered")
    client.end_session()
    check_quiet(machine, before)
