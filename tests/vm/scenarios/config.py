"""What vfwarden.conf says, at start and on `systemctl reload`."""

import vfwarden_bus as vb

from guest import pci, service
from guest.check import contains, equal, true
from guest.pci import IGB, KERNEL_MODES, NVME, SRIOV
from guest.registry import scenario

ALL = tuple(KERNEL_MODES)
USERSPACE = ["userspace-driver"]


def enforcement(machine):
    return machine.client.manager_property("Enforcement")


@scenario("reload takes a new list of drivers: what it adds is locked, what it drops is opened")
def reload(machine):
    NVME.bind("vfio-pci")
    machine.check_locked(NVME, USERSPACE, SRIOV)
    machine.daemon.configure("[Lock]\nUserspaceDrivers=ig? e1000*\n")
    pid = machine.daemon.pid()
    service.systemctl("reload", service.UNIT)
    machine.check_locked(IGB, USERSPACE, SRIOV)
    machine.check_locked(NVME, [], [])
    equal(machine.daemon.pid(), pid, "the daemon's process")
    equal(machine.daemon.property("ActiveState"), "active", "the unit's state")
    machine.daemon.configure("")
    service.systemctl("reload", service.UNIT)
    machine.check_locked(IGB, [], [])
    machine.check_locked(NVME, USERSPACE, SRIOV)
    # A reload by signal, as some do it, is the same.
    machine.daemon.configure("[Lock]\nUserspaceDrivers=igb\n")
    machine.daemon.kill(service.signal.SIGHUP)
    machine.check_locked(IGB, USERSPACE, SRIOV)


@scenario("reload with a line that is wrong: fails with file and line, and the old configuration stays")
def bad_reload(machine):
    machine.expect_errors()
    NVME.bind("vfio-pci")
    machine.check_locked(NVME, USERSPACE, SRIOV)
    path = machine.daemon.configure("[Lock]\nUserspaceDrivers=igb\nEnforcement=perhaps\n")
    result = service.systemctl("reload", service.UNIT, check=False)
    true(result.returncode != 0, "systemctl reload fails")
    # Where systemctl sends the user for details.
    texts = [entry["MESSAGE"] for entry in machine.journal.entries(_SYSTEMD_UNIT=service.UNIT)]
    true(any(f"{path}:3: " in text and "perhaps" in text for text in texts),
         f"the unit's journal has file, line and reason: {texts}")
    equal(len(machine.journal.messages(service.CONFIG_REFUSED)), 1, "journal entries with the id of a refusal")
    error = machine.run("vfwarden", "reload", check=False)
    true(error.returncode != 0, "vfwarden reload fails")
    contains(error.stdout, f"{path}:3: ", "what vfwarden reload says")
    machine.check_locked(NVME, USERSPACE, SRIOV)
    machine.check_locked(IGB, [], [])
    equal(enforcement(machine), "enforce", "Enforcement")
    equal(machine.daemon.property("ActiveState"), "active", "the unit's state")


@scenario("a wrong line at start means the defaults, and says so; the next reload takes the file")
def bad_start(machine):
    machine.expect_errors()
    NVME.bind("vfio-pci")
    machine.stop_daemon()
    path = machine.daemon.configure("[Lock]\n\n# comment\nUserspaceDriver=igb\n")
    result = machine.run("vfwarden", "check-config", check=False)
    equal(result.returncode, 1, "the status of vfwarden check-config")
    contains(result.stdout, f"{path}:4: ", "what vfwarden check-config says")
    machine.start_daemon()
    machine.check_locked(NVME, USERSPACE, SRIOV)
    texts = machine.journal.messages(service.CONFIG_REFUSED)
    equal(len(texts), 1, "journal entries with the id of a refusal")
    contains(texts[0], f"{path}:4: ", "the entry")
    contains(texts[0], "UserspaceDriver", "the entry")
    contains(machine.run("vfwarden", "status").stdout, f"{path}:4: ", "what vfwarden status says")
    machine.daemon.configure("[Lock]\nUserspaceDrivers=igb\n")
    machine.run("vfwarden", "check-config")
    service.systemctl("reload", service.UNIT)
    machine.check_locked(NVME, [], [])
    machine.check_locked(IGB, USERSPACE, SRIOV)
    true(f"{path}:4: " not in machine.run("vfwarden", "status").stdout, "the problem is gone")


@scenario("Enforcement=advise closes nothing and reports all the same")
def advise(machine):
    NVME.bind("vfio-pci")
    machine.check_locked(NVME, USERSPACE, SRIOV)
    machine.daemon.configure("[Lock]\nEnforcement=advise\n")
    service.systemctl("reload", service.UNIT)
    machine.check_locked(NVME, USERSPACE, [])
    equal(enforcement(machine), "advise", "Enforcement")
    pci.set_enable_sriov(True)
    machine.client.lock(IGB.address)
    machine.check_locked(IGB, ["administrator"], [])
    IGB.bind("vfio-pci")
    machine.wait_property(IGB, "LockReasons", ["userspace-driver", "administrator"])
    machine.check_locked(IGB, ["userspace-driver", "administrator"], [])
    equal(machine.property(IGB, "UserspaceDriver"), True, "whether a userspace driver has it")
    equal(machine.property(IGB, "Tainted"), False, "whether it is tainted")
    IGB.set_num_vfs(2)
    machine.wait_property(IGB, "NumVFs", 2)
    violations = machine.violations()
    true(violations and violations[-1][:2] == (IGB.address, "set-num-vfs") and
         violations[-1][2]["num-vfs"] == 2, f"the change of VFs is told: {violations}")
    true(machine.journal.messages(service.VIOLATION), "the journal tells of the change")
    contains(machine.journal.messages(service.PF_WITH_VFS)[-1], " 2 ", "the warning about VFs under vfio-pci")
    IGB.set_num_vfs(0)
    machine.wait_property(IGB, "NumVFs", 0)

    machine.daemon.configure("")
    service.systemctl("reload", service.UNIT)
    machine.check_locked(NVME, USERSPACE, SRIOV)
    machine.check_locked(IGB, ["userspace-driver", "administrator"], ALL)
    equal(enforcement(machine), "enforce", "Enforcement")


@scenario("vfwarden release-all opens everything, and nothing is closed again until a reload")
def release_all(machine):
    before = {function: function.all_modes() for function in (IGB, NVME)}
    IGB.bind("vfio-pci")
    NVME.bind("vfio-pci")
    for function in (IGB, NVME):
        machine.client.lock(function.address)
        machine.check_locked(function, ["userspace-driver", "administrator"], ALL)
    opened = machine.run("vfwarden", "release-all").stdout
    for function in (IGB, NVME):
        for name in ALL:
            contains(opened, function.path(name), "what release-all says")
        machine.check_locked(function, USERSPACE, [])
        pci.check_same_modes(before[function], function.all_modes())
    equal(enforcement(machine), "advise", "Enforcement")
    equal(machine.daemon.state()["files"], [], "files on record")
    IGB.bind(None)
    IGB.bind("vfio-pci")
    machine.wait_property(IGB, "Driver", "vfio-pci")
    machine.check_locked(IGB, USERSPACE, [])
    machine.run("vfwarden", "reload")
    machine.check_locked(IGB, USERSPACE, SRIOV)
    equal(enforcement(machine), "enforce", "Enforcement")
    equal(machine.violations(), [], "violations")


@scenario("vfwarden release-all opens what a daemon left closed that was stopped, when it was started")
def release_all_without_daemon(machine):
    IGB.bind("vfio-pci")
    machine.client.lock(IGB.address)
    machine.check_locked(IGB, ["userspace-driver", "administrator"], ALL)
    machine.stop_daemon()
    IGB.check_closed(*ALL)
    result = machine.run("vfwarden", "release-all", check=False)
    equal(result.returncode, 5, "the status of release-all without a daemon")
    contains(result.stdout, '"systemctl start vfwardend" starts it', "what it says")
    machine.start_daemon()
    machine.run("vfwarden", "release-all")
    IGB.check_closed()
    machine.connect()
    equal(machine.client.get(vb.ROOT, vb.MANAGER, "Enforcement"), "advise", "Enforcement")
    machine.check_locked(IGB, USERSPACE, [])
