"""Bare roots of Debian 12 and 13, with the sources in them, and what README.md prints.

Each root is what `mmdebstrap` makes of a handful of packages. In one, root installs, and there is no sudo; in the other a
person who has sudo."""

import inspect
import os
import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(SOURCE / "tests/lib"), str(SOURCE / "tests/vm")]

import examples  # noqa: E402
from host import common, debian  # noqa: E402

# And who installs.
SUITES = {"bookworm": "root", "trixie": "somebody"}
# What a fresh system has at least.
PACKAGES = ["systemd-sysv", "udev", "dbus", "ca-certificates"]
CLONE = "home/vfwarden"
CONFIGURATION = "/etc/vfwarden/vfwarden.conf"
# What other programs keep for themselves; userdel makes the copies of its files.
VOLATILE = re.compile(rf"/({CLONE}|proc|sys|dev|tmp|var/tmp|var/log|var/cache|var/lib/(dpkg|apt|sudo)|run/(sudo|lock|systemd))(/|$)"
                      r"|/etc/(passwd|shadow|group|gshadow|subuid|subgid)-$|/etc/ld\.so\.cache$")
MOUNTS = """
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --bind "$2" "$1/var/cache/apt/archives"
for file in resolv.conf hosts; do [ ! -e /etc/$file ] || cp -L /etc/$file "$1/etc/$file"; done
exec chroot "$1" env -i LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin runuser --login --command="$3" "$4"
"""


class Failed(Exception):
    """What a step finds wrong."""


def equal(actual, expected, what):
    if actual != expected:
        raise Failed(f"{what} is {actual!r}, not {expected!r}")


def example(name):
    """The lines that README.md prints under this mark."""
    one, = [one for one in examples.read(str(SOURCE / "README.md")) if one.name == name]
    return [command for _, command, _ in one.steps()]


def make_base(suite, directory):
    sudo = [] if SUITES[suite] == "root" else ["sudo"]
    debian.bootstrap(directory / "root", [suite], PACKAGES + sudo, "minbase", excluded=())
    # The root lives for a few minutes.
    (directory / "root/etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")


def base_of(suite):
    key = common.hash_of(suite, PACKAGES, SUITES[suite], inspect.getsource(make_base), inspect.getsource(debian.bootstrap))
    return common.cached(f"bare-{suite}", key, lambda directory: make_base(suite, directory)) / "root"


def source_files():
    """The files that a clone of this checkout would have, with what is not committed yet."""
    listing = subprocess.run(["git", "-c", f"safe.directory={SOURCE}", "ls-files", "-z", "--cached",
                              "--others", "--exclude-standard"], cwd=SOURCE,
                             stdout=subprocess.PIPE, check=True).stdout.decode()
    return [path for path in listing.split("\0") if path and os.path.lexists(SOURCE / path)]


def copy_sources(directory):
    directory.mkdir(parents=True)
    with subprocess.Popen(["tar", "--create", "--null", "--files-from=-"], cwd=SOURCE, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as packing:
        with subprocess.Popen(["tar", "--extract", "--no-same-owner"], cwd=directory, stdin=packing.stdout) as unpacking:
            packing.stdin.write("\0".join(source_files()).encode())
            packing.stdin.close()
        if packing.wait() or unpacking.returncode:
            raise Failed("the sources cannot be copied")


class Root:
    """A bare root with the sources in it, and a person unless root installs."""

    def __init__(self, suite, path):
        self.suite, self.path = suite, path
        # Of the packages; apt wants it for itself while it downloads.
        self.archives = common.cache_dir() / f"archives-{suite}"
        (self.archives / "partial").mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "--archive", "--reflink=auto", base_of(suite), self.path], check=True)
        copy_sources(self.path / CLONE)
        # Somebody who is asked by apt says yes.
        (self.path / "etc/apt/apt.conf.d/yes").write_text('APT::Get::Assume-Yes "true";\n')
        self.person = SUITES[suite]
        if self.person != "root":
            self.run(f"useradd --create-home {self.person} && chown -R {self.person}: /{CLONE}", root=True)
            (self.path / "etc/sudoers.d/person").write_text(f"{self.person} ALL=(ALL) NOPASSWD: ALL\n")

    def run(self, command, root=False):
        """Runs a line of shell in the clone; returns what it printed."""
        words = command if root else f"cd /{CLONE} && {command}"
        result = subprocess.run(["unshare", "--mount", "sh", "-ec", MOUNTS, "-", self.path, self.archives, words,
                                 "root" if root else self.person], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        if result.returncode != 0:
            tail = "\n".join(result.stdout.splitlines()[-25:])
            raise Failed(f"`{command}` ended with status {result.returncode}:\n{tail}")
        return result.stdout

    def apt_get(self, *words):
        """apt-get with `words`, for what is not tested itself; while it downloads, nobody else does."""
        with common.locked(self.archives.name):
            return self.run(" ".join(["DEBIAN_FRONTEND=noninteractive apt-get -qq --no-install-recommends", *words]),
                            root=True)

    def files(self):
        """All that could be left behind, with the users."""
        found = set()
        for directory, subdirectories, names in os.walk(self.path):
            inside = "/" + os.path.relpath(directory, self.path)
            subdirectories[:] = [name for name in subdirectories if not VOLATILE.match(os.path.join(inside, name))]
            paths = (os.path.normpath(os.path.join(inside, name)) for name in subdirectories + names)
            found.update(path for path in paths if not VOLATILE.match(path))
        for name in ("passwd", "group"):
            found.update(f"{name}: {line}" for line in (self.path / "etc" / name).read_text().splitlines())
        return found

    def read(self, path):
        return (self.path / path.lstrip("/")).read_text()
