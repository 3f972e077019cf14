"""From the open of a VFIO device node to `InUse`, among few processes and among many; and a storm of opens.

This module runs as process 1 of a namespace: its /proc shows the processes that it made and no others, and its /dev
has the VFIO device nodes that it made. They are /dev/null by another name, which the tree's `dev/char` says is a group.
One reference looks at who opened and nobody else, the other at all processes, as one must who cannot know who opened.
Neither knows functions, remembers users, or closes files and saves that before it tells, so only what more processes
add has a target."""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys

sys.dont_write_bytecode = True

import world  # noqa: E402,F401  (first: it says where others find theirs)
from bed import Bed  # noqa: E402
from report import median, percentile  # noqa: E402

# What 1990 more processes may add to an open, as a part of what they add to a look at all of them.
MOST_GROWTH = 0.1
# Each of many at once, against one alone.
MOST_STORM = 1
PROCESSES = (10, 2000)
# Of its own: itself, the bus, the daemon or a reference, the two that measure.
OWN_PROCESSES = 5
ROUNDS = 5
WARM_UP = 5
OPENS = 60
STORM = 1000
ADDRESS, GROUP, NULL = "0000:f0:00.0", 7777, (1, 3)
OBJECT = "/org/vfwarden1/function/_30000_3af0_3a00_2e0"
NODE = f"/dev/vfio/{GROUP}"
BARE = ("opener", "everybody")


def make_dev():
    """A /dev with what Python and the bus need, and with the group's node."""
    if ctypes.CDLL(None, use_errno=True).mount(b"none", b"/dev", b"tmpfs", 0, b"mode=755") != 0:
        raise OSError(ctypes.get_errno(), "mount on /dev")
    os.umask(0)
    for name, minor in (("null", 3), ("zero", 5), ("urandom", 9)):
        os.mknod(f"/dev/{name}", 0o666 | 0o020000, os.makedev(1, minor))
    os.mkdir("/dev/shm", 0o1777)
    os.mkdir("/dev/vfio")
    os.mknod(NODE, 0o666 | 0o020000, os.makedev(*NULL))
    os.umask(0o022)


class Sleepers:
    """Processes that have nothing to do with VFIO. A context manager."""

    def __init__(self, count):
        self._processes = [subprocess.Popen(["sleep", "infinity"]) for _ in range(count)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()


def make_tree(bed):
    tree = bed.tree("opens", 16)
    tree.add(ADDRESS, driver="vfio-pci", group=GROUP)
    node = tree.path("devices/virtual/vfio", str(GROUP))
    os.makedirs(node)
    os.makedirs(tree.path("dev/char"))
    os.symlink(os.path.relpath(node, tree.path("dev/char")),
               tree.path("dev/char", "{}:{}".format(*NULL)))
    return tree


def walks(pid, work):
    """How often process `pid` opened /proc to walk through it while work() ran."""
    log = "/dev/shm/strace"
    strace = subprocess.Popen(["strace", "-f", "-etrace=openat", "-o", log, "-p", str(pid)],
                              stderr=subprocess.PIPE, text=True)
    try:
        if "attached" not in strace.stderr.readline():
            return None
        work()
    finally:
        strace.send_signal(signal.SIGINT)
        strace.wait()
        strace.stderr.close()
    with open(log, encoding="utf-8") as lines:
        return sum(bool(re.search(r'"/proc", ', line)) for line in lines)


class Measuring:
    def __init__(self, bed):
        self._bed = bed
        self._tree = make_tree(bed)

    def _open(self, process, rounds, processes=1, opens=1):
        """Pairs: microseconds from the open to the signal, and of `process`'s CPU for it."""
        lines = self._bed.measure("open-time", NODE, self._tree[ADDRESS].path("enable"), OBJECT, process.pid,
                                  rounds, processes, opens)
        return [(line[0] / 1000, line[1] / 1000) for line in lines]

    def _start(self, kind):
        if kind == "vfwardend":
            return self._bed.start_daemon(self._tree)
        return self._bed.start_bare("bare-opens", self._tree, kind)

    def single(self, kind):
        process = self._start(kind)
        try:
            return self._open(process, WARM_UP + OPENS)[WARM_UP:]
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"{kind} did not tell of an open or a close") from error
        finally:
            process.stop()

    def storm(self):
        """CPU of one open, of STORM by one process, and of one each by STORM processes; and how often all
        processes were walked through in the latter two."""
        process = self._start("vfwardend")
        try:
            cpu = [median(pair[1] for pair in self._open(process, rounds, *how))
                   for rounds, how in ((20, (1, 1)), (3, (1, STORM)), (3, (STORM, 1)))]
            seen = [walks(process.pid, lambda how=how: self._open(process, 1, *how))
                    for how in ((1, STORM), (STORM, 1))]
            return cpu + seen
        finally:
            process.stop()


def measure(build):
    """kind -> number of processes -> pairs; and of the storms."""
    singles = {kind: {count: [] for count in PROCESSES} for kind in ("vfwardend", *BARE)}
    with Bed(build, "mounted", realtime=True) as bed:
        measuring = Measuring(bed)
        for _ in range(ROUNDS):
            for count in PROCESSES:
                with Sleepers(count - OWN_PROCESSES):
                    for kind in singles:
                        singles[kind][count] += measuring.single(kind)
        return singles, measuring.storm()


def report(build, out):
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    text = subprocess.run([*unshare, sys.executable, os.path.abspath(__file__), build], check=True,
                          stdout=subprocess.PIPE).stdout
    singles, (one, same, many, walks_same, walks_many) = json.loads(text)
    few, full = map(str, PROCESSES)

    def result(kind, count, which, percent):
        return percentile([pair[which] for pair in singles[kind][count]], percent)

    for which, what in ((0, "time from the open to InUse"), (1, "CPU time for an open and its close")):
        out.heading(f"An open of a VFIO node, {what}; the reference looks at the opener alone", "us")
        for count in (few, full):
            for percent in (50, 99):
                out.ratio(f"p{percent}, {count} processes", result("vfwardend", count, which, percent),
                          result("opener", count, which, percent))
        out.heading(f"What {PROCESSES[1] - PROCESSES[0]} more processes add; the reference looks at all of them",
                    "us")
        for percent in (50, 99):
            growth = [result(kind, full, which, percent) - result(kind, few, which, percent)
                      for kind in ("vfwardend", "everybody")]
            out.ratio(f"p{percent}", *growth, MOST_GROWTH)

    out.heading(f"{STORM} opens at once, CPU time for each; the reference is one open alone", "us")
    out.ratio("by one process", same / STORM, one, MOST_STORM, 2)
    out.ratio("by as many processes", many / STORM, one, MOST_STORM, 2)
    for what, seen in (("by one process", walks_same), ("by as many processes", walks_many)):
        out.fact(f"walks through /proc, {what}", "strace may not attach" if seen is None else f"{seen}",
                 None if seen is None else seen <= 1)


if __name__ == "__main__":
    make_dev()
    print(json.dumps(measure(sys.argv[1])))
