"""A property read, against an empty call of the same object of the same process on the same bus.

Time is that of the whole way there and back, as the caller waits for it; the daemon's own part of it
is printed besides. That no file is touched is seen by strace, which is shown to see such calls, with functions
of which none is bound to VFIO: of those the daemon reads `enable` now and then, without a reader of properties."""

import re
import shutil
import signal
import subprocess
import tempfile
import time

from report import median
from vfwarden_bus import FUNCTION, NAME, PHYSICAL, Client, function_path

MOST = 1.3
ROUNDS = 40
CALLS = 500
FUNCTIONS = 1024
PLAIN_FUNCTIONS = 15
# One of each kind: a string, a computed string, a number, an array, an array of paths.
PROPERTIES = (f"{FUNCTION}.Driver", f"{FUNCTION}.Address", f"{FUNCTION}.VendorId",
              f"{FUNCTION}.LockReasons", f"{PHYSICAL}.VirtualFunctions")
# All that takes a path, and reading by descriptor.
FILE_CALLS = "%file,read,pread64,readv,preadv,getdents64"


def traced(process, work):
    """What strace saw of FILE_CALLS while work() ran: a dict from call to number; None if it
    cannot be had."""
    if not shutil.which("strace"):
        return None
    with tempfile.NamedTemporaryFile("r") as output:
        # Its first line on standard error tells that it is attached.
        strace = subprocess.Popen(["strace", "-f", "-c", f"-etrace={FILE_CALLS}", "-p",
                                   str(process.pid), "-o", output.name],
                                  stderr=subprocess.PIPE, text=True)
        try:
            if "attached" not in strace.stderr.readline():
                return None
            work()
        finally:
            strace.send_signal(signal.SIGINT)
            strace.wait()
            strace.stderr.close()
        rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) .*?(\w+)$", output.read(), re.MULTILINE)
    return {name: int(calls) for calls, name in rows if name != "total"}


def report_files(bed, out):
    tree = bed.tree("plain", PLAIN_FUNCTIONS)
    address = "0000:00:01.0"
    process = bed.start_daemon(tree)
    client = Client(bed.bus.address)
    reads = 1000
    # By the first call of a client the daemon reads the name of its process.
    client.function(address, "Driver")

    def read_all():
        for _ in range(reads):
            client.function(address, "Driver")

    def event():
        tree.change(tree[address])
        time.sleep(0.2)     # whatever it does within this time is proof enough that strace sees it

    try:
        during_reads, during_event = traced(process, read_all), traced(process, event)
    finally:
        client.close()
        process.stop()
        tree.close()
    if during_reads is None or not during_event:
        out.fact("files touched by reads", "not seen: strace is not there or may not attach")
        return
    out.fact(f"files touched by {reads} reads", f"{sum(during_reads.values())} system calls with a "
             f"path or reading a file; a uevent, seen alike: {sum(during_event.values())}",
             not during_reads)


def report(bed, out):
    tree = bed.tree("calls", FUNCTIONS)
    address = "0000:20:00.0"
    process = bed.start_daemon(tree)
    try:
        lines = bed.measure("call-time", NAME, process.pid, ROUNDS, CALLS, function_path(address),
                            *PROPERTIES)
        kinds = 1 + len(PROPERTIES)
        results = [[median(line[i] for line in lines[kind::kinds]) / 1000 for i in (0, 1)]
                   for kind in range(kinds)]
        ping = results[0]
        out.heading("A property read over the bus; the reference is Ping of the same object", "us")
        for name, result in zip(PROPERTIES, results[1:]):
            out.ratio("round trip, " + name.rsplit(".", 1)[1], result[0], ping[0], MOST)
        for name, result in zip(PROPERTIES, results[1:]):
            out.ratio("the daemon's own CPU, " + name.rsplit(".", 1)[1], result[1], ping[1])
    finally:
        process.stop()
        tree.close()
    report_files(bed, out)
