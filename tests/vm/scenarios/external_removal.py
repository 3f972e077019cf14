"""External removals: the users of the functions are notified, and everybody can see the progress and the blocking users."""

import os
import subprocess

import vfwarden_bus as vb

from guest import holder, pci
from guest.check import contains, equal, true
from guest.holder import Holder
from guest.pci import CARD0, FOURTH, IGB, PLAIN
from guest.registry import scenario
from guest.vfio import igb_vfs, wait_users

# From the button to the kernel's removal 5 s pass, as on real slots.
BUTTON_SECONDS = 20
# The scenario decides when the users release the function.
NEVER = 3600 * 1000


class Writer:
    """Root's process that writes to a file of sysfs, and hangs there for as long as the kernel does. The file is
    opened before `vfio` is: a lock that comes later does not close it."""

    def __init__(self, machine, path, text):
        self.process = subprocess.Popen(
            ["sh", "-c", f"exec 3>{path}; echo ready; read go; exec cat >&3"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid
        self.text = text
        machine.closers.append(self.close)
        self.process.stdout.readline()

    def write(self):
        self.process.stdin.write(b"go\n" + self.text.encode())
        self.process.stdin.close()

    def done(self):
        return self.process.poll() == 0

    def close(self):
        self.process.kill()  # and no waiting: the kernel may have it still
        self.process.stdout.close()


def is_told(one):
    return any(line.startswith("unplug ") for line in one.lines)


def told(machine, functions, mark):
    """What signals said of these functions, in order: (function, what), with the deadline of a request."""
    paths = {vb.function_path(function.address): function for function in functions}
    story = []
    for signal in machine.client.recorder.since(mark):
        if signal.member == "PropertiesChanged" and signal.path in paths and "State" in signal.args[1]:
            story.append((paths[signal.path], signal.args[1]["State"]))
        elif signal.member == "UnplugRequested":
            story.append((paths[signal.path], f"asked {signal.args[0]}"))
        elif signal.member == "InterfacesRemoved" and signal.args[0] in paths:
            story.append((paths[signal.args[0]], "gone"))
    return story


@scenario("an external unbind that waits for a user is shown, with its writer and that user; all else "
          "goes on, and it ends with the holder", deadline=180)
def unbind(machine):
    vf, = igb_vfs(machine)
    one = Holder(machine, "--io", "--request=refuse", vf)
    wait_users(machine, vf, [one.pid])
    mark = machine.mark()
    writer = Writer(machine, "/sys/bus/pci/drivers/vfio-pci/unbind", vf.address)
    writer.write()
    one.wait_line(f"request {vf}")
    machine.wait_property(vf, "State", "removing")
    machine.wait_property(vf, "Driver", "")
    wait_users(machine, vf, [one.pid])
    equal(sorted(what for _, what in told(machine, [vf], mark)), ["asked 0", "removing"], "what was told of the VF")

    def rows(function):
        return [tuple(row) for row in machine.client.check(function.address, "unbind")[1]]
    machine.wait(lambda: "operation" in [row[0] for row in rows(vf)],
                 lambda: f"an operation in the way of the VF's unbind; there are {rows(vf)}")
    operation, = [row for row in rows(vf) if row[0] == "operation"]
    equal((operation[1], operation[3]), (vf.address, writer.pid), "whose operation, and the process at it")
    contains([(row[0], row[3]) for row in rows(vf)], ("user", one.pid), "who has it")
    contains([row[:2] for row in rows(IGB)], ("operation", vf.address), "what is in the way of the PF's unbind")

    machine.plug(FOURTH)
    machine.wait_property(FOURTH, "Driver", "igb")
    machine.unplug(FOURTH)
    machine.wait_function(FOURTH, there=False)
    equal((vf.read("vendor"), IGB.read("sriov_numvfs")), ("0x8086", "1"), "what sysfs says of the VF and its PF")
    equal((writer.done(), machine.property(vf, "State")), (False, "removing"), "it hangs meanwhile")
    reads = one.reads()
    machine.wait(lambda: one.reads() > reads, "the holder to read on")

    holder.kill(one.pid)
    machine.wait_property(vf, "State", "present", 20)
    wait_users(machine, vf, [])
    equal((vf.exists(), vf.driver()), (True, None), "the VF is there without a driver")
    machine.wait(writer.done, "the writer to be done")
    equal(machine.client.check(vf.address, "unbind")[:2], (True, []), "nothing is in the way any more")


def check_goes(machine, holders, mark, by_slot=True):
    """The PF and its VFs, whose holders are `holders`, go once those have ended; each user was notified before."""
    for one in holders.values():
        one.end()
    machine.wait_function(IGB, there=False, seconds=BUTTON_SECONDS)
    if by_slot:  # before anything can fail: the next scenario plugs it in again
        machine.outside("wait_unplugged", id="igb0", seconds=30)
    functions = [IGB, *holders]
    story = told(machine, functions, mark)
    for function in functions:
        said = [what for one, what in story if one == function]
        equal((sorted(said[:2]), said[2:]), (["asked 0", "removing"], ["gone"]),
              f"what was told of {function}; of all: {story}")
    gone = [one for one, what in story if what == "gone"]
    equal((set(gone), gone[-1]), (set(functions), IGB), f"what goes, and the PF last; told: {story}")
    last_asked = max(number for number, (_, what) in enumerate(story) if what == "asked 0")
    first_gone = min(number for number, (_, what) in enumerate(story) if what == "gone")
    true(last_asked < first_gone, f"all are asked before any goes: {story}")
    equal(IGB.exists(), False, "whether the PF is there")
    for vf, one in holders.items():
        equal(one.process.returncode, 0, f"how the holder of {vf} ended")


@scenario("an operator's button removes a PF whose VF is in use: the user is notified and releases it, and all is removed",
          deadline=180)
def button(machine):
    vf, = igb_vfs(machine)
    one = Holder(machine, f"--unplug={NEVER}", vf)
    wait_users(machine, vf, [one.pid])
    mark = machine.mark()
    machine.outside("unplug", id="igb0")
    machine.wait(lambda: is_told(one), "the holder to be told", BUTTON_SECONDS)
    machine.wait_property(IGB, "State", "removing")
    machine.wait_property(vf, "State", "removing")
    check_goes(machine, {vf: one}, mark)


@scenario("the same with two VFs and two users: both are notified at once, before either releases its VF", deadline=180)
def button_two_holders(machine):
    vfs = igb_vfs(machine, 2)
    holders = {vf: Holder(machine, f"--unplug={NEVER}", vf) for vf in vfs}
    for vf, one in holders.items():
        wait_users(machine, vf, [one.pid])
    mark = machine.mark()
    machine.outside("unplug", id="igb0")
    check_goes_at_once(machine, holders, mark)


def check_goes_at_once(machine, holders, mark, by_slot=True):
    """All holders hear of it while all of them hold still what they hold; the kernel asks one after the other."""
    machine.wait(lambda: any(map(is_told, holders.values())), "a holder to be told", BUTTON_SECONDS)
    machine.wait(lambda: all(map(is_told, holders.values())), "the other holder to be told")
    check_goes(machine, holders, mark, by_slot)


@scenario("root writes to remove and to the slot's power through descriptors from before the lock: users are notified at "
          "once, and all goes", deadline=240)
def old_descriptors(machine):
    for name, text in (("remove", "1"), ("power", "0")):
        vfs = igb_vfs(machine, 2)
        writer = Writer(machine, IGB.path(name), text)
        holders = {vf: Holder(machine, f"--unplug={NEVER}", vf) for vf in vfs}
        for vf, one in holders.items():
            wait_users(machine, vf, [one.pid])
        machine.check_locked(IGB, ["vf-in-use"], pci.KERNEL_MODES)
        mark = machine.mark()
        writer.write()
        check_goes_at_once(machine, holders, mark, by_slot=name == "power")
        machine.wait(writer.done, "the writer to be done", 20)
        if name == "remove":
            pci.write("/sys/bus/pci/rescan", "1")
            machine.wait_property(IGB, "Driver", "igb", 20)


@scenario("modprobe -r of a PF's driver while a guest has a VF: said so, with its process; other functions hear nothing",
          deadline=180)
def module(machine):
    vf, = igb_vfs(machine)
    one = Holder(machine, "--io", "--request=refuse", vf)
    wait_users(machine, vf, [one.pid])
    mark = machine.mark()
    with subprocess.Popen(["modprobe", "-r", "igb"]) as unloader:
        machine.closers.append(lambda: pci.load_driver("igb"))
        machine.wait_property(vf, "State", "removing")

        def operations():
            return [tuple(row) for row in machine.client.check(IGB.address, "unbind")[1] if row[0] == "operation"]
        machine.wait(operations, "an operation in the way of the PF's unbind")
        equal(operations(), [("operation", IGB.address, f"the driver igb is leaving (process {unloader.pid}), and waits "
                              "for the users", unloader.pid)], "whose it is")
        equal(sorted(what for _, what in told(machine, [vf, PLAIN, CARD0], mark)), ["asked 0", "removing"], "what was told")
        one.end()
    machine.wait_function(vf, there=False)
    machine.wait(lambda: machine.client.check(IGB.address, "bind")[:2] == (True, []), "nothing to be in the way any more")
