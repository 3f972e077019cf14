"""The machine itself is what the other scenarios take for granted."""

import sys

from guest import pci, service
from guest.check import equal, true
from guest.pci import ZNVME, ZRNG
from guest.registry import scenario


@scenario("the machine has what it should: a big-endian s390, zPCI functions in slots, no unit that failed")
def hardware(machine):
    equal((sys.byteorder, pci.ON_S390), ("big", True), "the architecture")
    equal(pci.addresses(), [ZNVME.address, ZRNG.address], "the functions")
    for function, slot in ((ZNVME, "00000103"), (ZRNG, "20000007")):
        equal(function.slot(), slot, f"the slot of {function}")
        true(function.read("iommu_group/type") is not None, f"{function} is in an IOMMU group")
        equal(function.read("physfn/vendor"), None, f"a PF of {function}")
    equal(machine.daemon.property("SubState"), "running", "the daemon")
    equal(machine.daemon.property("UnitFileState"), "enabled", "whether it is enabled")
    equal(service.systemctl("--failed", "--plain", "--no-legend").stdout, "", "units that failed")
