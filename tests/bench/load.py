"""`Load` over D-Bus with the emulated back end, in a run of them, against an empty call of the same object.

The first of a run opens the device, in processes of its own; here is what the others cost. They are allowed by the
answer of the first, as long as that is remembered; polkit is not there, which makes the one that is asked for again each
second cheaper than it would be."""

import os

from reachable import reachable
from report import median
from vfwarden_bus import NAME, function_path

MOST = 2
ROUNDS = 40
CALLS = 500
ADDRESS = "0000:00:01.0"


def report(bed, out):
    tree = bed.tree("load", 1)
    program = reachable(os.path.join(bed.build, "daemon", "io", "vfwarden-io"))
    process = bed.start_daemon(tree, f"--io-program={program}", "--io-user=nobody",
                               configuration=f"[Io]\nEmulatedFunctions={ADDRESS}\n")
    try:
        lines = bed.measure("call-time", NAME, process.pid, ROUNDS, CALLS, function_path(ADDRESS),
                            "Load")
        ping, load = ([median(line[i] for line in lines[kind::2]) / 1000 for i in (0, 1)]
                      for kind in (0, 1))
        out.heading("Load over D-Bus, in a run; the reference is Ping of the same object", "us")
        out.ratio("round trip", load[0], ping[0], MOST)
        out.ratio("the daemon's own CPU", load[1], ping[1])
    finally:
        process.stop()
        tree.close()
