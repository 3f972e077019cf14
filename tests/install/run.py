#!/usr/bin/python3
"""README's installation and removal, exactly as printed there, in bare roots of Debian 12 and 13.

Each root is what `mmdebstrap` makes of a handful of packages. In one, root installs, and there is no sudo; in the other a
person who has sudo. They have the sources, run each line that README.md prints, and use what is installed.
vm/scenarios/manuals.py runs what needs a systemd that runs.

    run.py [SUITE...]     bookworm and trixie, unless they are named

Ends with the line "N passed, N failed". Needs root.
"""

import concurrent.futures
import inspect
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(SOURCE / "tests/lib"), str(SOURCE / "tests/vm")]

import examples  # noqa: E402
import installation  # noqa: E402
from host import common, debian  # noqa: E402
from page import Page, commands  # noqa: E402

# And who installs.
SUITES = {"bookworm": "root", "trixie": "somebody"}
# What a fresh system has at least.
PACKAGES = ["systemd-sysv", "udev", "dbus", "ca-certificates"]
CLONE = "home/vfwarden"
CONFIGURATION = "/etc/vfwarden/vfwarden.conf"
# What other programs keep for themselves; userdel makes the copies of its files.
VOLATILE = re.compile(rf"/({CLONE}|proc|sys|dev|tmp|var/tmp|var/log|var/cache|var/lib/(dpkg|apt|sudo)|run/(sudo|lock|systemd))(/|$)"
                      r"|/etc/(passwd|shadow|group|gshadow|subuid|subgid)-$|/etc/ld\.so\.cache$")
EXPOSURE_MAX = {"vfwardend": 1.9, "vfwarden-spawn": 1.6}
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


def copy_sources(directory):
    """What a clone of this checkout would have, with what is not committed yet."""
    listing = subprocess.run(["git", "-c", f"safe.directory={SOURCE}", "ls-files", "-z", "--cached",
                              "--others", "--exclude-standard"], cwd=SOURCE,
                             stdout=subprocess.PIPE, check=True).stdout
    directory.mkdir(parents=True)
    with subprocess.Popen(["tar", "--create", "--null", "--files-from=-"], cwd=SOURCE, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as packing:
        with subprocess.Popen(["tar", "--extract", "--no-same-owner"], cwd=directory, stdin=packing.stdout) as unpacking:
            packing.stdin.write(listing)
            packing.stdin.close()
        if packing.wait() or unpacking.returncode:
            raise Failed("the sources cannot be copied")


class Root:
    """A bare root with the sources in it, and a person unless root installs."""

    def __init__(self, suite, directory):
        self.path = directory / suite
        # Of the packages; apt wants it for itself while it downloads.
        self.archives = common.cache_dir() / f"archives-{suite}"
        (self.archives / "partial").mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "--archive", "--reflink=auto", base_of(suite), self.path], check=True)
        copy_sources(self.path / CLONE)
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


def equal(actual, expected, what):
    if actual != expected:
        raise Failed(f"{what} is {actual!r}, not {expected!r}")


class Installation:
    """The steps, in their order; each needs those before it."""

    def __init__(self, root):
        self.root = root
        self.before = None
        self.installing, self.uninstalling = example("readme-install"), example("readme-uninstall")

    def run_lines(self, lines):
        for line in lines:
            if installation.runs_in_root(line):
                self.root.run(line)
            else:
                self.root.run("sudo systemctl --quiet enable vfwardend")

    def install(self):
        """each line that README prints under Install works"""
        first, *others = self.installing
        equal(first, "tests/install-dependencies build", "the first line")
        with common.locked(self.root.archives.name):
            self.root.run(first)
        self.before = self.root.files()
        self.run_lines(others)

    def installed(self):
        """the programs run, the unit is enabled, its user is there, and manuals are in place"""
        self.root.run("vfwarden --version && /usr/libexec/vfwardend --version && id vfwarden && "
                      "systemctl is-enabled vfwardend && test -d /run/vfwarden && test -f /usr/share/man/man8/vfwardend.8")

    def exposure(self):
        """systemd-analyze of this Debian finds the units no more exposed than on the other"""
        for unit, maximum in EXPOSURE_MAX.items():
            printed = self.root.run("sudo systemd-analyze security --offline=true --no-pager "
                                    f"/usr/lib/systemd/system/{unit}.service")
            exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", printed)[1])
            if exposure > maximum:
                raise Failed(f"the exposure is {exposure}, more than {maximum}:\n{printed}")

    def library(self):
        """pkg-config finds the library, and the program of docs/zpci-io.md is compiled by the page's own command, and runs"""
        self.root.run("pkg-config --exists --print-errors vfwarden-io")
        blocks = [block for blocks in Page(SOURCE / "docs/zpci-io.md").sections.values() for block in blocks]
        program, = [block for block in blocks if block.startswith("#include")]
        line, = [command.line for block in blocks for command in commands(block) if command.line.startswith("cc ")]
        directory = self.root.path / CLONE / "page"
        directory.mkdir()
        (directory / "load.c").write_text(program)
        self.root.run("sudo chown $(id -u) page && cd page && " + line)
        linked = self.root.run("ldd page/load")
        if not re.search(r"libvfwarden-io\.so\.\d+ => /", linked):
            raise Failed(f"the program does not find the library:\n{linked}")

    def keeps_edits(self):
        """a second `meson install` keeps an edited configuration"""
        edited = "[Lock]\nEnforcement=advise\n"
        (self.root.path / CONFIGURATION[1:]).write_text(edited)
        self.root.run("sudo meson install -C build")
        equal(self.root.read(CONFIGURATION), edited, "the configuration")

    def uninstall(self):
        """README's uninstallation leaves nothing behind but the edited configuration"""
        self.run_lines(self.uninstalling)
        directory = os.path.dirname(CONFIGURATION)
        equal(sorted(self.root.files() - self.before), [directory, CONFIGURATION], "what is left")
        equal(sorted(self.before - self.root.files()), [], "what is missing")

    def purge(self):
        """and with --purge nothing at all"""
        self.root.run("sudo build/units/uninstall --purge")
        equal(sorted(self.root.files() - self.before), [], "what is left")

    def once_more(self):
        """nobody edited anything: installed and uninstalled once more, nothing is left either"""
        self.run_lines([*self.installing[1:], *self.uninstalling])
        equal(sorted(self.root.files() - self.before), [], "what is left")

    STEPS = (install, installed, exposure, library, keeps_edits, uninstall, purge, once_more)


def check(suite, directory):
    """Returns (suite, step, seconds, failure or None) of each step."""
    results, wrong = [], None
    installation = None
    for step in Installation.STEPS:
        start = time.monotonic()
        if wrong:
            wrong = "not run"
        else:
            try:
                installation = installation or Installation(Root(suite, directory))
                step(installation)
            except (Failed, common.Failure, OSError, subprocess.SubprocessError) as error:
                wrong = str(error)
        results.append((suite, step, time.monotonic() - start, wrong))
    return results


def main():
    if os.geteuid() != 0:
        sys.exit("install: a root can only be made by root: use sudo")
    suites = sys.argv[1:] or SUITES
    directory = pathlib.Path(tempfile.mkdtemp(prefix="vfwarden-install-", dir=common.cache_dir()))
    passed = failed = 0
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for results in pool.map(lambda suite: check(suite, directory), suites):
                for suite, step, seconds, wrong in results:
                    passed, failed = passed + (not wrong), failed + bool(wrong)
                    print(f"{'not ok' if wrong else 'ok'} {passed + failed} - {suite}: {step.__doc__} ({seconds:.1f} s)")
                    if wrong:
                        print("".join(f"  # {line}\n" for line in wrong.splitlines()), end="", flush=True)
    finally:
        shutil.rmtree(directory)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
