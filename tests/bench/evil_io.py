"""What bystanders wait for while processes vfwarden-io that were taken over flood the daemon with reports.

Each says that its session is served, and then reports without end. The daemon ends it at the first report that nobody asked
for, and the next one is started. The reference is the same wait while there is none."""

import os
import shutil
import tempfile
import time

from gi.repository import GLib

from floods import Child, Peak
from reachable import reachable
from vfwarden_bus import BusError, Client, function_path

MOST_SECONDS = 1
MOST_GROWTH = 16
SECONDS = 6
FUNCTIONS = 2000
EVIL, ADDRESS = "0000:00:01.0", "0000:00:02.0"
OTHER = 1


def make_program():
    """A copy that bears the name of what it stands for."""
    directory = tempfile.mkdtemp(prefix="vfwarden-bench-")
    os.chmod(directory, 0o755)
    path = os.path.join(directory, "vfwarden-io")
    shutil.copy(reachable(os.path.join(os.path.dirname(os.path.abspath(__file__)), "flooding-io.py")), path)
    return directory, path


def open_sessions(client, seconds):
    """One after the other, as fast as they are ended. Returns how many there were."""
    end, n = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        call = client.bus.start_call(function_path(EVIL), "org.vfwarden1.ZpciIo", "OpenSession", "(a{sv})", ({},),
                                     with_fds=True)
        try:
            call.result(60)
            n += 1
        except BusError:        # the last one has not ended
            GLib.MainContext.default().iteration(False)
        for fd in call.fds or ():
            os.close(fd)
    return n


def bystand(bed, work):
    """The worst waits, in seconds, of another user and of root, and what `work` returns."""
    others = [Child(bed, "bystander", "org.vfwarden1", uid, ADDRESS) for uid in (OTHER, 0)]
    result = work()
    return [child.end()[2] / 1e9 for child in others], result


def report(bed, out):
    tree = bed.tree("evil-io", FUNCTIONS)
    directory, program = make_program()
    process = bed.start_daemon(tree, f"--io-program={program}", "--io-user=nobody",
                               configuration=f"[Io]\nEmulatedFunctions={EVIL}\n")
    client = Client(bed.bus.address)
    try:
        quiet, _ = bystand(bed, lambda: time.sleep(SECONDS))
        before, cpu, peak = process.resident() / 2**20, process.cpu(), Peak(process)
        waits, n = bystand(bed, lambda: open_sessions(client, SECONDS))
        out.heading("Check while vfwarden-io floods the daemon with reports; the reference is without", "us")
        for who, wait, reference in zip(("another user's", "root's"), waits, quiet):
            out.ratio(f"{who} worst wait", wait * 1e6, reference * 1e6)
            out.fact(f"    in all, below {MOST_SECONDS} s", f"{wait:.3f} s", wait < MOST_SECONDS)
        growth = peak.read() - before
        out.fact(f"memory, by at most {MOST_GROWTH} MiB", f"{growth:.1f} MiB", growth <= MOST_GROWTH)
        out.fact("sessions that flooded", f"{n}, {(process.cpu() - cpu) / SECONDS:.0%} of a CPU")
    finally:
        client.close()
        process.stop()
        tree.close()
        shutil.rmtree(directory, ignore_errors=True)
