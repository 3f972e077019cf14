"""README's installation from source, and its removal."""

import os
import re

from root import CLONE, CONFIGURATION, SOURCE, Failed, Root, common, equal, example

import installation
from page import Page, commands

EXPOSURE_MAX = {"vfwardend": 1.9, "vfwarden-spawn": 1.6}


class FromSource:
    """The steps, in their order; each needs those before it."""

    def __init__(self, suite, directory):
        self.root = Root(suite, directory / f"{suite}-{type(self).__name__}")
        self.before = None
        self.installing, self.uninstalling = example("readme-install"), example("readme-uninstall")

    def run_lines(self, lines):
        for line in lines:
            if installation.runs_in_root(line):
                self.root.run(line)
            else:
                self.root.run("sudo systemctl --quiet enable vfwardend")

    def install(self):
        """each line that README prints under From source works"""
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
