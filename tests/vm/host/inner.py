"""What an inner machine runs, which a VMM in the guest starts: the guest's own kernel, with a RAM disk of a shell and drivers."""

import pathlib
import shutil
import stat

from host import kernel as kernels
from host.common import VM_DIR
from host.initrd import Cpio

DIRECTORY = "usr/lib/vfwarden-vm-inner"
DRIVERS = ("nvme", "igbvf", "e1000e")


def ram_disk(kernel, busybox):
    """The archive. Its /init is inner/init, and /modules lists the drivers with all they need, in loading order."""
    modules = next((kernel.modules / "usr/lib/modules").iterdir())
    paths = kernels.closure(kernels.read_dependencies(modules / "modules.dep"), DRIVERS)
    archive = Cpio()
    for directory in ("bin", "dev", "proc", "sys"):
        archive.add_directory(directory)
    archive.add("bin/busybox", busybox.read_bytes(), stat.S_IFREG | 0o755)
    archive.add("init", (VM_DIR / "inner/init").read_bytes(), stat.S_IFREG | 0o755)
    names = []
    for path in paths:
        names.append(f"/{kernels.module_name(path)}.ko")
        archive.add(names[-1][1:], kernels.unpacked_module(modules / path))
    archive.add("modules", "".join(f"{name}\n" for name in names).encode())
    return archive.finish()


def install(kernel, busybox, tree):
    """Puts kernel and RAM disk into `tree`."""
    directory = pathlib.Path(tree) / DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(kernel.image, directory / "vmlinuz")
    (directory / "initrd").write_bytes(ram_disk(kernel, busybox))
    for path in directory.iterdir():
        path.chmod(0o644)
