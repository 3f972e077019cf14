"""The machine itself is what the other scenarios take for granted."""

import os

from guest.check import contains, equal, true
from guest.registry import scenario


@scenario("the machine has what it should: IOMMU groups, SR-IOV, slots")
def hardware(machine):
    devices = "/sys/bus/pci/devices"
    for address, slot in (("0000:01:00.0", "1"), ("0000:02:00.0", "2"), ("0000:03:00.0", "3")):
        true(os.path.exists(f"{devices}/{address}/iommu_group"), f"{address} is in an IOMMU group")
        with open(f"/sys/bus/pci/slots/{slot}/address", encoding="ascii") as file:
            equal(file.read(), address[:-2] + "\n", f"the address of slot {slot}")
    # igb keeps one of its eight to itself once it is bound.
    for address, totals in (("0000:01:00.0", (7, 8)), ("0000:02:00.0", (4,))):
        with open(f"{devices}/{address}/sriov_totalvfs", encoding="ascii") as file:
            contains(totals, int(file.read()), f"how many VFs {address} can have")
