"""vfwarden-libvirt under systemd, with a real libvirtd and QEMU: guests that obey an unplug, ignore it, or answer too late."""

import signal
import subprocess

from guest import service
from guest.check import contains, equal, true
from guest.libvirt import AGENT, IGNORE, OBEY, Libvirt, hostdev, tell_guest
from guest.pci import IGB
from guest.registry import scenario
from guest.vfio import wait_users
from scenarios.libvirt import REFUSED, TIMED_OUT, inhibitors, vfs, wait_inhibitors
from scenarios.unplug_with_holders import check_unbound

GUARD = "domain web1"
WAITER = "vfwarden-libvirt"
# More than a guest takes under two emulations on a busy host.
PATIENCE = 240


class Host:
    """A VF that the domain web1 has, whose guest was ordered `word`, and perhaps the agent."""

    def __init__(self, machine, word, with_agent=True):
        self.machine = machine
        self.vf, = vfs(machine, 1)
        self.libvirt = Libvirt(machine)
        if with_agent:
            self.libvirt.start_agent()
        self.libvirt.define("web1", hostdev(self.vf), with_guest=True)
        self.libvirt.start("web1")
        tell_guest("web1", word)
        machine.wait_property(self.vf, "InUse", True)
        self.wait_holders(GUARD)

    def wait_holders(self, *names):
        wait_inhibitors(self.machine, [(self.vf.address, name) for name in names])

    def unplug(self, timeout=PATIENCE):
        """Runs the command to its end. Returns its exit code and what it prints."""
        result = self.machine.run("vfwarden", "unplug", f"--timeout={timeout}", self.vf.address, check=False)
        print(result.stdout, flush=True)
        return result.returncode, result.stdout

    def begin_unplug(self):
        """The command that waits, once the guest was asked."""
        process = subprocess.Popen(["vfwarden", "unplug", f"--timeout={PATIENCE}", self.vf.address])
        self.machine.closers.append(process.kill)
        self.wait_holders(GUARD, WAITER)
        self.wait_agent_says(f"{self.vf.address}: Asking the guest of domain web1")
        return process

    def wait_agent_says(self, text):
        self.machine.wait(lambda: any(text in entry["MESSAGE"] for entry in self.machine.journal.entries(_SYSTEMD_UNIT=AGENT)),
                          f"the agent to say {text!r}")

    def check_released(self):
        check_unbound(self.machine, self.vf)
        self.wait_holders()
        equal(self.libvirt.has("web1", self.vf), False, "whether the domain has the VF")
        self.check_running()

    def check_kept(self):
        """The domain has it, as before the unplug."""
        self.machine.wait_property(self.vf, "State", "present")
        equal(self.libvirt.has("web1", self.vf), True, "whether the domain has the VF")
        equal((self.vf.driver(), self.machine.property(self.vf, "InUse")), ("vfio-pci", True), "the VF")
        self.check_running()

    def check_running(self):
        equal(self.libvirt.virsh("domstate", "web1").stdout.strip(), "running", "the domain")


@scenario("`vfwarden unplug` of a domain's VF: the guest ejects it, the VF is unbound, exit code 0, no inhibitor is left, and "
          "the domain goes on without it and can have it again", deadline=300)
def obeys(machine):
    host = Host(machine, OBEY)
    code, text = host.unplug()
    equal(code, 0, "the exit code")
    contains(text, "web1", "what the command prints")
    host.check_released()
    device = "/run/device.xml"
    with open(device, "w", encoding="utf-8") as file:
        file.write(hostdev(host.vf))
    host.libvirt.virsh("attach-device", "web1", device, "--live")
    machine.wait_property(host.vf, "InUse", True)
    equal(host.unplug()[0], 0, "the exit code of another unplug")
    host.check_released()


@scenario("a guest that ignores an unplug: timed out, the domain has the VF as before; without the agent it is refused at once, "
          "with the reason", deadline=300)
def ignores(machine):
    host = Host(machine, IGNORE)
    equal(host.unplug(timeout=5)[0], TIMED_OUT, "the exit code")
    host.check_kept()
    host.wait_holders(GUARD)
    service.systemctl("stop", AGENT)
    code, text = host.unplug()
    equal(code, REFUSED, "the exit code without the agent")
    contains(text, f"{GUARD} has it, and {AGENT}, which would have it released, does not run", "what the command prints")
    host.check_kept()
    host.wait_holders(GUARD)


@scenario("an unplug that is cancelled in the midst: the guest that ejects the VF afterwards gets it again", deadline=300)
def cancelled(machine):
    host = Host(machine, IGNORE)
    command = host.begin_unplug()
    command.send_signal(signal.SIGINT)
    equal(command.wait(PATIENCE), 128 + signal.SIGINT, "the exit code")
    host.wait_holders(GUARD)
    host.check_kept()
    qemu, = [row[1] for row in machine.client.manager("ListUsers")]
    tell_guest("web1", OBEY)
    host.wait_agent_says("and has it again")
    wait_users(machine, host.vf, [qemu])
    host.check_kept()


@scenario("the agent is killed while it waits for a guest: systemd starts it again, it waits on, and nothing is left behind",
          deadline=300)
def killed(machine):
    host = Host(machine, IGNORE)
    command = host.begin_unplug()
    before = machine.daemon.property("MainPID", AGENT)
    service.systemctl("kill", "--signal=KILL", AGENT)
    machine.wait(lambda: machine.daemon.property("MainPID", AGENT) not in ("0", before), "the agent to be started again")
    host.libvirt.wait_agent()
    host.wait_holders(GUARD, WAITER)
    tell_guest("web1", OBEY)
    equal(command.wait(PATIENCE), 0, "the exit code")
    host.check_released()
    true((host.vf.address, WAITER) not in inhibitors(machine), "the new agent holds nothing")


@scenario("`vfwarden unplug` of a PF whose VFs two domains have: both guests are asked at once and eject them, and the PF goes",
          deadline=360)
def two_domains(machine):
    functions = vfs(machine, 2)
    libvirt = Libvirt(machine)
    libvirt.start_agent()
    names = ("web1", "web2")
    for name, vf in zip(names, functions):
        libvirt.define(name, hostdev(vf), with_guest=True)
        libvirt.start(name)
        machine.wait_property(vf, "InUse", True)
    wait_inhibitors(machine, [(vf.address, f"domain {name}") for name, vf in zip(names, functions)])
    command = subprocess.Popen(["vfwarden", "unplug", f"--timeout={PATIENCE}", IGB.address])
    machine.closers.append(command.kill)
    wait_inhibitors(machine, [(vf.address, who) for name, vf in zip(names, functions) for who in (f"domain {name}", WAITER)])
    for name in names:
        tell_guest(name, OBEY)
    equal(command.wait(PATIENCE), 0, "the exit code")
    equal(IGB.exists(), False, "whether the PF is there")
    wait_inhibitors(machine, [])
    for name, vf in zip(names, functions):
        equal(libvirt.virsh("domstate", name).stdout.strip(), "running", name)
        equal(libvirt.has(name, vf), False, f"whether {name} has its VF")
    machine.outside("wait_unplugged", id="igb0", seconds=30)
