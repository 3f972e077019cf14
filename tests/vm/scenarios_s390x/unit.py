"""The daemon as a unit of systemd, where it differs from other architectures: without PrivateDevices=."""

import errno
import os
import re

from guest import pci, service
from guest.check import contains, equal, true
from guest.registry import scenario

# Of that, 0.4 are for what PrivateDevices= would forbid: the MMIO system calls, by which blocks are stored.
EXPOSURE_MAX = 2.6


def open_as_the_daemon(path):
    """The errno of opening `path` for reading in the daemon's control group, where DevicePolicy= is in force."""
    group = f"/sys/fs/cgroup{service.Service().property('ControlGroup')}/cgroup.procs"
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


@scenario("systemd-analyze security is content; of @raw-io the MMIO system calls alone may be made; no devices but "
          "VFIO's can be opened, and /dev cannot be written or executed")
def hardened(machine):
    output = machine.run("systemd-analyze", "security", "--no-pager", service.UNIT).stdout
    exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", output)[1])
    print(f"exposure {exposure}")
    true(exposure <= EXPOSURE_MAX, f"exposure is at most {EXPOSURE_MAX}, is {exposure}")

    raw_io = [line.strip() for line in machine.run("systemd-analyze", "syscall-filter", "@raw-io").stdout.splitlines()]
    allowed = machine.daemon.property("SystemCallFilter").split()
    equal([name for name in raw_io if name in allowed], ["s390_pci_mmio_read", "s390_pci_mmio_write"],
          "of @raw-io, what is allowed")

    mounts = [line.split() for line in pci.read(f"/proc/{machine.daemon.pid()}/mountinfo").splitlines()]
    options, = [words[5].split(",") for words in mounts if words[4] == "/dev"]
    for option in ("ro", "noexec", "nosuid"):
        contains(options, option, "the options of the daemon's /dev")

    equal(open_as_the_daemon("/dev/vda"), errno.EPERM, "what opening the disk gives")
    equal(open_as_the_daemon("/dev/mem"), errno.EPERM, "what opening memory gives")
    equal(open_as_the_daemon("/dev/vfio/vfio"), 0, "what opening VFIO gives")
