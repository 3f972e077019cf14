"""What every module of the host's half shares: failing with a message, running a command, the cache.

The cache holds only what can be built again. An entry is a directory named KIND-KEY, where KEY is a
hash of everything that went into it; it is made under another name and renamed when it is complete,
so an interrupted build leaves nothing that looks finished.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

UNUSED_AFTER_DAYS = 14
VM_DIR = pathlib.Path(__file__).resolve().parent.parent
SOURCE_DIR = VM_DIR.parent.parent


class Failure(Exception):
    """Something the user must read. Printed without a traceback."""


def say(message):
    """Progress, for people: on standard error, so results on standard output stay clean."""
    print(message, file=sys.stderr, flush=True)


def run(command, log=None, **kwargs):
    """Runs a command to its end; on failure raises with the end of what it printed."""
    result = subprocess.run(
        [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", **kwargs)
    if log is not None:
        pathlib.Path(log).write_text(result.stdout)
    if result.returncode != 0:
        tail = "\n".join("    " + line for line in result.stdout.splitlines()[-25:])
        where = f"\n  all of it: {log}" if log else ""
        raise Failure(f"{command[0]} failed with status {result.returncode}:\n{tail}{where}")
    return result.stdout


def need_programs(programs):
    """`programs` maps a program to the Debian package that has it."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = sorted({package for program, package in programs.items()
                      if shutil.which(program, path=path) is None})
    if missing:
        raise Failure("missing programs; install them with\n  apt-get install " + " ".join(missing))
    os.environ["PATH"] = path


def cache_dir():
    explicit = os.environ.get("VFWARDEN_VM_CACHE")
    if explicit:
        path = pathlib.Path(explicit)
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        path = pathlib.Path(base) / "vfwarden" / "vm"
    path = path.absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def hash_of(*parts):
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def locked(name):
    """One builder at a time of the same thing; the others wait and then find it built."""
    with open(cache_dir() / f".lock-{name}", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cached(kind, key, build):
    """The directory of a cache entry; `build(directory)` fills it if it does not exist yet."""
    entry = cache_dir() / f"{kind}-{key}"
    with locked(kind):
        if not entry.exists():
            partial = cache_dir() / f".partial-{kind}-{key}"
            remove_tree(partial)
            partial.mkdir()
            started = time.monotonic()
            try:
                build(partial)
            except BaseException:
                remove_tree(partial)
                raise
            partial.rename(entry)
            say(f"{kind}: built in {time.monotonic() - started:.0f} s")
        os.utime(entry)
        forget_unused(kind)
    return entry


def forget_unused(kind):
    oldest = time.time() - UNUSED_AFTER_DAYS * 86400
    for entry in cache_dir().glob(f"{kind}-*"):
        if entry.stat().st_mtime < oldest:
            remove_tree(entry)


def unmount_below(path):
    """A mmdebstrap that was killed leaves /dev, /proc and /sys mounted in its root: those of the host."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        points = [line.split(" ")[1] for line in file]
    for point in reversed(points):
        if point.startswith(f"{path}/"):
            run(["umount", "--lazy", point])


def remove_tree(path):
    if path.exists():
        unmount_below(path)
        shutil.rmtree(path)
