"""Running the commands of docs/zpci-io.md and docs/device.md as they are printed there."""

import pathlib

import examples
from page import Page

from guest import service
from guest.check import equal
from guest.vfio import wait_free

# Where the programs on the pages are, compiled as the pages say (host/project.py); where there is none, any directory does.
PROGRAM = pathlib.Path("/usr/lib/vfwarden-vm-page")
USER = "visitor"


def zpci_io():
    return Page("/usr/lib/vfwarden-vm/zpci-io.md")


def device():
    return Page("/usr/lib/vfwarden-vm/device.md")


def vmm_command():
    """The page's command that starts a VMM."""
    command, = [block for blocks in device().sections.values() for block in blocks if block.startswith("vfwarden io serve")]
    return command


def run_command(command):
    """What it prints."""
    words = ("sh", "-c", command.line.replace("USER", USER))
    user = () if command.root else ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups")
    said = service.run(*user, *words, check=False, cwd=PROGRAM if PROGRAM.exists() else "/").stdout
    return "".join(examples.without_progress(said.splitlines(keepends=True)))


def check_commands(machine, commands, function):
    """Each prints what the page says. They use `function`, and come slower than one after the other when typed."""
    for command in commands:
        equal(run_command(command), command.output, f"`{command.line}`")
        wait_free(machine, function)
