"""The commands of a page are what it says they are."""

import os

from page import commands

from guest import documentation
from guest.check import equal
from guest.pci import ZNVME
from guest.registry import scenario
from scenarios.io import allow


def version(release):
    """"6.12" of "6.12.95+deb12-s390x"."""
    return release.strip().split(".")[:2]


@scenario("docs/zpci-io.md: what it says of blocks on s390 with this kernel is what its commands print")
def zpci_io(machine):
    allow(machine)
    section, = [blocks for heading, blocks in documentation.zpci_io().sections.items() if "s390" in heading]
    # Each block is of a kernel, which its first command tells.
    here = [(first, rest) for first, *rest in map(commands, section) if version(first.output) == version(os.uname().release)]
    equal([first.line for first, _ in here], ["uname -r"], f"the page's block for Linux {os.uname().release}")
    documentation.check_commands(machine, here[0][1], ZNVME)
