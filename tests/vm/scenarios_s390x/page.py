"""A function's page is complete: what is documented of it can be read, with busctl and with `vfwarden show`."""

import json
import xml.etree.ElementTree as ElementTree

import vfwarden_bus as vb

from guest.check import equal
from guest.pci import ZNVME, ZRNG
from guest.registry import scenario
from scenarios.slot import bind_vfio

DOCUMENTED = "/usr/share/dbus-1/interfaces"
INTERFACES = ["Function", "Msix", "Zpci", "ZpciIo"]


def documented(interface):
    """Names of the properties that the interface has by its installed description."""
    root = ElementTree.parse(f"{DOCUMENTED}/org.vfwarden1.{interface}.xml").getroot()
    return sorted(one.get("name") for one in root.iter("property"))


def by_busctl(machine, function):
    """Interface -> {property: value}, as `busctl introspect` prints them to somebody without privilege."""
    output = machine.run_as("visitor", "busctl", "--full", "introspect", vb.NAME,
                            vb.function_path(function.address)).stdout
    pages, page = {}, None
    for line in output.splitlines():
        name, kind, _, rest = line.split(maxsplit=3)
        if kind == "interface":
            page = pages.setdefault(name, {})
        elif kind == "property":
            page[name.removeprefix(".")] = rest.rpartition(" ")[0].strip()
    return pages


@scenario("zPCI functions have the interfaces Function, Msix, Zpci and ZpciIo, and every property of them can be read "
          "with busctl")
def busctl(machine):
    for function in (ZNVME, ZRNG):
        pages = by_busctl(machine, function)
        own = [name.removeprefix("org.vfwarden1.") for name in pages if name.startswith("org.vfwarden1.")]
        equal(sorted(own), INTERFACES, f"the interfaces of {function}")
        for interface in INTERFACES:
            page = pages[f"org.vfwarden1.{interface}"]
            equal(sorted(page), documented(interface), f"properties of {interface} on {function}")
            equal([name for name, value in page.items() if value in ("", "-")], [],
                  f"properties of {interface} on {function} without a value")


def rows(machine, function):
    """Label -> what is said, of `vfwarden show`."""
    output = machine.run_as("visitor", "vfwarden", "show", function.address).stdout
    labels = (line.partition(":  ") for line in output.splitlines()[1:])
    return {label.strip(): text for label, colon, text in labels if colon}


@scenario("`vfwarden show` says it in words, with --json all of it")
def show(machine):
    bind_vfio(machine, ZNVME)
    for function in (ZNVME, ZRNG):
        fid, uid, channel, group, kind, handle = (int(function.read(name), 16) for name in (
            "function_id", "uid", "pchid", "pfgid", "pft", "function_handle"))
        expected = {
            "Memory enable bit": "implemented",
            "MSI isolation": "isolated",
            "MSI-X table": "may be mapped into a guest",
            "MSI evidence": machine.property(function, "Evidence")[0],
            "zPCI function": f"id {fid:08x}, UID {uid:04x}, channel {channel:04x}, group {group:02x}, type {kind:02x}",
            "zPCI handle": f"{handle:08x}",
            "zPCI MIO enabled": "no",
        }
        if function is ZNVME:
            expected["I/O sessions"] = "vfio-pci"  # what it would be, and how much at once, only the open device tells
        shown = rows(machine, function)
        equal({label: shown.get(label) for label in expected}, expected, f"what is shown of {function}")

        told = json.loads(machine.run_as("visitor", "vfwarden", "show", "--json", function.address).stdout)
        for interface, page in (("Function", told), ("Zpci", told), ("Msix", told["Msix"]), ("ZpciIo", told["ZpciIo"])):
            equal([name for name in documented(interface) if name not in page], [],
                  f"properties of {interface} that --json lacks of {function}")
