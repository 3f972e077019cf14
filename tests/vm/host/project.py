"""The project, freshly built and installed into a tree that goes over the guest's base system."""

import os
import shutil
import sys

from host.common import SOURCE_DIR, VM_DIR, Failure, cache_dir, hash_of, locked, run

sys.path.insert(0, str(SOURCE_DIR / "tests/lib"))
from page import Page, commands  # noqa: E402

OPTIONS = ["--prefix=/usr", "--sysconfdir=/etc", "--localstatedir=/var", "--libdir=lib",
           "--buildtype=debugoptimized", "-Ddebug=false", "-Dtests=false", "-Dwerror=true"]
# Where the program of a page is, for its scenario.
PAGE_DIRECTORY = "usr/lib/vfwarden-vm-page"
# Of docs/, with a program and commands each.
PAGES = ("zpci-io.md", "device.md")

# Programs without a system: the firmware of a domain, and a boot sector.
INNER_GUESTS = {"guest.S": "var/lib/libvirt/images/vfwarden-guest.bin", "boot.S": "usr/lib/vfwarden-vm-inner/boot.bin"}

# A link to the build directory, of which the guest has what uninstalling takes; see guest/project.py.
BUILD_LINK = "usr/lib/vfwarden-vm-build/build"

# For meson: a compiler of another architecture, which takes headers and libraries from the guest's own root.
CROSS_FILE = """[binaries]
c = ['{triplet}-gcc', '--sysroot={root}']
ar = '{triplet}-ar'
strip = '{triplet}-strip'
pkgconfig = 'pkg-config'

[properties]
sys_root = '{root}'
pkg_config_libdir = '{root}/usr/lib/{triplet}/pkgconfig:{root}/usr/share/pkgconfig'

[host_machine]
system = 'linux'
cpu_family = '{name}'
cpu = '{name}'
endian = 'big'
"""


class Builder:
    """Builds for `target`, whose base system is in the directory `base`."""

    def __init__(self, target, base):
        self.target = target
        self.root = base / "root"
        # Outside of the source tree: this runs as root, and should leave nothing there.
        parts = (SOURCE_DIR, target.name) if target.foreign else (SOURCE_DIR,)
        self.directory = cache_dir() / f"build-{hash_of(*parts)}"
        self.cross_file = self.directory.with_suffix(".cross")

    def setup(self, *more):
        optional = 'disabled' if self.target.foreign else 'enabled'
        options = [*OPTIONS, f"-Dlibvirt={optional}", f"-Dbpf={optional}", *more]
        if self.target.foreign:
            options += ["--cross-file", self.cross_file]
        run(["meson", "setup", *options, self.directory, SOURCE_DIR])

    def compiler_changed(self):
        """Whether the build directory, if there is one, is of another root than this one."""
        text = CROSS_FILE.format(triplet=self.target.triplet, name=self.target.name, root=self.root)
        if not self.target.foreign or self.cross_file.exists() and self.cross_file.read_text() == text:
            return False
        self.cross_file.write_text(text)
        return True

    def install(self, directory):
        """Builds, and installs below `directory`. Only what changed is compiled again."""
        build = self.directory
        with locked(build.name):
            if self.compiler_changed() or not (build / "build.ninja").exists():
                shutil.rmtree(build, ignore_errors=True)
                self.setup()
            log, ninja = build / "ninja.log", ["ninja", "-C", build]
            try:
                run(ninja, log=log)
            except Failure:
                # A build directory of an older revision may be beyond what a reconfiguration can do.
                if "FAILED: build.ninja" not in log.read_text():
                    raise
                self.setup("--wipe")
                run(ninja, log=log)
            run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", directory])
            self.uninstaller(directory)
        os.utime(build)

    def uninstaller(self, directory):
        """The script that uninstalls, and meson's log of what is below `directory`, where the script looks for it."""
        copy = directory / str(self.directory).lstrip("/")
        for name in ("units/uninstall", "meson-logs/install-log.txt"):
            (copy / name).parent.mkdir(parents=True)
            (copy / name).write_text((self.directory / name).read_text().replace(str(directory), ""))
            shutil.copymode(self.directory / name, copy / name)
        link = directory / BUILD_LINK
        link.parent.mkdir(parents=True)
        link.symlink_to(self.directory)

    def holder(self, directory):
        """The program that has functions open through VFIO, for the scenarios."""
        directory.mkdir(parents=True, exist_ok=True)
        compiler = [f"{self.target.triplet}-gcc", f"--sysroot={self.root}"] if self.target.foreign else ["cc"]
        run([*compiler, "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter",
             "-Werror", "-I", SOURCE_DIR, "-o", directory / "vfio-holder", *sorted((VM_DIR / "holder").glob("*.c")),
             "-lsystemd"])

    def inner_guests(self, directory):
        """What runs in machines of the guest's own QEMU, but for a kernel; see inner.py for that."""
        for source, name in INNER_GUESTS.items():
            binary = directory / name
            binary.parent.mkdir(parents=True, exist_ok=True)
            compiled = binary.with_suffix(".o")
            run(["cc", "-m32", "-c", "-o", compiled, VM_DIR / "inner" / source])
            run(["ld", "-m", "elf_i386", "-Ttext=0", "--entry=start", "--oformat=binary", "-o", binary, compiled])
            compiled.unlink()
            binary.chmod(0o644)

    def example(self, installed):
        """The programs in pages of docs/, made by the commands that the pages give, from what is installed below
        `installed`, where they go, too."""
        directory = installed / PAGE_DIRECTORY
        directory.mkdir(parents=True)
        for page in PAGES:
            self.page_example(SOURCE_DIR / "docs" / page, directory, installed)

    @staticmethod
    def page_example(page, directory, installed):
        blocks = [block for blocks in Page(page).sections.values() for block in blocks]
        program, = [block for block in blocks if block.startswith("#include")]
        compile_line, = [command.line for block in blocks for command in commands(block)
                         if command.line.startswith("cc ")]
        name, = [word for word in compile_line.split() if word.endswith(".c")]
        (directory / name).write_text(program)
        # What is not installed has another root, whose directories are not the compiler's own.
        run(["env", f"PKG_CONFIG_PATH={installed}/usr/lib/pkgconfig", f"PKG_CONFIG_SYSROOT_DIR={installed}",
             "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1", "PKG_CONFIG_ALLOW_SYSTEM_LIBS=1", "sh", "-ec", compile_line],
            cwd=directory)

    def guest_files(self, directory, more_scenarios=()):
        """The scenarios, with those of the directories `more_scenarios`, and what runs them."""
        self.holder(directory / "usr/local/bin")
        if not self.target.foreign:
            self.inner_guests(directory)
        shutil.copytree(VM_DIR / "guest/files", directory, dirs_exist_ok=True)
        home = directory / "usr/lib/vfwarden-vm"
        home.mkdir(parents=True, exist_ok=True)
        sources = (self.target.scenarios, *more_scenarios)
        for source, name in (("guest", "guest"), *((source, "scenarios") for source in sources)):
            shutil.copytree(VM_DIR / source, home / name, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("files", "__pycache__"))
        shutil.copy(VM_DIR / "demo", home / "demo")
        for module in (SOURCE_DIR / "tests/lib").glob("*.py"):
            shutil.copy(module, home)
        for page in PAGES:
            shutil.copy(SOURCE_DIR / "docs" / page, home)
