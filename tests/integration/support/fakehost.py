"""Fakes the host as the daemon sees it through /proc: what is mounted, swap, and namespaces."""

import os
import shutil

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

    def add_process(self, pid, namespace=None, uid=0):
        """One in a mount namespace of its own, in which nothing is mounted."""
        directory = os.path.join(self.path, str(pid))
        os.makedirs(os.path.join(directory, "ns"))
        self._set_status(pid, "init", uid)
        os.symlink(f"mnt:[{namespace or pid}]", os.path.join(directory, "ns/mnt"))
        self.set_mounts(pid=pid)

    def _set_status(self, pid, name, uid):
        with open(os.path.join(self.path, str(pid), "status"), "w", encoding="utf-8") as file:
            file.write(f"Name:\t{name}\nUmask:\t0022\nTgid:\t{pid}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")

    def add_program(self, pid, name, uid=0, **descriptors):
        """A process with descriptors: d3=(what the link leads to, the flags in octal)."""
        directory = os.path.join(self.path, str(pid))
        for folder in ("fd", "fdinfo"):
            os.makedirs(os.path.join(directory, folder))
        self._set_status(pid, name, uid)
        for number, (target, flags) in descriptors.items():
            os.symlink(target, os.path.join(directory, "fd", number[1:]))
            with open(os.path.join(directory, "fdinfo", number[1:]), "w", encoding="utf-8") as file:
                file.write(f"pos:\t0\nflags:\t{flags}\nmnt_id:\t24\n")

    def set_maps(self, pid, *files):
        """What a program of add_program() has mapped, by paths."""
        lines = ["555555554000-555555556000 r--p 00000000 00:00 0 \n"]
        for number, path in enumerate(files):
            st = os.stat(path)
            start = 0x7f0000000000 + number * 0x1000
            lines.append(f"{start:x}-{start + 0x1000:x} rw-s 00000000 {os.major(st.st_dev):02x}:{os.minor(st.st_dev):02x} "
                         f"{st.st_ino}{' ' * 20}{path}\n")
        with open(os.path.join(self.path, str(pid), "maps"), "w", encoding="utf-8") as file:
            file.write("".join(lines))

    def end_program(self, pid):
        shutil.rmtree(os.path.join(self.path, str(pid)))

    def set_mounts(self, *mounts, pid=1):
        """Of (major:minor, file system, source, mount point), and perhaps options."""
        with open(os.path.join(self.path, str(pid), "mountinfo"), "w", encoding="utf-8") as file:
            for number, (device, kind, source, point, *options) in enumerate(mounts, 30):
                file.write(f"{number} 1 {device} / {point} rw,relatime shared:1 - {kind} {source} {','.join(options) or 'rw'}\n")

    def set_packet_sockets(self, *sockets):
        """Of (the interface's number, uid, inode)."""
        os.makedirs(os.path.join(self.path, "1/net"), exist_ok=True)
        with open(os.path.join(self.path, "1/net/packet"), "w", encoding="utf-8") as file:
            file.write("sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n")
            for interface, uid, inode in sockets:
                file.write(f"0000000000000000 3      3    0003   {interface:<5} 1 0      {uid:<6} {inode:<6}\n")

    def set_swaps(self, *devices):
        with open(os.path.join(self.path, "1/root/proc/swaps"), "w", encoding="utf-8") as file:
            file.write(SWAPS + "".join(f"{device}\tpartition\t1000\t0\t-2\n" for device in devices))
