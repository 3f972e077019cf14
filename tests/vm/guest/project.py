"""What is installed of the project, and the directory that it was built in, as far as uninstalling it takes one."""

import contextlib
import pathlib
import subprocess
import tempfile

from guest import service

# A link to it; see host/project.py.
BUILD = pathlib.Path("/usr/lib/vfwarden-vm-build/build")


def installed():
    """The files that were installed, without the directories."""
    lines = (BUILD / "meson-logs/install-log.txt").read_text().splitlines()
    paths = [pathlib.Path(line) for line in lines if line and not line.startswith("#")]
    return [str(path) for path in paths if path.is_symlink() or not path.is_dir()]


@contextlib.contextmanager
def kept():
    """Puts everything back in its place at the end, and enables the unit, as at first."""
    with tempfile.NamedTemporaryFile() as archive:
        service.run("tar", "--create", f"--file={archive.name}", "--absolute-names", *installed(), str(service.CONFIG))
        try:
            yield
        finally:
            service.run("tar", "--extract", f"--file={archive.name}", "--absolute-names")
            service.run("/usr/lib/vfwarden-vm/install")
            service.run("systemd-tmpfiles", "--create", "vfwarden.conf")
            service.systemctl("daemon-reload")
