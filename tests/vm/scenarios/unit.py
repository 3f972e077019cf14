"""The daemon as a unit of systemd."""

import os
import pathlib
import re
import signal
import socket

import pace
import vfwarden_bus as vb

from guest import pci, service
from guest.check import contains, equal, true
from guest.io_client import IoClient
from guest.pci import IGB, KERNEL_MODES, NVME, SRIOV
from guest.registry import scenario
from guest.vfio import igb_vfs, root_reads, wait_free
from scenarios.io import LENGTH, allow

ALL = tuple(KERNEL_MODES)
EXPOSURE_MAX = 1.9
# Of that, 1.0 are for making vfwarden-io a user without privilege, and opening devices.
SPAWN_EXPOSURE_MAX = 1.6


@scenario("systemd-analyze security is content, while lock, uevents, inotify and polkit all work")
def hardened(machine):
    for unit, maximum in ((service.UNIT, EXPOSURE_MAX), (service.SPAWN_UNIT, SPAWN_EXPOSURE_MAX),
                          (service.GUARD_UNIT, EXPOSURE_MAX)):
        output = machine.run("systemd-analyze", "security", "--no-pager", unit).stdout
        exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", output)[1])
        print(f"{unit}: exposure {exposure}")
        true(exposure <= maximum, f"exposure of {unit} is at most {maximum}, is {exposure}")
    status = {}
    with open(f"/proc/{machine.daemon.pid()}/status", encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(":")
            status[name] = value.strip()
    equal(int(status["NoNewPrivs"]), 1, "NoNewPrivs of the process")
    equal(int(status["Seccomp"]), 2, "the seccomp mode of the process")
    equal(int(status["CapBnd"], 16), 1 << 2 | 1 << 3 | 1 << 5 | 1 << 19 | 1 << 21,
          "the process's bounding set: CAP_DAC_READ_SEARCH, FOWNER, KILL, SYS_PTRACE, SYS_ADMIN")

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


def spawn_pid(machine):
    return int(machine.daemon.property("MainPID", service.SPAWN_UNIT))


@scenario("vfwarden-spawn starts with the first order, takes none of others, and sessions outlive it", deadline=120)
def spawn(machine):
    vf, = igb_vfs(machine)
    allow(machine)
    equal(spawn_pid(machine), 0, "the service, before anybody needs it")
    client = IoClient(machine)
    expected = root_reads(machine, vf)
    client.open(vf)
    pid = spawn_pid(machine)
    true(pid > 0, "the service runs")
    group = machine.daemon.property("ControlGroup", service.SPAWN_UNIT)
    members = {pci.read(f"/proc/{member}/comm") for member in
               pathlib.Path(f"/sys/fs/cgroup{group}/cgroup.procs").read_text().split()}
    equal(members, {"vfwarden-spawn", "vfwarden-io"}, "the processes of its control group")
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        bounding, = (int(line.split()[1], 16) for line in file if line.startswith("CapBnd:"))
    equal(bounding, 1 << 6 | 1 << 7, "the service's bounding set: CAP_SETGID, SETUID")

    # Root's own processes outside of the unit are strangers, others cannot even connect.
    path = "/run/vfwarden-spawn.socket"
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stranger.settimeout(pace.DEADLINE)
    stranger.connect(path)
    equal(stranger.recv(64), b"", "what a stranger hears")
    stranger.close()
    equal((os.stat(path).st_uid, os.stat(path).st_mode & 0o777), (0, 0o600), "the owner and mode of the socket")

    machine.daemon.kill(signal.SIGKILL, pid)
    equal(client.read(0, 0, LENGTH), expected, "a load, without the service")
    client.end_session()
    wait_free(machine, vf)
    client.open(vf)                                                   # started anew
    equal(client.read(0, 0, LENGTH), expected, "a load, with another service")
    true(spawn_pid(machine) not in (0, pid), "another process of the service's")

    machine.stop_daemon()
    equal(machine.daemon.property("ActiveState", service.SPAWN_UNIT), "inactive", "the service, without the daemon")
    equal(client.read(0, 0, LENGTH), expected, "a load, without either")
    machine.start_daemon()
    client.end_session()
    wait_free(machine, vf)


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
    machine.wait(lambda: machine.daemon.property("StatusText") == f"Watching {count} PCI functions, 1 locked",
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
        machine.wait(lambda: machine.daemon.property("WatchdogTimestampMonotonic") != before, "a ping")
        before = machine.daemon.property("WatchdogTimestampMonotonic")
    equal(machine.daemon.property("NRestarts"), "0", "the number of restarts")
