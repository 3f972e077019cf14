"""`Check` on a host full of functions, against the same question where nothing else is there.

The rule by itself is called in a loop, without a bus; over the bus the whole way there and back is measured, as the
caller waits for it, with Ping besides."""

from report import median
from vfwarden_bus import NAME, Client, function_path, wait_until

# That it does not grow; what is above 1 is the processor's caches and noise.
MOST_GROWTH = 1.1
PFS, VFS, PLAIN = 150, 64, 250
# 1,365 functions each.
TREES, BRANCHES = 8, 4
BRIDGE_QUESTIONS = ("remove of the root port, refused from below", "reset of a bridge at the third level, refused",
                    "power-off at the fifth level, refused", "unbind of the function in use, refused",
                    "remove of its free sibling, allowed")
ADDRESS = "0000:01:00.0"
RULE_ROUNDS, RULE_CALLS = 40, 300
ROUNDS, BLOCKS, CALLS = 5, 8, 200
DEADLINE = 60
OPERATION = "set-num-vfs"


def report_rule(bed, out):
    lines = bed.measure("check-time", PFS, VFS, PLAIN, RULE_ROUNDS, RULE_CALLS)
    names = (f"set-num-vfs, refused by {VFS} VFs", f"unbind, refused by {VFS} VFs", "open, refused",
             "set-num-vfs, allowed")
    out.heading(f"The rule alone, {PFS} PFs with {VFS} VFs each, {PLAIN} others; the reference is one PF alone",
                "us")
    for i, name in enumerate(names):
        small, large, turns = (median(line[k] for line in lines[i::len(names)]) / 1000
                               for k in range(3))
        out.ratio(name, large, small, MOST_GROWTH, 2)
        out.ratio("    each PF in turn", turns, small, None, 2)


def report_bridges(bed, out):
    """Trees of bridges six levels deep, with one function in use in each."""
    (alone, all_of_them), *lines = bed.measure("tree-time", TREES, BRANCHES, RULE_ROUNDS, RULE_CALLS)
    out.heading(f"The rule alone, {all_of_them} functions in {TREES} trees of bridges six levels deep; the reference is one "
                f"tree with {alone}", "us")
    for i, name in enumerate(BRIDGE_QUESTIONS):
        small, large = (median(line[k] for line in lines[i::len(BRIDGE_QUESTIONS)]) / 1000 for k in range(2))
        out.ratio(name, large, small, MOST_GROWTH, 2)


def make_tree(bed, name, pfs, plain):
    tree = bed.tree(name, 0)
    for i in range(pfs):
        tree.add_pf(f"{i >> 6:04x}:{(i & 63) * 3 + 1:02x}:00.0", total=VFS, vfs=VFS, vf_driver="vfio-pci")
    for i in range(plain):
        tree.add(f"0100:{i:02x}:00.0", driver="igb")
    return tree


def measure(bed, tree):
    """Microseconds of waiting for Ping and for Check when it is allowed, then when it is refused because all
    VFs are in use."""
    for vf in tree[ADDRESS].vfs:
        vf.write("enable", "0")
    process = bed.start_daemon(tree)
    client = Client(bed.bus.address)

    def call():
        lines = bed.measure("call-time", NAME, process.pid, BLOCKS, CALLS, function_path(ADDRESS),
                            f"{ADDRESS} {OPERATION}")
        return [median(line[0] for line in lines[kind::2]) / 1000 for kind in (0, 1)]

    def wait_refused(blockers):
        wait_until(lambda: len(client.check(ADDRESS, OPERATION)[1]) == blockers, DEADLINE,
                   f"{blockers} blockers")

    try:
        wait_refused(0)
        allowed = call()
        for vf in tree[ADDRESS].vfs:
            vf.write("enable", "1")
        wait_refused(VFS)
        return allowed + call()
    finally:
        client.close()
        process.stop()


def report(bed, out):
    report_rule(bed, out)
    report_bridges(bed, out)
    trees = make_tree(bed, "alone", 1, 0), make_tree(bed, "full", PFS, PLAIN)
    rounds = [[measure(bed, tree) for tree in trees] for _ in range(ROUNDS)]
    for tree in trees:
        tree.close()

    def result(side, kind):
        return median(one[side][kind] for one in rounds)

    out.heading(f"Check over the bus; the reference is a daemon that knows nothing but the PF and its {VFS} VFs",
                "us")
    for name, kind, most in (("Ping", 0, None), ("Check, allowed", 1, MOST_GROWTH),
                             (f"Check, refused by {VFS} VFs", 3, MOST_GROWTH)):
        out.ratio(name, result(1, kind), result(0, kind), most)
