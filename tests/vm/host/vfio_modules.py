"""VFIO's modules built anew, in the kinds that Debian's kernels do not have: with iommufd and a character device for each function.

Only vfio, vfio-pci-core, vfio-pci, vfio_iommu_type1 and iommufd are compiled, some 30 files of the kernel's own source, against
the packaged headers of the very kernel that the machine boots. Outside of these directories nothing depends on the options that
are changed (seen in 6.12: `struct user_struct` has `locked_vm` for other reasons). The kernel's own Makefiles take the options
from make's command line, and the compiler takes them from a header that comes after the kernel's configuration.
"""

import os
import re
import shutil

from host.common import Failure, run

BOTH = {"IOMMUFD": "m", "VFIO_DEVICE_CDEV": "y", "INTERVAL_TREE_SPAN_ITER": "y"}
WITHOUT_CONTAINER = {"VFIO_CONTAINER": "", "VFIO_IOMMU_TYPE1": ""}
# What `machine --vfio` takes, and the options of each. Others are as Debian has them.
KINDS = {
    "packaged": {},
    # Groups, containers, character devices and iommufd.
    "iommufd": BOTH,
    # Character devices alone: a kernel without VFIO_GROUP.
    "devices": {**BOTH, **WITHOUT_CONTAINER, "VFIO_GROUP": ""},
    # Groups and character devices; /dev/vfio/vfio is iommufd's (vfio_compat.c).
    "compat": {**BOTH, **WITHOUT_CONTAINER, "IOMMUFD_VFIO_CONTAINER": "y"},
}

# Options that only cost time, or need what a package of headers does not have.
WITHOUT = ("DEBUG_INFO", "DEBUG_INFO_BTF", "DEBUG_INFO_BTF_MODULES", "MODULE_SIG", "MODULE_SIG_ALL", "VFIO_MDEV")
PROGRAMS = {"make": "make", "gcc": "gcc", "xz": "xz-utils"}
SOURCES = ("drivers/iommu", "drivers/vfio", "lib/interval_tree.c")
# The kernel has this function only with the option; the rest of its file is in Debian's kernel.
SPAN_ITERATOR = re.compile(r"^#ifdef CONFIG_INTERVAL_TREE_SPAN_ITER$.*?^#endif\b", re.MULTILINE | re.DOTALL)
PACKAGES = r"linux-(?:headers|kbuild)-\d\S*"


def scenarios(kind):
    """The directories of scenarios that only a kernel of that kind can run."""
    return ["scenarios_iommufd"] if kind != "packaged" else []


def download(apt, image, directory):
    """The packages of headers and source that belong to the kernel package `image` (NAME=VERSION). Returns their files."""
    name, _, version = image.partition("=")
    release = name.removeprefix("linux-image-")
    series = re.match(r"\d+\.\d+", release)
    names = apt.would_install(f"linux-headers-{release}={version}", PACKAGES)
    return [apt.download(one, directory) for one in [*names, f"linux-source-{series[0]}={version}"]]


def unpack(files, directory):
    """Returns the trees of headers and source."""
    for file in files:
        run(["dpkg-deb", "-x", file, directory])
        file.unlink()
    archive, = (directory / "usr/src").glob("linux-source-*.tar.xz")
    top = archive.name.removesuffix(".tar.xz")
    run(["tar", "-x", "-C", directory, "-f", archive, *(f"{top}/{path}" for path in SOURCES)])
    archive.unlink()
    # Among the architecture's and the common one, the one with a configuration.
    headers, = (path.parent for path in (directory / "usr/src").glob("linux-headers-*/.config"))
    makefile = headers / "Makefile"
    makefile.write_text(makefile.read_text().replace("/usr/src/", f"{directory}/usr/src/"))
    return headers, directory / top


def prepare(source, tree, options):
    """Lays out a module tree of its own."""
    for path in ("drivers/iommu/iommufd", "drivers/vfio"):
        shutil.copytree(source / path, tree / path)
    for header in (source / "drivers/iommu").glob("*.h"):
        shutil.copy(header, tree / "drivers/iommu")
    iterator = SPAN_ITERATOR.search((source / "lib/interval_tree.c").read_text())
    if not iterator:
        raise Failure(f"{source.name}: lib/interval_tree.c has no iterator over spans")
    (tree / "lib").mkdir()
    (tree / "lib/interval_tree_span.c").write_text(
        "#include <linux/interval_tree.h>\n#include <linux/module.h>\n" + iterator[0] + "\nMODULE_LICENSE(\"GPL\");\n")
    (tree / "lib/Makefile").write_text("obj-m := interval_tree_span.o\n")
    lines = [f"#undef CONFIG_{name}\n#undef CONFIG_{name}_MODULE\n" for name in options]
    lines += [f"#define CONFIG_{name}{'_MODULE' if value == 'm' else ''} 1\n" for name, value in options.items() if value]
    (tree / "options.h").write_text("".join(lines))
    (tree / "Kbuild").write_text("obj-m := lib/ drivers/iommu/iommufd/ drivers/vfio/\n"
                                 f"subdir-ccflags-y := -include {tree}/options.h\n")


def build(kind, files, directory):
    """Builds modules of that kind from packages (download()). Returns the tree in which they are; works in `directory`."""
    options = KINDS[kind]
    headers, source = unpack(files, directory)
    tree = directory / "modules"
    tree.mkdir()
    prepare(source, tree, options)
    words = [f"CONFIG_{name}={value}" for name, value in options.items()] + [f"CONFIG_{name}=" for name in WITHOUT]
    # Debian's compiler of the same series has the same name with its number; the check of its version is off in the headers.
    run(["make", f"-j{os.cpu_count()}", "-C", headers, f"M={tree}", "CC=gcc", "HOSTCC=gcc", *words, "modules"])
    return tree


def replace(tree, modules):
    """Puts the modules built in `tree` in place of those of the same names below `modules`, a kernel's directory of them."""
    for path in modules.glob("kernel/drivers/vfio/**/*.ko*"):
        path.unlink()
    for module in tree.glob("**/*.ko"):
        place = modules / "kernel" / module.relative_to(tree)
        place.parent.mkdir(parents=True, exist_ok=True)
        run(["strip", "-g", "-o", place, module])
