"""A small file system for the daemon's run-time state, which a test can fill up and make read-only."""

import errno
import os
import subprocess


class SmallDisk:
    """A tmpfs over `directory`. The daemon's file takes some pages of it, and a second such file fits beside it."""

    def __init__(self, directory, size="256k"):
        self.directory = directory
        self._ballast = os.path.join(directory, "ballast")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "vfwarden-test", directory],
                       check=True)

    def close(self):
        subprocess.run(["umount", "--lazy", self.directory], check=True)

    def fill(self):
        """No byte can be written any more; new names can be made."""
        with open(self._ballast, "ab", buffering=0) as file:
            size = 4096
            while size:
                try:
                    file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def free(self):
        os.unlink(self._ballast)

    def read_only(self, yes=True):
        subprocess.run(["mount", "-o", f"remount,{'ro' if yes else 'rw'}", self.directory], check=True)
