"""The guest's kernel: its image, and those of its modules that the machine has a use for.

A kernel is a Debian package, downloaded by name with those that it is divided into, or given as a file. VFIO's modules may be
built anew for it (vfio_modules.py).
"""

import dataclasses
import gzip
import inspect
import lzma
import pathlib
import shutil
import sys

from host import debian, vfio_modules
from host.common import Failure, cached, hash_of, run


@dataclasses.dataclass
class Kernel:
    image: pathlib.Path
    modules: pathlib.Path  # a tree with lib/modules/VERSION
    early: list            # paths of modules inside that tree, in loading order
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


# Debian's newer kernels are divided: the image is in linux-binary-*, and the modules are in linux-modules-*.
PACKAGES = r"linux-(?:image|binary|modules)-\d\S*"


def unpack(target, package_files, directory, built=None):
    """Takes from a kernel's packages the image and the wanted modules; `built`: with those of vfio_modules.build()."""
    tree = directory / "package"
    for file in package_files:
        run(["dpkg-deb", "-x", file, tree])
    images = [*tree.glob("boot/vmlinuz-*"), *tree.glob("usr/lib/modules/*/vmlinuz")]
    versions = [path for base in ("lib", "usr/lib") for path in tree.glob(f"{base}/modules/*")]
    if len(images) != 1 or len(versions) != 1:
        raise Failure(f"{', '.join(file.name for file in package_files)}: that is not one kernel with its modules")
    shutil.move(images[0], directory / "vmlinuz")

    source, version = versions[0], versions[0].name
    if built:
        vfio_modules.replace(built, source)
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


def build_from_mirror(target, package, vfio):
    def download(apt, directory):
        names = apt.would_install(package, PACKAGES)
        name = next(name for name in names if name.startswith("linux-image-"))
        files = [apt.download(name, directory) for name in names]
        if vfio == "packaged":
            return name, files, []
        (directory / "vfio").mkdir()
        return name, files, vfio_modules.download(apt, name, directory / "vfio")

    def build(directory):
        suites = [*debian.SUITES]
        suite = package.partition("/")[2]
        if suite and suite not in suites:
            suites.append(suite)
        name, files, sources = debian.with_private_apt(suites, lambda apt: download(apt, directory), target.debian)
        built = vfio_modules.build(vfio, sources, directory / "vfio") if sources else None
        unpack(target, files, directory, built)
        kind = f", VFIO: {vfio}" if built else ""
        (directory / "name").write_text(name.replace("=", " ") + kind)
        for file in files:
            file.unlink()
        if built:
            shutil.rmtree(directory / "vfio")
    return build


def build_from_file(target, package_file):
    def build(directory):
        unpack(target, [package_file], directory)
        (directory / "name").write_text(package_file.name)
    return build


def get(target, which=None, vfio="packaged"):
    """The kernel that `which` names: None, a package's name (with /SUITE if one likes), or a package's file; with VFIO's
    modules of the kind `vfio`."""
    which = which or target.kernel
    recipe = "".join(inspect.getsource(sys.modules[module]) for module in (__name__, vfio_modules.__name__))
    recipe += repr((target.debian, target.early, target.modules, vfio))
    path = pathlib.Path(which)
    if path.is_file():
        if vfio != "packaged":
            raise Failure(f"{path.name}: VFIO's modules are built anew for a kernel that the mirror has, with its source")
        entry = cached("kernel", hash_of(recipe, path.read_bytes()), build_from_file(target, path.absolute()))
    else:
        entry = cached("kernel", hash_of(recipe, which), build_from_mirror(target, which, vfio))

    modules = next((entry / "root/usr/lib/modules").iterdir())
    early = closure(read_dependencies(modules / "modules.dep"), target.early)
    return Kernel(entry / "vmlinuz", entry / "root", [modules / path for path in early],
                  (entry / "name").read_text())
