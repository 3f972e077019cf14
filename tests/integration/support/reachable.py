"""Programs for users without privilege: the source may lie where only its owner can go, such as /root."""

import atexit
import os
import shutil
import tempfile

_copies = {}


def reachable(path):
    """A copy of the file that every user can run, as long as this process lives."""
    if path not in _copies:
        directory = tempfile.mkdtemp(prefix="vfwarden-test-")
        os.chmod(directory, 0o755)
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        _copies[path] = shutil.copy(path, directory)
        os.chmod(_copies[path], 0o755)
    return _copies[path]
