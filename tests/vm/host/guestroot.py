"""The guest's base system: a Debian root, made once, as an ext4 image that is never written to.

Everything that changes from run to run (kernel, modules, project, scenarios) is laid over it by the
initial RAM disk; see initrd.py.
"""

import functools
import inspect
import sys

from host import debian, foreignroot
from host.common import cached, hash_of, run

PACKAGES = [
    # what a host of virtual machines has, as far as the daemon meets it
    "systemd", "systemd-sysv", "udev", "dbus", "polkitd", "kmod", "pciutils", "pci.ids",
    # what the project is linked with
    "libglib2.0-0", "libjson-glib-1.0-0", "libpci3", "libudev1", "libsystemd0", "libseccomp2", "libxml2",
    # the scenarios
    "python3-gi", "gir1.2-glib-2.0", "procps", "iproute2",
    # a person who plays
    "bash-completion", "less", "nano", "strace",
    # the initial RAM disk
    "busybox-static",
]

# A manager of virtual machines, where its programs can run; systemd-container has machined, by which it names their
# scopes. Who wants libvirt starts it: nothing else is to wait for it.
LIBVIRT = ["libvirt-daemon-system", "libvirt-clients", "qemu-system-x86", "systemd-container"]
DISABLED = """
    libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirt-guests.service
    virtlogd.service virtlogd.socket virtlogd-admin.socket virtlockd.service virtlockd.socket
    virtlockd-admin.socket machines.target
""".split()

# Timers and services that do nothing for a machine that lives for a minute.
MASKED = """
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
    e2scrub_reap.service getty@tty1.service systemd-firstboot.service systemd-update-utmp.service
    systemd-update-utmp-runlevel.service systemd-random-seed.service systemd-pstore.service
    systemd-hwdb-update.service systemd-journal-catalog-update.service ldconfig.service
    systemd-machine-id-commit.service systemd-boot-update.service systemd-remount-fs.service
    systemd-network-generator.service systemd-update-done.service modprobe@drm.service
    modprobe@efi_pstore.service modprobe@fuse.service modprobe@configfs.service
    modprobe@dm_mod.service modprobe@loop.service
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount
    sys-fs-fuse-connections.mount sys-kernel-config.mount
    proc-sys-fs-binfmt_misc.automount systemd-ask-password-console.path
    systemd-ask-password-wall.path systemd-user-sessions.service
""".split()

FILES = {
    "etc/hostname": "vfwarden-vm\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/fstab": "",
    "etc/motd": "",
    "etc/securetty": "",
    # Volatile and without limits: the machine streams its journal out, see the journal service.
    "etc/systemd/journald.conf.d/vm.conf":
        "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\nRuntimeMaxUse=200M\nAudit=no\n",
    "etc/systemd/system.conf.d/vm.conf":
        "[Manager]\nDefaultTimeoutStartSec=60s\nDefaultTimeoutStopSec=20s\nDefaultStartLimitBurst=1000\n",
    "etc/systemd/system/serial-getty@.service.d/vm.conf":
        "[Service]\nExecStart=\nExecStart=-/sbin/agetty -o '-p -f -- \\\\u' --noissue --nohints"
        " --autologin root --keep-baud 115200 %I $TERM\n",
    # Two people who are not root, for what must be refused to them.
    "etc/sysusers.d/vm.conf": "u visitor 1000 \"somebody without privilege\" /tmp /bin/bash\n"
                              "u stranger 1001 \"somebody else without privilege\" /tmp /bin/bash\n",
}

SIZE = {"bookworm": "1800M", "trixie": "2600M"}

# What another release than bookworm calls by another name.
RENAMED = {"libglib2.0-0": "libglib2.0-0t64"}


def packages(suite):
    return [RENAMED.get(name, name) if suite != "bookworm" else name for name in PACKAGES]


def build(target, suite, directory):
    root = directory / "root"
    if target.foreign:
        foreignroot.unpack(target, root, PACKAGES)
        foreignroot.set_up(root)
    else:
        debian.bootstrap(root, [suite], packages(suite) + LIBVIRT, "essential")
    for path, text in FILES.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(text)
    for unit in MASKED:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    if target.foreign:
        foreignroot.add_users(root)
        foreignroot.compile_python(root)
    else:
        run(["systemctl", f"--root={root}", "--quiet", "disable", *DISABLED])
        run(["chroot", root, "systemd-sysusers"])
    # Nothing has changed since the last update: no unit with ConditionNeedsUpdate= need run.
    for path in ("etc", "var"):
        (root / path / ".updated").touch()
    for path in ("var/lib/apt", "var/cache", "var/log", "etc/apt", "usr/share/doc"):
        run(["find", root / path, "-type", "f", "-delete"])
    # No journal: the image is thrown away after each run, so nothing has to survive a crash.
    run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal,^metadata_csum", "-m", "0", "-L", "guest",
         "-E", "root_owner=0:0,lazy_itable_init=1", "-d", root, directory / "base.img", SIZE[suite]])
    (directory / "busybox").write_bytes((root / "bin/busybox").read_bytes())
    if not target.foreign:
        run(["rm", "-rf", "--one-file-system", root])


def base(target, suite):
    """The directory with `base.img`, of that Debian release, and `busybox` from the same packages; of a foreign machine
    `root`, too, to compile with."""
    recipe = suite + inspect.getsource(sys.modules[__name__]) + inspect.getsource(debian.bootstrap)
    if target.foreign:
        recipe += inspect.getsource(foreignroot) + target.debian
    return cached("guest", hash_of(recipe), functools.partial(build, target, suite))
