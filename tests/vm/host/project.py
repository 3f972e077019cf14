"""The project, freshly built and installed into a tree that goes over the guest's base system."""

import os
import shutil

from host.common import SOURCE_DIR, VM_DIR, Failure, cache_dir, hash_of, locked, run

OPTIONS = ["--prefix=/usr", "--sysconfdir=/etc", "--localstatedir=/var", "--libdir=lib",
           "--buildtype=debugoptimized", "-Dtests=false", "-Dwerror=true"]


def install(directory):
    """Builds, and installs below `directory`. Only what changed is compiled again."""
    # Outside of the source tree: this runs as root, and should leave nothing there.
    build = cache_dir() / f"build-{hash_of(SOURCE_DIR)}"
    with locked(build.name):
        if not (build / "build.ninja").exists():
            shutil.rmtree(build, ignore_errors=True)
            run(["meson", "setup", *OPTIONS, build, SOURCE_DIR])
        log, ninja = build / "ninja.log", ["ninja", "-C", build]
        try:
            run(ninja, log=log)
        except Failure:
            # A build directory of an older revision may be beyond what a reconfiguration can do.
            if "FAILED: build.ninja" not in log.read_text():
                raise
            run(["meson", "setup", "--wipe", *OPTIONS, build, SOURCE_DIR])
            run(ninja, log=log)
        run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", directory])
    os.utime(build)


def holder(directory):
    """The program that has functions open through VFIO, for the scenarios."""
    directory.mkdir(parents=True, exist_ok=True)
    run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror",
         "-o", directory / "vfio-holder", VM_DIR / "holder/vfio-holder.c", "-lsystemd"])


def guest_files(directory):
    """The scenarios and what runs them."""
    holder(directory / "usr/local/bin")
    shutil.copytree(VM_DIR / "guest/files", directory, dirs_exist_ok=True)
    home = directory / "usr/lib/vfwarden-vm"
    home.mkdir(parents=True, exist_ok=True)
    for name in ("guest", "scenarios"):
        shutil.copytree(VM_DIR / name, home / name, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("files", "__pycache__"))
    shutil.copy(VM_DIR / "demo", home / "demo")
    for name in ("vfwarden_bus.py", "vfio_user.py"):
        shutil.copy(SOURCE_DIR / "tests/lib" / name, home)
