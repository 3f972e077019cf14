"""Unplug over D-Bus: of a slot whose function a holder has open."""

import vfwarden_bus as vb

from guest import pci
from guest.check import equal, raises
from guest.holder import Holder
from guest.pci import ZNVME
from guest.registry import scenario
from scenarios.slot import CLOSABLE, bind_vfio, power_path

LONG, SHORT = 120, 3


@scenario("a cooperative user: asked over D-Bus, releases it; the slot is switched off", deadline=180)
def cooperative(machine):
    bind_vfio(machine, ZNVME)
    power = power_path(ZNVME)
    holder = Holder(machine, "--unplug=200", ZNVME)
    machine.wait_property(ZNVME, "InUse", True)
    call = machine.client.start_unplug(ZNVME.address, LONG)
    holder.wait_line(rf"unplug {ZNVME.address} \d+")
    call.result(LONG)
    machine.wait_function(ZNVME, there=False)
    equal((ZNVME.exists(), pci.read(power), pci.mode(power)), (False, "0", 0o644),
          "the function, its slot's power and the mode of that")


@scenario("a stubborn user: Timeout and nothing has changed; with insist it is removed when released", deadline=240)
def stubborn(machine):
    bind_vfio(machine, ZNVME)
    power = power_path(ZNVME)
    holder = Holder(machine, "--request=ignore", ZNVME)
    machine.wait_property(ZNVME, "InUse", True)
    call = machine.client.start_unplug(ZNVME.address, SHORT)
    equal(raises(vb.BusError, lambda: call.result(LONG), "Unplug").name, vb.TIMEOUT, "the error")
    machine.wait_property(ZNVME, "State", "present")
    machine.check_locked(ZNVME, ["in-use"], CLOSABLE)
    equal((ZNVME.driver(), pci.read(power)), ("vfio-pci", "1"), "its driver and the slot's power")

    call = machine.client.start_unplug(ZNVME.address, SHORT, insist=True)
    holder.wait_line("request.*")
    equal(raises(vb.BusError, lambda: call.result(LONG), "Unplug").name, vb.TIMEOUT, "the error")
    equal(machine.property(ZNVME, "State"), "removing", "the state, which cannot be cancelled")
    holder.end()
    machine.wait_function(ZNVME, there=False, seconds=LONG)
    equal((ZNVME.exists(), pci.read(power)), (False, "0"), "the function and its slot's power")
