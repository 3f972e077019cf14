"""A QEMU that emulates what the machine is made of: the system's own, or one from Debian (12's backports) in
a root of its own, which is run by that root's dynamic linker and touches nothing outside.
"""

import dataclasses
import functools
import inspect
import os
import re
import shutil
import subprocess

from host import debian
from host.common import Failure, cached, hash_of, run

NEEDED_VERSION = (8, 0)  # the first with igb
LIBRARIES = "x86_64-linux-gnu"


@dataclasses.dataclass
class Qemu:
    command: list
    environment: dict
    version: tuple


def version_of(command, environment):
    output = subprocess.run([*command, "--version"], env=environment, stdin=subprocess.DEVNULL,
                            capture_output=True, text=True).stdout
    match = re.search(r"version (\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def has_devices(target, command, environment):
    output = subprocess.run([*command, "-M", "none", "-device", "help"], env=environment, text=True,
                            stdin=subprocess.DEVNULL, capture_output=True).stdout
    return all(f'name "{device}"' in output for device in target.devices)


def build(target, suites, directory):
    root = directory / "root"
    debian.bootstrap(root, suites, [target.qemu_package], "extract",
                     [f'--aptopt=APT::Default-Release "{suites[-1]}"', "--skip=output/dev"])
    for path in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / path, ignore_errors=True)


def tree(target, suite=None):
    """The directory with the root of Debian's QEMU: of that suite, or of the one that the machine itself runs on."""
    suites = [suite] if suite else debian.SUITES
    recipe = inspect.getsource(build) + inspect.getsource(debian.bootstrap)
    key = hash_of(recipe, target.qemu_package, suite or debian.SUITE)
    return cached("qemu", key, functools.partial(build, target, suites)) / "root"


IMAGE_SIZE = "300M"


def build_image(root, directory):
    run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-L", "qemu", "-E", "root_owner=0:0",
         "-d", root, directory / "qemu.img", IMAGE_SIZE])


def image(target, suite=None):
    """A file system for a guest: of a QEMU that is newer than that of its own release."""
    root = tree(target, suite)
    recipe = inspect.getsource(build_image) + IMAGE_SIZE
    return cached("guestqemu", hash_of(recipe, root), functools.partial(build_image, root)) / "qemu.img"


def own(target):
    root = tree(target)
    libraries = f"{root}/lib/{LIBRARIES}:{root}/usr/lib/{LIBRARIES}"
    loaders = [path for path in (root / "lib64/ld-linux-x86-64.so.2",
                                 root / "usr/lib64/ld-linux-x86-64.so.2") if path.exists()]
    if not loaders:
        raise Failure(f"no dynamic linker in {root}")
    command = [loaders[0], "--library-path", libraries, root / "usr/bin" / target.qemu,
               "-L", root / "usr/share/qemu", "-L", root / "usr/share/seabios",
               "-L", root / "usr/lib/ipxe/qemu"]
    environment = dict(os.environ, QEMU_MODULE_DIR=str(root / f"usr/lib/{LIBRARIES}/qemu"))
    return [str(word) for word in command], environment


def get(target):
    system = shutil.which(target.qemu)
    if system is not None:
        environment = dict(os.environ)
        version = version_of([system], environment)
        if version >= NEEDED_VERSION and has_devices(target, [system], environment):
            return Qemu([system], environment, version)
    command, environment = own(target)
    version = version_of(command, environment)
    if version < NEEDED_VERSION or not has_devices(target, command, environment):
        raise Failure("the QEMU from Debian does not run here or lacks a device")
    return Qemu(command, environment, version)
