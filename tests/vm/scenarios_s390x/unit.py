"""The units of systemd, where they differ from other architectures: vfwarden-io stores blocks by system calls."""

import errno
import os
import re

from guest import pci, service
from guest.check import contains, equal, true
from guest.registry import scenario

EXPOSURE_MAX = 1.9
# Of that, 0.2 are for the MMIO system calls, by which blocks are stored.
SPAWN_EXPOSURE_MAX = 1.8


def open_as(unit, path):
    """The errno of opening `path` for reading in the unit's control group, where DevicePolicy= is in force."""
    group = f"/sys/fs/cgroup{service.Service().property('ControlGroup', unit)}/cgroup.procs"
    child = os.fork()
    if child == 0:
        number = 255
        try:
            pci.write(group, str(os.getpid()))
            os.close(os.open(path, os.O_RDONLY))
            number = 0
        except OSError as error:
            number = error.errno
        finally:
            os._exit(number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@scenario("systemd-analyze security is content; of @raw-io vfwarden-io may make the MMIO system calls alone; no devices but "
          "VFIO's can be opened, and /dev cannot be written or executed")
def hardened(machine):
    for unit, maximum in ((service.UNIT, EXPOSURE_MAX), (service.SPAWN_UNIT, SPAWN_EXPOSURE_MAX)):
        output = machine.run("systemd-analyze", "security", "--no-pager", unit).stdout
        exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", output)[1])
        print(f"{unit}: exposure {exposure}")
        true(exposure <= maximum, f"exposure of {unit} is at most {maximum}, is {exposure}")

    raw_io = [line.strip() for line in machine.run("systemd-analyze", "syscall-filter", "@raw-io").stdout.splitlines()]
    for unit, expected in ((service.UNIT, []), (service.SPAWN_UNIT, ["s390_pci_mmio_read", "s390_pci_mmio_write"])):
        allowed = machine.daemon.property("SystemCallFilter", unit).split()
        equal([name for name in raw_io if name in allowed], expected, f"of @raw-io, what {unit} may do")

    service.systemctl("start", service.SPAWN_UNIT)
    pid = machine.daemon.property("MainPID", service.SPAWN_UNIT)
    mounts = [line.split() for line in pci.read(f"/proc/{pid}/mountinfo").splitlines()]
    options, = [words[5].split(",") for words in mounts if words[4] == "/dev"]
    for option in ("ro", "noexec", "nosuid"):
        contains(options, option, "the options of the service's /dev")

    for unit in (service.UNIT, service.SPAWN_UNIT):
        equal(open_as(unit, "/dev/vda"), errno.EPERM, f"what opening the disk gives {unit}")
        equal(open_as(unit, "/dev/mem"), errno.EPERM, f"what opening memory gives {unit}")
    equal(open_as(service.UNIT, "/dev/vfio/vfio"), errno.EPERM, "what opening VFIO gives the daemon")
    equal(open_as(service.SPAWN_UNIT, "/dev/vfio/vfio"), 0, "what opening VFIO gives the service")
