"""The guest's kernel: its image, and those of its modules that the machine has a use for.

A kernel is a Debian package (downloaded by name or given as a file) or a bare image. A bare image
brings no modules, so it must have everything built in.
"""

import dataclasses
import gzip
import inspect
import lzma
import pathlib
import shutil
import sys

from host import debian
from host.common import Failure, cached, hash_of, run


@dataclasses.dataclass
class Kernel:
    image: pathlib.Path
    modules: pathlib.Path | None  # a tree with lib/modules/VERSION
    early: list                   # paths of modules inside that tree, in loading order
    name: str


def module_name(path):
    return pathlib.PurePath(path).name.split(".ko")[0].replace("-", "_")


def read_dependencies(modules_dep):
    """Module name -> (path, paths it needs, in the order in which depmod lists them)."""
    table = {}
    for line in modules_dep.read_text().splitlines():
        path, _, needs = line.partition(":")
        table[module_name(path)] = (path, needs.split())
    return table


def closure(table, names):
    """Paths of `names` and all they need, each after what it needs; unknown names are built in."""
    ordered = []
    for name in names:
        if name in table:
            path, needs = table[name]
            for one in [*reversed(needs), path]:
                if one not in ordered:
                    ordered.append(one)
    return ordered


def unpacked_module(path):
    """The module as the kernel's loader takes it from a program that cannot decompress."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".ko":
        return data
    raise Failure(f"{path.name}: no way to decompress it")


def unpack(target, package_file, directory):
    """Takes from a kernel package the image and the wanted modules."""
    tree = directory / "package"
    run(["dpkg-deb", "-x", package_file, tree])
    images = list(tree.glob("boot/vmlinuz-*"))
    versions = [path for base in ("lib", "usr/lib") for path in tree.glob(f"{base}/modules/*")]
    if len(images) != 1 or len(versions) != 1:
        raise Failure(f"{package_file} is not a package with one kernel")
    shutil.move(images[0], directory / "vmlinuz")

    source, version = versions[0], versions[0].name
    run(["depmod", "-b", source.parent.parent.parent, version])
    table = read_dependencies(source / "modules.dep")
    kept = directory / "root/usr/lib/modules" / version
    for path in closure(table, target.early + target.modules):
        (kept / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source / path, kept / path)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        if (source / name).exists():
            shutil.move(source / name, kept / name)
    run(["depmod", "-b", directory / "root/usr", version])
    shutil.rmtree(tree)


def build_from_mirror(target, package):
    def work(apt, directory):
        real = apt.would_install(package, r"linux-image-\d\S*")
        file = apt.download(real, directory)
        unpack(target, file, directory)
        (directory / "name").write_text(real.replace("=", " "))
        file.unlink()

    def build(directory):
        suites = [debian.SUITE, debian.BACKPORTS]
        debian.with_private_apt(suites, lambda apt: work(apt, directory), target.debian)
    return build


def build_from_file(target, package_file):
    def build(directory):
        unpack(target, package_file, directory)
        (directory / "name").write_text(package_file.name)
    return build


def get(target, which=None):
    """The kernel that `which` names: None, a package's name (with /SUITE if one likes), a package's
    file, or an image's file."""
    which = which or target.kernel
    recipe = inspect.getsource(sys.modules[__name__]) + repr((target.debian, target.early, target.modules))
    path = pathlib.Path(which)
    if path.is_file() and path.suffix == ".deb":
        entry = cached("kernel", hash_of(recipe, path.read_bytes()), build_from_file(target, path.absolute()))
    elif path.is_file():
        return Kernel(path.absolute(), None, [], path.name)
    else:
        entry = cached("kernel", hash_of(recipe, which), build_from_mirror(target, which))

    modules = next((entry / "root/usr/lib/modules").iterdir())
    early = closure(read_dependencies(modules / "modules.dep"), target.early)
    return Kernel(entry / "vmlinuz", entry / "root", [modules / path for path in early],
                  (entry / "name").read_text())
