"""The base system of a machine whose architecture is not the host's: none of its code can run here.

Its packages are unpacked only, and what their scripts would do is done by hand, as far as the machine needs it,
with the host's own programs. It has the development packages as well: the tree it is made from is what the project
is cross-compiled with.
"""

import os
import shutil
import sys

from host import debian
from host.common import run

# By an expression of apt's: what each package counts on.
ESSENTIAL = "?essential"
DEVELOPMENT = ["libc6-dev", "libglib2.0-dev", "libsystemd-dev", "libudev-dev", "libpci-dev", "libjson-glib-dev",
               "libseccomp-dev", "libxml2-dev"]

# What stands in a package's files as an example, for its script to copy.
COPIES = {
    "usr/share/base-passwd/passwd.master": "etc/passwd",
    "usr/share/base-passwd/group.master": "etc/group",
    "usr/share/libc-bin/nsswitch.conf": "etc/nsswitch.conf",
    "usr/share/base-files/profile": "etc/profile",
}
LINKS = {"etc/alternatives/awk": "/usr/bin/mawk", "usr/bin/awk": "/etc/alternatives/awk",
         "etc/mtab": "../proc/self/mounts", "var/run": "/run", "var/lock": "/run/lock"}
PAM = {"auth": "pam_permit.so", "account": "pam_permit.so", "password": "pam_deny.so",
       "session": "pam_permit.so", "session-noninteractive": "pam_permit.so"}


def unpack(target, root, packages):
    # /usr is merged before anything is there: programs name their paths in both ways.
    merge = 'for d in bin sbin lib; do mkdir -p "$1/usr/$d"; ln -s usr/$d "$1/$d"; done'
    debian.bootstrap(root, [debian.SUITE], packages + DEVELOPMENT, "extract",
                     [f"--include={ESSENTIAL}", f"--architectures={target.debian}", f"--setup-hook={merge}"])


def write(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def set_up(root):
    """After the machine's own files are in place, before they are enabled."""
    for source, copy in COPIES.items():
        if (root / source).exists():
            write(root, copy, (root / source).read_text())
    for path, points_to in LINKS.items():
        link = root / path
        if link.is_dir() and not link.is_symlink():
            link.rmdir()
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(points_to)
    names = [line.split(":")[0] for line in (root / "etc/passwd").read_text().splitlines()]
    write(root, "etc/shadow", "".join(f"{name}:*:::::::\n" for name in names))
    for kind, module in PAM.items():
        write(root, f"etc/pam.d/common-{kind}", f"{kind.partition('-')[0]} required {module}\n")
    # The compiler follows links as they are; one that starts at / would lead it to the host.
    for link in root.glob("usr/lib/*/*.so"):
        if link.is_symlink() and os.readlink(link).startswith("/"):
            points_to = os.path.relpath(root / os.readlink(link)[1:], link.parent.resolve())
            link.unlink()
            link.symlink_to(points_to)


def add_users(root):
    """Those of sysusers.d, and what belongs to them."""
    run(["systemd-sysusers", f"--root={root}"])
    groups = {line.split(":")[0]: int(line.split(":")[2])
              for line in (root / "etc/group").read_text().splitlines()}
    # As dbus' and polkit's scripts have them: only the daemon's user may look.
    helper = root / "usr/lib/dbus-1.0/dbus-daemon-launch-helper"
    shutil.chown(helper, 0, groups["messagebus"])
    helper.chmod(0o4754)
    for path in ("etc/polkit-1/rules.d", "usr/share/polkit-1/rules.d", "var/lib/polkit-1"):
        (root / path).mkdir(parents=True, exist_ok=True)
        shutil.chown(root / path, 0, groups["polkitd"])
        (root / path).chmod(0o750)


def compile_python(root):
    """Where it is fast; the result is the same for all architectures, but not for all versions, and
    the guest's Python passes over what another version compiled."""
    run([sys.executable, "-m", "compileall", "-q", "-j2", "-s", root, "-p", "/", "--invalidation-mode",
         "unchecked-hash", "-x", "/(lib2to3|test|idlelib|ensurepip)/", *root.glob("usr/lib/python3*")])
