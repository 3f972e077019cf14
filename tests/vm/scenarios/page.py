"""The commands of a page are what it says they are."""

import pathlib

from page import Page

from guest import service
from guest.check import equal, true
from guest.cleaning import POLKIT_RULES
from guest.pci import PLAIN
from guest.registry import scenario
from guest.vfio import wait_free

HOME = pathlib.Path("/usr/lib/vfwarden-vm")
# Where the program on the page is, compiled as the page says.
PROGRAM = "/usr/lib/vfwarden-vm-page"
USER = "visitor"
RULES = "60-vfwarden-io.rules"


def run_command(command):
    """What it prints, run as printed."""
    words = ("sh", "-c", command.line.replace("USER", USER))
    user = () if command.root else ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups")
    return service.run(*user, *words, check=False, cwd=PROGRAM).stdout


@scenario("docs/zpci-io.md: each of its commands prints what the page says, its program too", deadline=120)
def zpci_io(machine):
    page = Page(HOME / "zpci-io.md")
    configuration, = [block for block in page.blocks if block.startswith("[")]
    machine.daemon.configure(configuration)
    machine.run("vfwarden", "reload")
    true(len(page.commands) >= 12, f"the page has commands: {page.commands}")
    machine.run("groupdel", "vfwarden-io", check=False)     # of another scenario
    try:
        for command in page.commands:
            if not command.line.startswith("cc "):  # there is no compiler here; host/project.py has done it
                equal(run_command(command), command.output, f"`{command.line}`")
    finally:
        (POLKIT_RULES.parent / RULES).unlink(missing_ok=True)
        machine.run("groupdel", "vfwarden-io", check=False)
    wait_free(machine, PLAIN)
