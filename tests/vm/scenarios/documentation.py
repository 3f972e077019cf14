"""The commands of a page are what it says they are."""

from page import commands

from guest import documentation
from guest.check import true
from guest.cleaning import POLKIT_RULES
from guest.pci import PLAIN
from guest.registry import scenario

RULES = "60-vfwarden-io.rules"


@scenario("docs/zpci-io.md: each of its commands prints what the page says, its program too", deadline=120)
def zpci_io(machine):
    blocks = [block for heading, blocks in documentation.zpci_io().sections.items() for block in blocks
              if "s390" not in heading]     # scenarios_s390x/documentation.py has those
    configuration, = [block for block in blocks if block.startswith("[")]
    # There is no compiler here; host/project.py has called it.
    lines = [command for block in blocks for command in commands(block) if not command.line.startswith("cc ")]
    true(len(lines) >= 11, f"the page has commands: {lines}")
    machine.daemon.configure(configuration)
    machine.run("vfwarden", "reload")
    machine.run("groupdel", "vfwarden-io", check=False)     # of another scenario
    try:
        documentation.check_commands(machine, lines, PLAIN)
    finally:
        (POLKIT_RULES.parent / RULES).unlink(missing_ok=True)
        machine.run("groupdel", "vfwarden-io", check=False)
