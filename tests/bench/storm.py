"""256 VFs come and go as fast as their events can be sent: is anything lost, and what does it cost?

The reference is the bare monitor, which sends one signal for each event; the daemon reads each
function anew, and says all there is to be said of it. Under umockdev two thirds of the system calls
for each VF are its preload's, four around each file that is opened below a directory. The daemon opens
such files and the bare monitor does not. What the daemon costs on a host is the figure with the tree
mounted."""

from gi.repository import GLib

from report import median
from object_picture import Picture
from vfwarden_bus import FUNCTION, PHYSICAL, Client, function_path, wait_until

MOST = 3
ROUNDS = 5
VFS = 256
ADDRESS = "0000:03:00.0"
DEADLINE = 60


def storm(tree, pf, settled):
    """Yields the CPU time that `settled` returns once the VFs are there, and once they are gone."""
    tree.enable_vfs(pf, VFS)
    yield settled(VFS)
    tree.disable_vfs(pf)
    yield settled(0)


def run_bare(bed, tree, pf):
    process = bed.start_bare("bare-monitor", tree)

    def settled(_):
        # It waits for nothing but events, so it is done when its CPU time stands still.
        before = -1.0
        while (now := process.cpu()) != before:
            before = now
            GLib.usleep(100000)
        return now

    try:
        start = process.cpu()
        there, gone = storm(tree, pf, settled)
        return there - start, gone - there
    finally:
        process.stop()


def run_daemon(bed, tree, pf, trouble):
    process = bed.start_daemon(tree)
    client = Client(bed.bus.address)
    path = function_path(ADDRESS)
    try:
        picture = Picture(client)

        def settled(count):
            wait_until(lambda: picture.objects[path][PHYSICAL]["NumVFs"] == count and
                       len(picture.objects[path][PHYSICAL]["VirtualFunctions"]) == count and
                       picture.manager["FunctionCount"] == 1 + count,
                       DEADLINE, f"the picture with {count} VFs")
            client.ping()       # all it was going to say is said before the answer
            return process.cpu()

        start = process.cpu()
        there, gone = storm(tree, pf, settled)
        trouble += picture.compare()
        # A VF is announced before it has its link to the PF: it may be announced first as a plain
        # function and then once more, when it gets the interface of a VF.
        counts = [sum(FUNCTION in s.args[1] for s in client.recorder.since(member=name))
                  for name in ("InterfacesAdded", "InterfacesRemoved")]
        return there - start, gone - there, *counts, len(client.recorder.signals)
    finally:
        client.close()
        process.stop()


def report(bed, out):
    tree = bed.tree("storm", 0)
    pf = tree.add_pf(ADDRESS, total=VFS)
    trouble, daemon, bare = [], [], []
    for _ in range(ROUNDS):
        bare.append(run_bare(bed, tree, pf))
        daemon.append(run_daemon(bed, tree, pf, trouble))
    tree.close()

    out.heading(f"A storm of {VFS} VFs; the reference is the bare monitor, one signal an event",
                "us/VF")
    for i, what in enumerate(("added", "removed")):
        out.ratio(f"CPU for each VF {what}", median(run[i] for run in daemon) * 1e6 / VFS,
                  median(run[i] for run in bare) * 1e6 / VFS, MOST)
    for i, what in enumerate(("added", "removed"), 2):
        counts = sorted({run[i] for run in daemon})
        out.fact(f"objects {what} in each of {ROUNDS} storms", f"{counts}", counts == [VFS])
    out.fact("signals in all, in each", f"{sorted(run[4] for run in daemon)}")
    out.fact("picture by signals alone against the daemon's",
             "equal" if not trouble else "; ".join(trouble[:5]), not trouble)
