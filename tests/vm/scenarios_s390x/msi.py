"""org.vfwarden1.Msix: on s390 isolation is the architecture's, whatever the function's driver is."""

import re

from guest import pci
from guest.check import contains, equal, true
from guest.pci import ZNVME, ZRNG
from guest.registry import scenario
from scenarios.slot import bind_vfio


def check_verdict(machine, function):
    """Isolated, by a sentence that names a file, in which the function is one of s390."""
    machine.wait_property(function, "Isolation", "isolated")
    equal(machine.property(function, "TableMappable"), True, f"TableMappable of {function}")
    equal(machine.property(function, "Reason"), "This architecture isolates all MSIs.", f"Reason of {function}")
    evidence = machine.property(function, "Evidence")
    equal(evidence[:1], ["This is a function of s390, where all MSIs are isolated, though less strictly than elsewhere "
                         f"({function.path('vfn')})."], f"the first sentence of the evidence of {function}")
    for sentence in evidence:
        path = re.search(r"\((/sys/\S+)\)\.$", sentence)
        true(path and pci.read(path[1]), f"what {sentence!r} names can be read")
    equal([sentence for sentence in evidence if "chip_name" in sentence], [], "sentences of interrupt controllers")


@scenario("MSIs are isolated by architecture: with the native driver, with none, with vfio-pci, after a slot was off")
def isolation(machine):
    for function in (ZNVME, ZRNG):
        check_verdict(machine, function)
    ZNVME.unbind()
    machine.wait_property(ZNVME, "Driver", "")
    machine.fence()
    check_verdict(machine, ZNVME)
    bind_vfio(machine, ZNVME)
    machine.fence()
    check_verdict(machine, ZNVME)
    power = ZNVME.path("power")
    pci.write(power, "0")
    machine.wait_function(ZNVME, there=False)
    pci.write(power, "1")
    machine.wait_property(ZNVME, "Driver", "nvme")
    check_verdict(machine, ZNVME)


@scenario("the MSI-X capability is what lspci says")
def capability(machine):
    for function in (ZNVME, ZRNG):
        check_verdict(machine, function)
        text = machine.run("lspci", "-vvv", "-s", function.address).stdout
        contains(text, f"Count={machine.property(function, 'Vectors')} ", f"lspci of {function}")
        for label, name in (("Vector table", "Table"), ("PBA", "Pba")):
            contains(text, f"{label}: BAR={machine.property(function, name + 'Bar')} "
                     f"offset={machine.property(function, name + 'Offset'):08x}", f"lspci of {function}")
