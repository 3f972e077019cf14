"""What a lock closes, what it leaves open, and that all is as before when it goes."""

import errno
import os

from guest import pci, service
from guest.check import contains, equal, raises, true
from guest.pci import IGB, KERNEL_MODES, NVME, PLAIN, SRIOV, Function
from guest.registry import scenario

ALL = tuple(KERNEL_MODES)
USERSPACE = ["userspace-driver"]
ADMINISTRATOR = ["administrator"]


def vfio_pf_with_vfs(machine, count=2):
    """The state of a host on which VFs were made before vfwarden was installed."""
    machine.stop_daemon()
    pci.set_enable_sriov(True)
    NVME.bind("vfio-pci")
    NVME.set_num_vfs(count)
    equal(len(NVME.vfs()), count, "the VFs that vfio-pci made")


def check_refused(function, name, text):
    error = raises(OSError, lambda: function.write(name, text), f"root's write of {text} to {name}")
    equal(error.errno, errno.EACCES, f"the error of a write to {name}")


def check_all_others_writable(function, closed):
    """Every file that has a write bit can be opened for writing by root, and none but `closed` lost it."""
    shut = {function.path(name) for name in closed}
    for path, bits in function.all_modes().items():
        if path in shut:
            equal(bits & 0o222, 0, f"the write bits of {path}")
        elif bits & 0o222:
            true(pci.can_open_for_writing(path), f"{path} can be opened for writing")


@scenario("nvme on vfio-pci with 2 VFs before the daemon starts: its SR-IOV files refuse root, all others do not")
def found_at_start(machine):
    vfio_pf_with_vfs(machine)
    before = NVME.all_modes()
    machine.start_daemon()
    machine.check_locked(NVME, USERSPACE, SRIOV)
    equal(machine.property(NVME, "UserspaceDriver"), True, "whether a userspace driver has it")
    equal(machine.property(NVME, "Tainted"), False, "whether it is tainted")
    equal(machine.property(NVME, "NumVFs"), 2, "NumVFs")
    check_refused(NVME, "sriov_numvfs", "0")
    check_refused(NVME, "sriov_drivers_autoprobe", "0")
    check_all_others_writable(NVME, SRIOV)
    changed = {path for path, bits in NVME.all_modes().items() if before[path] != bits}
    equal(changed, {NVME.path(name) for name in SRIOV}, "the files whose mode the daemon changed")

    equal(NVME.read("sriov_numvfs"), "2", "what sriov_numvfs reads")
    equal(NVME.read("sriov_drivers_autoprobe"), "1", "what sriov_drivers_autoprobe reads")
    equal(len(NVME.vfs()), 2, "the VFs")
    NVME.set_override("vfio-pci")
    NVME.write("power/control", NVME.read("power/control"))
    for vf in map(Function, NVME.vfs()):
        equal(machine.property(vf, "Locked"), False, f"whether the VF {vf} is locked")
        vf.check_closed()


@scenario("a PF with VFs under vfio-pci is warned of, with their number")
def warned_with_the_number(machine):
    vfio_pf_with_vfs(machine, 3)
    machine.start_daemon()
    machine.check_locked(NVME, USERSPACE, SRIOV)
    entries = machine.journal.of_daemon(MESSAGE_ID=service.PF_WITH_VFS)
    equal(len(entries), 1, "the number of warnings")
    equal(entries[0]["VFWARDEN_ADDRESS"], NVME.address, "the function that the warning is about")
    equal(entries[0]["PRIORITY"], "4", "its priority")
    contains(entries[0]["MESSAGE"], " 3 ", "the warning names the number of VFs")
    contains(entries[0]["MESSAGE"], "vfio-pci", "the warning names the driver")


@scenario("a PF that keeps its VFs while pci-stub takes it is warned of as it happens")
def warned_as_it_happens(machine):
    NVME.write("sriov_drivers_autoprobe", "0")
    NVME.set_num_vfs(2)
    machine.wait_property(NVME, "NumVFs", 2)
    NVME.bind("pci-stub")
    machine.check_locked(NVME, USERSPACE, SRIOV)
    texts = machine.journal.messages(service.PF_WITH_VFS)
    equal(len(texts), 1, "the number of warnings")
    contains(texts[0], " 2 ", "the warning names the number of VFs")
    contains(texts[0], "pci-stub", "the warning names the driver")


@scenario("Lock on a PF that vfio-pci has: remove, reset and the slot's power refuse too; Unlock opens them")
def administrators_lock_on_top(machine):
    vfio_pf_with_vfs(machine)
    machine.start_daemon()
    machine.check_locked(NVME, USERSPACE, SRIOV)
    machine.client.lock(NVME.address, "do not touch")
    machine.check_locked(NVME, USERSPACE + ADMINISTRATOR, ALL)
    equal(machine.property(NVME, "LockWhy"), "do not touch", "LockWhy")
    for name, text in (("remove", "1"), ("reset", "1"), ("reset_method", "bus"), ("power", "0"),
                       ("sriov_numvfs", "0"), ("sriov_drivers_autoprobe", "0")):
        check_refused(NVME, name, text)
    check_all_others_writable(NVME, ALL)
    true(NVME.exists() and NVME.driver() == "vfio-pci" and len(NVME.vfs()) == 2, "nothing has happened to it")
    equal(pci.read(NVME.path("power")), "1", "the slot's power")
    methods = NVME.read("reset_method")

    machine.client.unlock(NVME.address)
    machine.check_locked(NVME, USERSPACE, SRIOV)
    equal(machine.property(NVME, "LockWhy"), "", "LockWhy")
    NVME.write("reset_method", methods)


@scenario("lspci, setpci and udevadm are undisturbed by a PF that is locked in full")
def tools_undisturbed(machine):
    pci.set_enable_sriov(True)
    IGB.bind("vfio-pci")
    commands = [("lspci", "-vvv", "-xxx", "-s", IGB.address), ("lspci", "-t"), ("lspci", "-k", "-nn"),
                ("udevadm", "info", "-q", "all", IGB.directory),
                ("setpci", "-s", IGB.address, "COMMAND", "STATUS", "0x40.l")]
    machine.wait_property(IGB, "Locked", True)
    machine.run("udevadm", "settle")
    machine.client.unlock(IGB.address)
    before = [machine.run(*command).stdout for command in commands]
    machine.client.lock(IGB.address)
    machine.check_locked(IGB, USERSPACE + ADMINISTRATOR, ALL)
    for command, text in zip(commands, before):
        equal(machine.run(*command).stdout, text, f"the output of {' '.join(command)}")
    # Walks all attributes and prints those it can read: a lock may not hide any.
    walked = machine.run("udevadm", "info", "-a", IGB.directory).stdout
    for name in ("sriov_numvfs", "sriov_drivers_autoprobe", "reset_method"):
        contains(walked, f'ATTR{{{name}}}=="{IGB.read(name).strip()}"', "the attributes that udev sees")
    command = machine.run("setpci", "-s", IGB.address, "COMMAND").stdout.strip()
    machine.run("setpci", "-s", IGB.address, f"COMMAND={command}")
    mark = machine.uevents.mark()
    machine.run("udevadm", "trigger", "--settle", "--action=change", IGB.directory)
    machine.wait(lambda: machine.uevents.of(IGB.address, mark) == ["change"], "udev's own event")


@scenario("a PF leaves vfio-pci: every file is writable as before, with the mode it had")
def modes_come_back(machine):
    before = {function: function.all_modes() for function in (IGB, NVME)}
    IGB.bind("vfio-pci")
    NVME.bind("vfio-pci")
    for function in (IGB, NVME):
        machine.check_locked(function, USERSPACE, SRIOV)
        machine.client.lock(function.address)
        machine.check_locked(function, USERSPACE + ADMINISTRATOR, ALL)
        machine.client.unlock(function.address)
        machine.check_locked(function, USERSPACE, SRIOV)
    IGB.bind(None)
    NVME.bind(None)
    for function in (IGB, NVME):
        machine.check_locked(function, [], [])
        machine.wait_property(function, "Driver", pci.NATIVE_DRIVERS[function])
        equal(machine.property(function, "UserspaceDriver"), True,
              "whether it is told until it is re-plugged that a userspace driver had it")
        equal(machine.property(function, "Tainted"), False, "whether it is tainted")
        pci.check_same_modes(before[function], function.all_modes())
    IGB.set_num_vfs(1)
    machine.wait_property(IGB, "NumVFs", 1)


@scenario("each file gets back the mode that it had, not the one that most have")
def own_modes_come_back(machine):
    own = {"sriov_numvfs": 0o664, "sriov_drivers_autoprobe": 0o600, "power": 0o640, "remove": 0o200}
    for name, bits in own.items():
        IGB.chmod(name, bits)
    IGB.bind("vfio-pci")
    machine.client.lock(IGB.address)
    machine.wait_property(IGB, "ClosedFiles", list(ALL))
    IGB.check_closed(*ALL, own=own)
    IGB.bind(None)
    machine.client.unlock(IGB.address)
    machine.wait_property(IGB, "ClosedFiles", [])
    IGB.check_closed(own=own)


@scenario("Lock on a PF that igb drives: root can neither take its VFs nor make more; on a VF, nor take it with its PF")
def native_driver(machine):
    IGB.set_num_vfs(2)
    machine.wait_property(IGB, "NumVFs", 2)
    vf = Function(IGB.vfs()[1])
    machine.client.lock(IGB.address)
    machine.check_locked(IGB, ADMINISTRATOR, ALL)
    equal(machine.property(IGB, "Tainted"), False, "whether it is tainted")
    check_refused(IGB, "sriov_numvfs", "0")
    check_refused(IGB, "remove", "1")
    equal(len(IGB.vfs()), 2, "the VFs")
    machine.client.unlock(IGB.address)
    machine.check_locked(IGB, [], [])

    vf_files = tuple(name for name in ALL if name in vf.lockable())
    contains(vf_files, "power", "a VF sits in its PF's slot")
    true("remove" not in vf_files, "a VF has no `remove`")
    machine.client.lock(vf.address)
    machine.check_locked(vf, ADMINISTRATOR, vf_files)
    # What takes the VF away with its PF; the probing of drivers does not.
    machine.check_locked(IGB, ["vf-locked"], tuple(name for name in ALL if name != "sriov_drivers_autoprobe"))
    check_refused(IGB, "sriov_numvfs", "0")
    check_refused(IGB, "remove", "1")
    # A file is unlocked when no function needs the lock.
    machine.client.lock(IGB.address)
    machine.check_locked(IGB, [*ADMINISTRATOR, "vf-locked"], ALL)
    machine.client.unlock(vf.address)
    machine.check_locked(IGB, ADMINISTRATOR, ALL)
    machine.client.unlock(IGB.address)
    machine.check_locked(IGB, [], [])
    vf.check_closed()
    IGB.set_num_vfs(0)
    machine.wait_property(IGB, "NumVFs", 0)


@scenario("Lock on a function without SR-IOV: what would take it away refuses, nothing else")
def plain_function(machine):
    files = tuple(name for name in (*ALL, "rom") if name in PLAIN.lockable())
    equal(set(files) & set(SRIOV), set(), "SR-IOV files of a function without SR-IOV")
    machine.client.lock(PLAIN.address)
    machine.check_locked(PLAIN, ADMINISTRATOR, files)
    check_refused(PLAIN, "remove", "1")
    check_all_others_writable(PLAIN, files)
    PLAIN.bind("vfio-pci")
    machine.wait_property(PLAIN, "Driver", "vfio-pci")
    machine.check_locked(PLAIN, ADMINISTRATOR, files)
    PLAIN.bind(None)
    machine.client.unlock(PLAIN.address)
    machine.check_locked(PLAIN, [], [])


@scenario("the lock holds in a sysfs of another mount and of another network namespace")
def everywhere(machine):
    IGB.bind("vfio-pci")
    machine.check_locked(IGB, USERSPACE, SRIOV)
    path = IGB.path("sriov_numvfs")
    script = f"if echo 1 2>/dev/null >{path}; then echo written; else echo refused; fi; cat {path}"
    equal(machine.in_other_network_namespace(script).stdout, "refused\n0\n", "another network namespace")
    other = machine.run("unshare", "--mount", "sh", "-ec",
                        f"mount -t sysfs other /mnt; cd /mnt{os.path.dirname(path).removeprefix('/sys')};"
                        "if echo 1 2>/dev/null >sriov_numvfs; then echo written; else echo refused; fi")
    equal(other.stdout, "refused\n", "another mount of sysfs")
    equal(IGB.vfs(), [], "the VFs")
