"""The initial RAM disk: loads the few modules that the root file system needs, mounts the base image
and lays the run's own files over it, then hands over to systemd.

The files travel as one tar archive. It holds no directory that is not empty, so unpacking it cannot
change the mode of a directory of the base system.
"""

import io
import os
import stat
import tarfile

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /dev /proc /sys /root
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
fail() { /bin/busybox echo "initrd: $1" >/dev/console; /bin/busybox poweroff -f; }
for module in $(/bin/busybox cat /modules); do
        /bin/busybox insmod $module || fail "cannot load $module"
done
tries=0
until [ -b /dev/vda ]; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || fail "no disk"
        /bin/busybox sleep 0.05
done
/bin/busybox mount -t ext4 -o noatime,nodiscard /dev/vda /root || fail "cannot mount the base image"
/bin/busybox tar -x -C /root -f /overlay.tar || fail "cannot lay the files over the base image"
/bin/busybox rm /overlay.tar
/bin/busybox mount -o move /dev /root/dev
if [ -x /root/usr/lib/vfwarden-vm/install ]; then
        /bin/busybox mount -o move /proc /root/proc
        /bin/busybox chroot /root /usr/lib/vfwarden-vm/install || fail "cannot install"
        /bin/busybox umount /root/proc
else
        /bin/busybox umount /proc
fi
exec /bin/busybox switch_root /root /sbin/init
"""


class Cpio:
    """An archive in the format that the kernel unpacks (newc)."""

    def __init__(self):
        self.out = io.BytesIO()
        self.inode = 0

    def add(self, name, data=b"", mode=stat.S_IFREG | 0o644):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0]
        self.out.write(b"070701" + b"".join(b"%08X" % field for field in fields))
        for part in (encoded, data):
            self.out.write(part)
            self.out.write(b"\0" * (-self.out.tell() % 4))

    def add_directory(self, name):
        self.add(name, mode=stat.S_IFDIR | 0o755)

    def finish(self):
        self.add("TRAILER!!!", mode=0)
        return self.out.getvalue()


def overlay(trees):
    """One tar archive of all `trees`, each laid over the ones before. Everything belongs to root."""
    entries = {}
    for tree in trees:
        for directory, subdirectories, files in os.walk(tree):
            inside = os.path.relpath(directory, tree)
            links = [name for name in subdirectories if os.path.islink(os.path.join(directory, name))]
            for name in files + links:
                if not name.endswith(".pyc"):
                    entries[os.path.normpath(os.path.join(inside, name))] = os.path.join(directory, name)
            if not files and not subdirectories:
                entries[inside] = directory
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, path in sorted(entries.items()):
            # With merged /usr a file must not pass through the link /lib.
            if name.startswith(("lib/", "bin/", "sbin/")):
                name = "usr/" + name
            info = tar.gettarinfo(path, name)
            info.uid = info.gid = 0
            info.uname = info.gname = "root"
            if info.isreg():
                with open(path, "rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)
    return out.getvalue()


def make(busybox, kernel, unpacked_module, trees):
    """The bytes of the RAM disk. `trees` are directories to be laid over the base image."""
    cpio = Cpio()
    for directory in ("bin", "dev", "proc", "root"):
        cpio.add_directory(directory)
    cpio.add("bin/busybox", busybox, stat.S_IFREG | 0o755)
    cpio.add("init", INIT.encode(), stat.S_IFREG | 0o755)
    names = []
    for number, path in enumerate(kernel.early):
        names.append(f"/early-{number}.ko")
        cpio.add(names[-1][1:], unpacked_module(path))
    cpio.add("modules", "\n".join(names).encode())
    everything = [kernel.modules, *trees]
    cpio.add("overlay.tar", overlay(everything))
    return cpio.finish()
