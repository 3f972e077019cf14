"""The host as the daemon sees it through /proc: what is mounted, swap, and namespaces."""

import os

SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


class Host:
    """A folder in the place of /proc, with process 1. Its network namespace is the one that the test runs in."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "proc")
        self._mounts = []
        self.add_process(1)
        os.makedirs(os.path.join(self.path, "1/root/proc"))
        os.symlink("/proc/self/ns/net", os.path.join(self.path, "1/ns/net"))
        self.set_swaps()

    def add_process(self, pid, namespace=None):
        """One in a mount namespace of its own, in which nothing is mounted."""
        directory = os.path.join(self.path, str(pid))
        os.makedirs(os.path.join(directory, "ns"))
        os.symlink(f"mnt:[{namespace or pid}]", os.path.join(directory, "ns/mnt"))
        self.set_mounts(pid=pid)

    def set_mounts(self, *mounts, pid=1):
        """Of (major:minor, file system, source, mount point)."""
        with open(os.path.join(self.path, str(pid), "mountinfo"), "w", encoding="utf-8") as file:
            for number, (device, kind, source, point) in enumerate(mounts, 30):
                file.write(f"{number} 1 {device} / {point} rw,relatime shared:1 - {kind} {source} rw\n")

    def set_swaps(self, *devices):
        with open(os.path.join(self.path, "1/root/proc/swaps"), "w", encoding="utf-8") as file:
            file.write(SWAPS + "".join(f"{device}\tpartition\t1000\t0\t-2\n" for device in devices))
