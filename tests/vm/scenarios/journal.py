"""What the journal says to a person: which function, who asked for what, and what a message means."""

import os

from guest.check import contains, equal, true
from guest.pci import IGB
from guest.registry import scenario

CATALOG = "/usr/lib/systemd/catalog/vfwarden.catalog"


@scenario("journalctl -x explains a message of the daemon's and names the function and who asked")
def explained(machine):
    true(os.path.exists(CATALOG), "the catalog is installed")
    machine.run("journalctl", "--update-catalog")
    machine.client.lock(IGB.address, "until noon")
    machine.wait_property(IGB, "Locked", True)
    machine.journal.entries()       # which are there then
    text = machine.run("journalctl", "-x", "-q", "-o", "short", f"--after-cursor={machine.journal.cursor}").stdout
    contains(text, f"{IGB.address}: locked: administrator", "the message about the lock")
    contains(text, f" Subject: The lock of PCI function {IGB.address} changed", "its subject")
    contains(text, " Defined-By: vfwarden", "where it comes from")
    contains(text, f" \"vfwarden why {IGB.address} OPERATION\" shows the obstacles to an operation.",
             "its explanation, with the address")
    contains(text, f"{IGB.address}: Lock('until noon') by uid 0, pid ", "the message about the request")
    contains(text, "): done", "how the request ended")
    contains(text, " Subject: A client of vfwardend requested an operation", "its subject")
    machine.client.unlock(IGB.address)


@scenario("every message about a function begins with its address")
def addresses(machine):
    machine.client.lock(IGB.address)
    machine.client.unlock(IGB.address)
    IGB.bind("vfio-pci")
    machine.check_locked(IGB, ["userspace-driver"], ("sriov_numvfs", "sriov_drivers_autoprobe"))
    entries = [entry for entry in machine.journal.of_daemon() if "VFWARDEN_ADDRESS" in entry]
    true(entries, "there are messages about functions")
    for entry in entries:
        equal(entry["MESSAGE"][:len(entry["VFWARDEN_ADDRESS"]) + 2], entry["VFWARDEN_ADDRESS"] + ": ",
              f"how {entry['MESSAGE']!r} begins")
