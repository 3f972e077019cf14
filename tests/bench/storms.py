"""What one unprivileged user does to a program that looks at processes: how long the event loop works at a time, what a
bystander waits for an answer, and what memory it takes, as ratios to the same without a storm.

The daemon is started in the storm, and a function that is open without a process makes it look at all processes again
and again. The storms are those of tests/integration/support/tenant.c; what waits for a FUSE file system is a test there, not a
figure."""

import json
import os
import resource
import subprocess
import time

from vfwarden_bus import Client

SECONDS = 8
FUNCTIONS = 200
ADDRESS = "0001:00:00.0"
NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}
MOST_TURN = 20          # ms
MOST_GROWTH = 16        # MiB
DESCRIPTORS = min(524288, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
OWN = 8 * 524288 // DESCRIPTORS
STORMS = (
    ("nothing", ()),
    (f"40 processes that share a table of {DESCRIPTORS} descriptors", ("table", DESCRIPTORS, 40, "shared")),
    (f"{OWN} processes with tables of {DESCRIPTORS} descriptors of their own", ("table", DESCRIPTORS, OWN, "own")),
    ("600 processes", ("hold", 0, 600, 1)),
    ("600 processes with 1,000 copies of a descriptor each", ("hold", 0, 600, 1000)),
    ("1,500 processes", ("hold", 0, 1500, 1)),
    ("40 processes with 10,000 sockets each, in the last of which a descriptor waits", ("sockets", 10000, 40)),
    ("1,500 processes with a socket each, in which a descriptor waits", ("sockets", 2, 1500)),
)


class Tenant:
    """One who is at it. A context manager."""

    def __init__(self, bed, arguments):
        program = os.path.join(bed.build, "tests", "integration", "support", "tenant")
        self._process = arguments and subprocess.Popen(
            [program, *map(str, arguments)], stdout=subprocess.PIPE, cwd="/", **NOBODY)

    def __enter__(self):
        if self._process and self._process.stdout.readline() != b"ready\n":
            raise RuntimeError("the storm did not begin")
        return self

    def __exit__(self, *_):
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return sum(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024


def scanners(daemon):
    """The process that looks at others for it."""
    with open(f"/proc/{daemon}/task/{daemon}/children", encoding="ascii") as file:
        for pid in file.read().split():
            with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                if comm.read() == "vfwarden-scan\n":
                    yield int(pid)


def cpu_of(pid):
    """In ns."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0])


def search(client, daemon):
    """The processor's time, in ns, that the scanner takes until a daemon that has just started knows the users. It walks
    twice where descriptors wait in sockets."""
    while any(user.get("unknown") for user in client.manager("DescribeUsers", "(s)", ADDRESS)):
        time.sleep(0.002)
    return sum(map(cpu_of, scanners(daemon)))


def measure(bed, tree, arguments):
    """Start and worst answer in ms, the longest turn by the clock and the processor in ms, memory in MiB, and the processor's
    time of the first search and of a bare walk of the same /proc in ms."""
    tree[ADDRESS].write("enable", "1")
    with Tenant(bed, arguments):
        begin = time.monotonic()
        process = bed.start_daemon(tree)
        start = time.monotonic() - begin
        client = Client(bed.bus.address)
        try:
            found = search(client, process.pid) / 1e6
            bare = bed.measure("bare-opens", "walk")[0][0] / 1e6
            worst, memory = 0, 0
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                asked = time.monotonic()
                client.ping()
                worst = max(worst, time.monotonic() - asked)
                memory = max(memory, resident(process.pid))
                time.sleep(0.002)
            scanner = sum(map(resident, scanners(process.pid)))
            told = json.loads(client.manager("Describe"))
            return start * 1000, worst * 1000, told["LongestTurn"] / 1000, told["LongestTurnCpu"] / 1000, memory, scanner, \
                found, bare
        finally:
            client.close()
            process.stop()


def report(bed, out):
    tree = bed.tree("storms", FUNCTIONS)
    tree.add(ADDRESS, driver="vfio-pci")
    calm = None
    for name, arguments in STORMS:
        found = measure(bed, tree, arguments)
        calm = calm or found
        out.heading(f"Storm of {name}; the reference is no storm", "ms")
        for what, value, reference in zip(("until READY=1", "worst answer", "longest turn", "of it the daemon's own"),
                                          found, calm):
            out.ratio(what, value, reference, None, 2)
        out.ratio("processor's time until the users are known, against a bare walk of /proc", found[6], found[7], None, 1)
        out.fact("longest turn by the processor's time", f"{found[3]:.1f} ms", found[3] <= MOST_TURN)
        out.fact("memory of the daemon", f"{found[4]:.1f} MiB, {found[4] - calm[4]:+.1f}",
                 found[4] - calm[4] <= MOST_GROWTH)
        out.fact("memory of the scanner", f"{found[5]:.1f} MiB")
    tree.close()
