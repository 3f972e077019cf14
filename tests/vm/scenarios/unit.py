"""The daemon as a unit of systemd."""

import os
import re
import signal

import vfwarden_bus as vb

from guest import pci, service
from guest.check import contains, equal, true
from guest.pci import IGB, KERNEL_MODES, NVME, SRIOV
from guest.registry import scenario

ALL = tuple(KERNEL_MODES)
# Of that, 0.8 are for making vfwarden-io a user without privilege, and opening devices for it.
EXPOSURE_MAX = 2.2


@scenario("systemd-analyze security is content, while lock, uevents, inotify and polkit all work")
def hardened(machine):
    output = machine.run("systemd-analyze", "security", "--no-pager", service.UNIT).stdout
    exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", output)[1])
    print(f"exposure {exposure}")
    true(exposure <= EXPOSURE_MAX, f"exposure is at most {EXPOSURE_MAX}, is {exposure}")
    status = {}
    with open(f"/proc/{machine.daemon.pid()}/status", encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(":")
            status[name] = value.strip()
    equal(int(status["NoNewPrivs"]), 1, "NoNewPrivs of the process")
    equal(int(status["Seccomp"]), 2, "the seccomp mode of the process")
    equal(int(status["CapBnd"], 16), 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 19 | 1 << 21,
          "the process's bounding set: CAP_DAC_READ_SEARCH, FOWNER, KILL, SETGID, SETUID, SYS_PTRACE, SYS_ADMIN")

    limits = pci.read(f"/proc/{machine.daemon.pid()}/limits")
    equal(re.search(r"Max open files +(\d+)", limits)[1], "65536", "how many files it may have open")

    IGB.set_num_vfs(1)                                                # uevents
    machine.wait_property(IGB, "NumVFs", 1)
    NVME.set_override("vfio-pci")                                     # inotify of a write
    machine.wait_property(NVME, "DriverOverride", "vfio-pci")
    visitor = machine.person("visitor")
    error = vb.BusError
    try:
        visitor.lock(IGB.address)
    except vb.BusError as refusal:
        error = refusal
    contains(str(error), "authentication is required", "polkit's answer to the daemon")
    machine.client.lock(IGB.address)                                  # lock
    machine.check_locked(IGB, ["administrator"], ALL)
    for name in ("sriov_numvfs", "power"):                            # inotify of modes
        mark = machine.mark()
        IGB.chmod(name, 0o644)
        machine.client.recorder.wait_for("Violation", mark=mark)
        machine.check_locked(IGB, ["administrator"], ALL)
    denials = [entry["MESSAGE"] for entry in machine.journal.entries(_TRANSPORT="kernel")
               if "SECCOMP" in entry["MESSAGE"] or "avc:" in entry["MESSAGE"]]
    equal(denials, [], "what the kernel says of denials")


@scenario("the daemon has no network, and nevertheless the host's own sysfs, so that it hears of every change of mode in it")
def no_network(machine):
    process = f"/proc/{machine.daemon.pid()}"
    true(os.readlink(f"{process}/ns/net") != os.readlink("/proc/1/ns/net"), "it is in a network namespace of its own")
    # Each instance of sysfs is a device of its own.
    equal(os.stat(f"{process}/root/sys").st_dev, os.stat("/sys").st_dev, "the daemon's sysfs")
    mounts = [line.split() for line in pci.read(f"{process}/mountinfo").splitlines()]
    options = [words[5].split(",") for words in mounts if words[4] == "/sys"]
    true(all("rw" in option for option in options), "the daemon can write to it")


@scenario("started by systemd: ready when it says so, with a status a person can read")
def started(machine):
    equal(machine.daemon.property("Type"), "notify", "the unit's type")
    equal(machine.daemon.property("UnitFileState"), "enabled", "whether it is enabled")
    NVME.bind("vfio-pci")
    machine.wait_property(NVME, "Locked", True)
    count = machine.client.manager_property("FunctionCount")
    machine.poll(lambda: machine.daemon.property("StatusText") == f"Watching {count} PCI functions, 1 locked",
                 lambda: f"the status, which is {machine.daemon.property('StatusText')!r}")
    # Ready means: the very next call is answered, and the lock is there.
    machine.daemon.stop()
    NVME.chmod("sriov_numvfs", 0o644)
    machine.daemon.start()
    for name in SRIOV:
        equal(NVME.mode(name) & 0o222, 0, f"the write bits of {name}")
    machine.connect()       # and waits until it is known who uses what
    NVME.check_closed(*SRIOV)
    equal(machine.property(NVME, "Locked"), True, "whether it is locked")


@scenario("a daemon that hangs is started again by the watchdog; the lock stands all the while")
def watchdog(machine):
    machine.stop_daemon()
    machine.daemon.drop_in("WatchdogSec=3s\nTimeoutAbortSec=1s\nLimitCORE=0\n")
    machine.start_daemon()
    equal(machine.daemon.property("WatchdogUSec"), "3s", "the unit's watchdog")
    NVME.bind("vfio-pci")
    machine.check_locked(NVME, ["userspace-driver"], SRIOV)
    pid = machine.daemon.pid()
    machine.daemon.kill(signal.SIGSTOP)
    machine.wait_daemon(False)
    NVME.check_closed(*SRIOV)
    machine.wait_daemon(True)
    machine.connect()
    true(machine.expected_pid not in (0, pid), "it is another process")
    equal(machine.daemon.property("NRestarts"), "1", "the number of restarts")
    machine.check_locked(NVME, ["userspace-driver"], SRIOV)


@scenario("a daemon that works is left alone by a short watchdog")
def watchdog_fed(machine):
    machine.stop_daemon()
    machine.daemon.drop_in("WatchdogSec=2s\n")
    machine.start_daemon()
    before = machine.daemon.property("WatchdogTimestampMonotonic")
    # Two pings later it must be the same process.
    for _ in range(2):
        machine.poll(lambda: machine.daemon.property("WatchdogTimestampMonotonic") != before, "a ping")
        before = machine.daemon.property("WatchdogTimestampMonotonic")
    equal(machine.daemon.property("NRestarts"), "0", "the number of restarts")
