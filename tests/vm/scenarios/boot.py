"""The machine itself is what the other scenarios take for granted."""

import os
import re

from guest import pci
from guest.check import contains, equal
from guest.pci import IGB, NVME, PLAIN
from guest.registry import scenario


@scenario("the machine has what it should: SR-IOV, slots, and the IOMMU that was asked for")
def hardware(machine):
    iommu = re.search(r"vfwarden\.iommu=(\S+)", pci.read("/proc/cmdline"))[1]
    for function, slot in ((IGB, "1"), (NVME, "2"), (PLAIN, "3")):
        equal(function.slot(), slot, f"the slot of {function}")
        equal(os.path.exists(function.path("iommu_group")), iommu != "none", f"whether {function} is in a group")
    # igb keeps one of its eight to itself once it is bound.
    for function, totals in ((IGB, (7, 8)), (NVME, (4,))):
        contains(totals, int(function.read("sriov_totalvfs")), f"how many VFs {function} can have")
    chips = {pci.read(f"/sys/kernel/irq/{number}/chip_name") for number in os.listdir("/sys/kernel/irq")}
    equal(any((chip or "").startswith("IR-") for chip in chips), iommu == "intel",
          "whether interrupts are remapped")
    equal(machine.daemon.property("SubState"), "running", "the daemon")
