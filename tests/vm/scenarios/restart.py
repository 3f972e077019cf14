"""The lock is in the kernel: it stands while the daemon is away, and is the daemon's own again after."""

import signal

from guest import pci, service
from guest.check import contains, equal
from guest.pci import IGB, KERNEL_MODES, NVME, SRIOV
from guest.registry import scenario

ALL = tuple(KERNEL_MODES)
OWN = {"sriov_numvfs": 0o664, "remove": 0o200}


def crash(machine):
    """kill -9, with nobody to start the daemon again."""
    machine.daemon.drop_in("Restart=no\n")
    machine.daemon.kill(signal.SIGKILL)
    machine.expected_pid = 0


def lock_two(machine):
    """igb on vfio-pci and locked by an administrator, with unusual modes; nvme on vfio-pci."""
    for name, bits in OWN.items():
        IGB.chmod(name, bits)
    IGB.bind("vfio-pci")
    NVME.bind("vfio-pci")
    machine.client.lock(IGB.address, "until the audit is over")
    machine.wait_property(IGB, "ClosedFiles", list(ALL))
    machine.wait_property(NVME, "ClosedFiles", list(SRIOV))


@scenario("kill -9 while locked: the lock stands without a daemon, and is its own again")
def killed(machine):
    lock_two(machine)
    crash(machine)
    IGB.check_closed(*ALL, own=OWN)
    NVME.check_closed(*SRIOV)
    equal(machine.client.bus.name_owner(), None, "the owner of the bus name")

    machine.start_daemon()
    equal(machine.property(IGB, "LockReasons"), ["userspace-driver", "administrator"], "the lock reasons")
    equal(machine.property(IGB, "ClosedFiles"), list(ALL), "the locked files")
    equal(machine.property(IGB, "LockWhy"), "until the audit is over", "LockWhy")
    equal(machine.property(IGB, "UserspaceDriver"), True, "whether a userspace driver has it")
    equal(machine.property(IGB, "Tainted"), False, "whether it is tainted")
    equal(machine.property(NVME, "ClosedFiles"), list(SRIOV), "the locked files of the other")
    equal(machine.journal.messages(service.VIOLATION), [], "violations in the journal")
    IGB.check_closed(*ALL, own=OWN)

    # Its own: the files open with the modes from before the first lock.
    machine.client.unlock(IGB.address)
    machine.wait_property(IGB, "ClosedFiles", list(SRIOV))
    IGB.check_closed(*SRIOV, own=OWN)
    IGB.bind(None)
    NVME.bind(None)
    machine.wait_property(IGB, "ClosedFiles", [])
    machine.wait_property(NVME, "ClosedFiles", [])
    IGB.check_closed(own=OWN)
    NVME.check_closed()


@scenario("the reason goes while no daemon runs: its files are opened at the next start")
def reason_gone_meanwhile(machine):
    lock_two(machine)
    crash(machine)
    IGB.bind(None)
    NVME.unbind()
    IGB.check_closed(*ALL, own=OWN)
    NVME.check_closed(*SRIOV)
    machine.start_daemon()
    # The administrator's reason is still there for one of them.
    equal(machine.property(IGB, "LockReasons"), ["administrator"], "the lock reasons")
    IGB.check_closed(*ALL, own=OWN)
    machine.check_locked(NVME, [], [])
    equal(machine.journal.messages(service.VIOLATION), [], "violations in the journal")
    machine.client.unlock(IGB.address)
    machine.wait_property(IGB, "ClosedFiles", [])
    IGB.check_closed(own=OWN)


@scenario("systemd starts a killed daemon again; its clients find the same locks")
def started_again(machine):
    lock_two(machine)
    pid = machine.daemon.pid()
    machine.daemon.kill(signal.SIGKILL)
    machine.wait_daemon(True)
    machine.connect()
    equal(machine.expected_pid != pid, True, "whether it is another process")
    equal(machine.property(IGB, "ClosedFiles"), list(ALL), "the locked files")
    IGB.check_closed(*ALL, own=OWN)
    NVME.check_closed(*SRIOV)


@scenario("an orderly stop leaves the lock standing, and a start takes it over")
def stopped(machine):
    lock_two(machine)
    machine.stop_daemon()
    IGB.check_closed(*ALL, own=OWN)
    machine.start_daemon()
    equal(machine.property(IGB, "ClosedFiles"), list(ALL), "the locked files")
    machine.client.unlock(IGB.address)
    IGB.bind(None)
    machine.wait_property(IGB, "ClosedFiles", [])
    IGB.check_closed(own=OWN)


@scenario("a bit restored while no daemon runs is closed at its start, and told in the journal")
def tampered_meanwhile(machine):
    lock_two(machine)
    crash(machine)
    NVME.chmod("sriov_numvfs", 0o644)
    machine.start_daemon()
    machine.check_locked(NVME, ["userspace-driver"], SRIOV)
    texts = machine.journal.messages(service.VIOLATION)
    equal(len(texts), 1, "the number of violations in the journal")
    contains(texts[0], NVME.path("sriov_numvfs"), "the violation")


@scenario("the record of the locks is lost: they are found by looking, and opened when their reason goes")
def record_lost(machine):
    IGB.bind("vfio-pci")
    machine.check_locked(IGB, ["userspace-driver"], SRIOV)
    NVME.bind("vfio-pci")
    machine.check_locked(NVME, ["userspace-driver"], SRIOV)
    crash(machine)
    (service.STATE / "state.json").write_text("{ not what")
    NVME.bind(None)
    machine.start_daemon()
    machine.check_locked(IGB, ["userspace-driver"], SRIOV)
    machine.check_locked(NVME, [], [])
    IGB.bind(None)
    machine.check_locked(IGB, [], [])
    equal(pci.mode(IGB.path("sriov_numvfs")), KERNEL_MODES["sriov_numvfs"], "the mode, which is the kernel's")
