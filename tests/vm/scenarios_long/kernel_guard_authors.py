"""The kernel guard: who takes a driver away."""

import os
import subprocess

from guest import pci, service
from guest.check import equal
from guest.pci import IGB
from guest.registry import scenario

from scenarios.kernel_guard import held_vf, how, wait_guards


def removals(machine):
    """What the journal says of external removals."""
    return machine.journal.messages(service.EXTERNAL_REMOVAL)


@scenario("the journal names exactly who takes a driver from a function in use: unbind, modprobe and the number of "
          "VFs, although another process has the file open, too", deadline=300)
def authors(machine):
    machine.daemon.configure("[Lock]\nKernelGuard=tell\n")
    machine.run("systemctl", "reload", service.UNIT)
    service.systemctl("start", service.GUARD_UNIT)
    wait_guards(machine, [f"{guard}: reported only ({how()}): KernelGuard=tell"
                          for guard in ("unbind", "descriptor", "chmod", "module")]
                + [f"network: reported only ({how()}): KernelGuardNetwork=tell"])
    # Somebody who has the same file open, and does nothing with it: not to be taken for the one.
    bystander = os.open("/sys/bus/pci/drivers/vfio-pci/unbind", os.O_WRONLY)
    machine.closers.append(lambda: os.close(bystander))
    earlier = os.open(IGB.path("sriov_numvfs"), os.O_WRONLY)
    machine.closers.append(lambda: os.close(earlier))
    for script, command, deed in (("echo VF > /sys/bus/pci/drivers/vfio-pci/unbind", "bash", "VF: unbind is in progress"),
                                  ("exec modprobe -r igb", "modprobe", f"{IGB}: the driver igb is leaving"),
                                  (f"echo 0 >&{earlier}", "bash", f"{IGB}: set-num-vfs is in progress")):
        one, vf, _ = held_vf(machine)
        machine.journal.restart()
        process = subprocess.Popen(["bash", "-c", script.replace("VF", vf.address)], pass_fds=[earlier])
        machine.closers.append(process.kill)
        words = f"{deed.replace('VF', vf.address)} (by {command} (pid {process.pid}, uid 0"
        machine.wait(lambda words=words: any(text.startswith(words) for text in removals(machine)),
                     lambda words=words: f"{words}; are {removals(machine)}")
        one.end()
        equal(process.wait(), 0, f"the status of {script}")
        pci.load_driver("igb")
        machine.wait(lambda: IGB.driver() == "igb", "the PF to have its driver")
        machine.wait_property(IGB, "Locked", False)
        IGB.set_num_vfs(0)
        machine.wait_property(IGB, "NumVFs", 0)
