"""What bystanders wait for while one unprivileged user floods the daemon with calls, on a host with 2,000 functions.

The flood has as many connections as the bus admits for one user, and on each as many calls pending as the bus allows.
The reference is a bare service that answers everything with nothing, in the same flood. Bystanders are `Check` by
another user, `Check` by root, each time on a new connection, and libvirt's hook for a domain with four functions. The
bus has no systemd, so the hook ends when it has the daemon's answer, which is of no use to it from the bare service. A
flooder who does not read is waited for until the bus holds all that it may."""

import contextlib
import os
import subprocess
import threading
import time

from vfwarden_bus import Client, wait_until

MOST = 2
DEADLINE = 300
MOST_SECONDS = 1
MOST_GROWTH = 16
FUNCTIONS = 2000
SECONDS = 6
FLOODER, OTHER = 65534, 1
# max_connections_per_user and max_replies_per_connection of dbus-daemon.
CONNECTIONS, DEPTH = 256, 128
ADDRESS = "0000:00:01.0"
HOOK_FUNCTIONS = 4

ROOT, FUNCTION = "/org/vfwarden1", "/org/vfwarden1/function/_30000_3a00_3a01_2e0"
MANAGER, STANDARD = "org.vfwarden1.Manager", "org.freedesktop.DBus."
# name, mode, descriptors, path, interface, member, arguments
FLOODS = (
    ("Ping", "read", 0, ROOT, STANDARD + "Peer", "Ping"),
    ("Ping, no reply wanted", "noreply", 0, ROOT, STANDARD + "Peer", "Ping"),
    ("GetAll", "read", 0, FUNCTION, STANDARD + "Properties", "GetAll", "org.vfwarden1.Function"),
    ("GetAll, answers not read", "noread", 0, FUNCTION, STANDARD + "Properties", "GetAll", "org.vfwarden1.Function"),
    ("Introspect", "read", 0, FUNCTION, STANDARD + "Introspectable", "Introspect"),
    ("Introspect, answers not read", "noread", 0, FUNCTION, STANDARD + "Introspectable", "Introspect"),
    ("Introspect of all functions' folder", "read", 0, ROOT + "/function", STANDARD + "Introspectable", "Introspect"),
    ("Check", "read", 0, ROOT, MANAGER, "Check", ADDRESS, "open"),
    ("GetManagedObjects", "read", 0, ROOT, STANDARD + "ObjectManager", "GetManagedObjects"),
    ("GetManagedObjects, answers read slowly", "slow", 0, ROOT, STANDARD + "ObjectManager", "GetManagedObjects"),
    ("GetManagedObjects, answers not read", "noread", 0, ROOT, STANDARD + "ObjectManager", "GetManagedObjects"),
    ("Describe", "read", 0, ROOT, MANAGER, "Describe"),
    ("ListFunctions", "read", 0, ROOT, MANAGER, "ListFunctions"),
    ("ListInhibitors with 16 descriptors", "read", 16, ROOT, MANAGER, "ListInhibitors"),
    ("Lock", "read", 0, FUNCTION, "org.vfwarden1.Function", "Lock", "why"),
)

HOSTDEVS = "".join(
    f"""<hostdev mode='subsystem' type='pci' managed='yes'><source>
<address domain='0x0' bus='0x0' slot='{slot:#x}' function='0x0'/></source></hostdev>"""
    for slot in range(1, 1 + HOOK_FUNCTIONS))
DOMAIN = f"""<domain type='kvm'><uuid>c7a5fdbd-cdaf-9455-926a-d65c16db1809</uuid>
<devices>{HOSTDEVS}</devices></domain>"""


class Child:
    """A program that runs until its standard input is closed; end() returns the numbers of its last line."""

    def __init__(self, bed, name, *arguments):
        self._process = subprocess.Popen([bed.program(name), *map(str, arguments)], text=True, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, env=bed.environment())

    def line(self):
        return [int(word) for word in self._process.stdout.readline().split()]

    def end(self):
        self._process.stdin.close()
        numbers = self.line()
        self._process.stdout.close()
        self._process.wait()
        return numbers


class Peak(threading.Thread):
    """The most memory that a process had, in MiB, until it is read."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self._process = process
        self._end = threading.Event()
        self._most = 0
        self.start()

    def run(self):
        while not self._end.wait(0.02):
            self._most = max(self._most, self._process.resident())

    def read(self):
        self._end.set()
        self.join()
        return self._most / 2**20


@contextlib.contextmanager
def flooding(bed, flood):
    """Yields once the flood has all its connections."""
    _, mode, descriptors, *call = flood
    child = Child(bed, "flood", bed.bus.address.removeprefix("unix:path="), FLOODER, CONNECTIONS, DEPTH, mode,
                  descriptors, *call)
    child.line()
    try:
        yield
    finally:
        child.end()


def wait_for_name(bed):
    """Until the bus has passed on what is left of the flood, a service that has ended keeps its name."""
    client = Client(bed.bus.address)
    try:
        wait_until(lambda: client.bus.name_owner() is None, DEADLINE, "the name to be free")
    finally:
        client.close()


def run_hook(bed):
    """Seconds that the hook takes; without systemd on the bus it cannot leave a guard behind, and ends."""
    begin = time.monotonic()
    subprocess.run([os.path.join(bed.build, "cli", "vfwarden"), "libvirt-hook", "--unguarded=allow", "--", "web1", "prepare",
                    "begin", "-"], input=DOMAIN, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env=bed.environment(), check=False)
    return time.monotonic() - begin


def bystand(bed, seconds):
    """The worst waits, in seconds: of another user, of root, and of the hook; and the number of calls that failed."""
    others = [Child(bed, "bystander", "org.vfwarden1", uid, ADDRESS) for uid in (OTHER, 0)]
    hook = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        hook = max(hook, run_hook(bed))
        time.sleep(0.2)
    results = [child.end() for child in others]
    return [result[2] / 1e9 for result in results] + [hook], sum(result[1] for result in results)


def measure(bed, process, flood):
    before = process.resident() / 2**20
    peak = Peak(process)
    with flooding(bed, flood):
        waits, failed = bystand(bed, SECONDS)
    return waits, failed, peak.read() - before


def wait_for_rest(process):
    """READY=1 comes before the daemon has looked at all functions and processes."""
    before = -1
    while process.cpu() - before > 0.01:
        before = process.cpu()
        time.sleep(0.5)


def report_flood(bed, out, tree, flood):
    bare = bed.start_bare("bare-service", tree, "org.vfwarden1")
    try:
        reference, _, _ = measure(bed, bare, flood)
    finally:
        bare.stop()
    wait_for_name(bed)
    daemon = bed.start_daemon(tree)
    try:
        wait_for_rest(daemon)
        quiet, _ = bystand(bed, 1)
        waits, failed, growth = measure(bed, daemon, flood)
    finally:
        daemon.stop()
    wait_for_name(bed)
    out.heading(f"Worst waits while one user floods with: {flood[0]}", "ms")
    names = ("Check of another user", "Check of root", "libvirt's hook")
    for name, wait, one in zip(names, waits, reference):
        out.ratio(name, 1000 * wait, 1000 * one, MOST)
    for name, wait, one in zip(names, waits, quiet):
        out.ratio(name + ", reference: no flood", 1000 * wait, 1000 * one)
    out.fact("worst wait of all", f"{1000 * max(waits):.0f} ms, target {1000 * MOST_SECONDS}", max(waits) < MOST_SECONDS)
    out.fact("calls of bystanders that failed", str(failed), failed == 0)
    out.fact("memory grows by", f"{growth:.1f} MiB, target {MOST_GROWTH}", growth <= MOST_GROWTH)


def report(bed, out):
    tree = bed.tree("floods", FUNCTIONS)
    only = os.environ.get("VFWARDEN_FLOOD")
    try:
        for flood in FLOODS:
            if not only or only == flood[0]:
                report_flood(bed, out, tree, flood)
    finally:
        tree.close()
