"""The demo, as README.md begins with it."""

import sys

from guest import service
from guest.check import contains, equal
from guest.libvirt import AGENT, Libvirt
from guest.manual import example
from guest.registry import scenario

PLAYED = "/usr/lib/vfwarden-vm/demo"


@scenario("the demo of libvirt's guests plays to its end", deadline=300)
def plays_libvirt(machine):
    libvirt = Libvirt(machine)
    libvirt.domains.append("web1")
    result = machine.run(sys.executable, PLAYED, "--libvirt", check=False)
    print(result.stdout, flush=True)
    service.systemctl("stop", AGENT)
    equal(result.returncode, 0, f"the exit code of the demo, which ended with {result.stdout[-300:]!r}")
    contains(result.stdout, "Asking to release", "what the demo shows")


@scenario("the demo plays to its end", deadline=240)
def plays(machine):
    with example(machine, "demo", file="vm/scenarios/demo.py") as session:
        session.skip(f"it boots such a machine and runs {PLAYED}")
    result = machine.run(sys.executable, PLAYED, check=False)
    print(result.stdout, flush=True)
    equal(result.returncode, 0, f"the exit code of the demo, which ended with {result.stdout[-300:]!r}")
    contains(result.stdout, "Permission denied", "what the demo shows")
    machine.connect()   # it stops and starts the daemon
