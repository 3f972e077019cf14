"""Requests through a session of vfwarden-io, against a bare ping-pong of the same sizes over a stream socket.

Needs no bus and no tree. That a request allocates nothing is no figure but a test (tests/integration/io/test_io_process.py);
what is printed of system calls is what makes up the difference."""

import os
import re
import subprocess
import tempfile

from report import median

MOST_MEDIAN = 1.15
MOST_P99 = 1.3
LEAST_IN_FLIGHT = 2
LEAST_BY_BLOCK = 50
MOST_RING = 0.5
ROUNDS = 15
REQUESTS = 20000
COUNTED = 500000


def io_time(build, rounds, requests, tracer=()):
    """What it prints."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        print("    (not allowed to run before others: what they do is in these figures)")
    try:
        return subprocess.run([*tracer, os.path.join(build, "tests", "bench", "io-time"),
                               os.path.join(build, "daemon", "io", "vfwarden-io"), str(rounds), str(requests)],
                              check=True, text=True, stdout=subprocess.PIPE).stdout
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def system_calls(build, requests):
    """Of the client and of the session, which both end."""
    with tempfile.NamedTemporaryFile("r") as file:
        io_time(build, 0, requests, ["strace", "-f", "-c", "-o", file.name])
        return int(re.search(r"^100.00\s.*?(\d+)(?:\s+\d+)? total$", file.read(), re.M).group(1))


def run(build):
    """io-time's lines: a dict from (name, side) to a list of lists of numbers."""
    lines = {}
    for line in io_time(build, ROUNDS, REQUESTS).splitlines():
        name, side, *numbers = line.split()
        lines.setdefault((name, side), []).append([int(n) for n in numbers])
    return lines


def report(build, out, cpus):
    """On the CPU that this process has, but for the ring: its sides spin on two of `cpus`."""
    lines = run(build)

    def middle(name, side, column):
        return median(line[column] for line in lines[name, side])

    out.heading("A request through a session; the reference is a bare ping-pong of its sizes", "us")
    for name, what in (("load-8", "load of 8 bytes"), ("store-4096", "store block of 4 KiB")):
        for column, percent, most in ((0, "median", MOST_MEDIAN), (1, "p99", MOST_P99)):
            out.ratio(f"{what}, {percent}", middle(name, "session", column) / 1000,
                      middle(name, "bare", column) / 1000, most)
        out.ratio(f"{what}, context switches of 1000", middle(name, "session", 2),
                  middle(name, "bare", 2), 1.05)
    flight = middle("in-flight-32", "session", 0) / middle("in-flight-1", "session", 0)
    out.fact("32 requests in flight", f"{flight:.1f} times the rate of one at a time, >= "
             f"{LEAST_IN_FLIGHT}", flight >= LEAST_IN_FLIGHT)
    block = middle("by-block", "session", 0) / middle("by-8", "session", 0)
    out.fact("4 KiB in one store block", f"{block:.0f} times as fast as by 8 bytes, >= "
             f"{LEAST_BY_BLOCK}", block >= LEAST_BY_BLOCK)
    os.sched_setaffinity(0, cpus)
    lines = run(build)
    ring = middle("library-load-8", "ring", 0), middle("library-load-8", "socket", 0)
    out.heading("The library's load of 8 bytes through a ring; the reference is its load over the socket", "us")
    out.ratio("load of 8 bytes, median", ring[0] / 1000, ring[1] / 1000, MOST_RING)
    calls = (system_calls(build, 1000 + COUNTED) - system_calls(build, 1000)) / COUNTED
    out.fact("system calls of both sides", f"{calls:.4f} each load, < 0.02", calls < 0.02)
