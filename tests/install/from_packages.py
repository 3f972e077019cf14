"""The life of the packages in a root in which nothing of vfwarden ever was."""

import re
import shutil

import packages
from root import CONFIGURATION, Failed, Root, equal, example

HOOK = "/etc/libvirt/hooks/qemu.d/vfwarden"
# Those that vfwarden does not need, and their units, which have their names.
OTHERS = ("vfwarden-libvirt", "vfwarden-guard")
UNITS = ("vfwardend", *OTHERS)
FIRST = "/etc/vfwarden/vfwarden.conf.d/first.conf"
EDITED = "[Lock]\nEnforcement=advise\n"
# What dpkg and systemd's helper keep until a package is purged.
KEPT_ON_REMOVAL = re.compile(r"/etc/(vfwarden|libvirt|apparmor.d)(/|$)|(passwd|group): vfwarden:|/var/lib/systemd/deb-systemd-helper-enabled/")


class FromPackages:
    """The steps, in their order; each needs those before it."""

    def __init__(self, suite, directory):
        self.suite, self.directory = suite, directory
        self.root = self.before = self.built = None
        self.installing, self.purging = example("readme-packages"), example("readme-purge")
        self.advising = example("readme-advise")

    def run_line(self, line):
        """A line of README, by root where there is no sudo."""
        self.root.run(line.replace("sudo ", "") if self.root.person == "root" else line)

    def status(self):
        """(state, version) of each package."""
        printed = self.root.run("dpkg-query --show --showformat='${db:Status-Abbrev} ${Version} ${Package}\\n' '*vfwarden*'")
        return {package: (state, version) for state, version, package in map(str.split, printed.splitlines())}

    def left(self):
        equal(sorted(self.before - self.root.files()), [], "what is missing")
        return sorted(self.root.files() - self.before)

    def build(self):
        """the line that README prints builds the packages in a bare root"""
        self.built = packages.built(self.suite)
        equal(sorted(path.name.split("_")[0] for path in self.built.glob("*.deb")),
              ["libvfwarden-io-dev", "libvfwarden-io0", "vfwarden", "vfwarden-guard", "vfwarden-libvirt"], "the packages")

    def lintian(self):
        """lintian has no error and no warning of them"""
        said = (self.built / "lintian.txt").read_text()
        if re.search(r"^[EW]: ", said, re.M):
            raise Failed(said)

    def install(self):
        """the next line installs the daemon in a root without it"""
        self.root = Root(self.suite, self.directory / f"{self.suite}-packages")
        shutil.copytree(self.built, self.root.path / packages.OUTPUT)
        self.root.apt_get("update")
        for package in ("vfwarden", *OTHERS):
            field = f"dpkg-deb --field /{packages.OUTPUT}/{package}_*.deb Depends | sed -E 's/vfwarden [^,]*, //'"
            self.root.apt_get("satisfy", f'"$({field})"')
        self.before = self.root.files()
        for line in self.installing[1:]:
            self.run_line(line)

    def installed(self):
        """the programs run, the unit is enabled, its user is there, each file is as packed, and each manual has its page"""
        self.root.run("vfwarden --version && /usr/libexec/vfwardend --version && id vfwarden && test -d /run/vfwarden && "
                      "test -d /etc/vfwarden/vfwarden.conf.d && systemctl is-enabled vfwardend && "
                      "for page in vfwarden.1 vfwarden.conf.5 org.vfwarden1.5 vfwarden-io.7 vfwardend.8; do "
                      "test -f /usr/share/man/man${page##*.}/$page.gz; done")
        equal(self.root.run("dpkg --verify vfwarden"), "", "what differs from the package")

    def others(self):
        """the hook is in force, agent and kernel guard are enabled, and the library is where pkg-config and programs find it"""
        self.root.apt_get("install", f"/{packages.OUTPUT}/*.deb")
        for name in OTHERS:
            self.root.run(f"/usr/libexec/{name} --version && systemctl is-enabled {name} && test -f /usr/share/man/man8/{name}.8.gz")
        self.root.run(f"test -x {HOOK} && test -f /usr/include/vfwarden-io.h && /sbin/ldconfig -p | grep -q libvfwarden-io.so.0 && "
                      "dpkg --listfiles libvfwarden-io-dev | grep -q /pkgconfig/vfwarden-io.pc$")
        equal(self.root.run("dpkg --verify " + " ".join(self.status())), "", "what differs from the packages")

    def upgrade(self):
        """an upgrade keeps an edited configuration without a question, and units that were disabled"""
        (self.root.path / CONFIGURATION[1:]).write_text(EDITED)
        hook = self.root.read(HOOK).replace("--unguarded=refuse", "--unguarded=allow")
        (self.root.path / HOOK[1:]).write_text(hook)
        self.root.run("systemctl --quiet disable " + " ".join(UNITS), root=True)
        self.root.apt_get("install", f"/{packages.OUTPUT}/next/*.deb")
        for package, (state, version) in self.status().items():
            equal((state, version.endswith("+next")), ("ii", True), f"the state of {package} {version}")
        equal(self.root.read(CONFIGURATION), EDITED, "the configuration")
        equal(self.root.read(HOOK), hook, "the hook")
        for unit in UNITS:
            equal(self.root.run(f"systemctl is-enabled {unit} || true").strip(), "disabled", f"the unit {unit}")

    def remove(self):
        """a removal leaves nothing but what was edited; the hook that stays keeps no domain from starting"""
        self.root.apt_get("remove", "vfwarden", "libvfwarden-io0")
        equal([path for path in self.left() if not KEPT_ON_REMOVAL.match(path)], [], "what is left")
        equal(self.root.read(CONFIGURATION), EDITED, "the configuration")
        self.root.run(f"{HOOK} web1 prepare begin -")

    def purge(self):
        """README's line purges the package, and the host is as it was"""
        self.root.apt_get("purge", *OTHERS)
        for line in self.purging:
            self.run_line(line)
        equal(self.left(), [], "what is left")

    def once_more(self):
        """with the configuration that README prints for a first look, the package keeps it, and a purge leaves nothing either"""
        for line in [*self.advising, *self.installing[1:]]:
            self.run_line(line)
        equal(self.root.read(FIRST), EDITED, "the configuration for a first look")
        for line in self.purging:
            self.run_line(line)
        equal(self.left(), [], "what is left")

    STEPS = (build, lintian, install, installed, others, upgrade, remove, purge, once_more)
