"""Cold start: CPU time and memory until READY=1, against a walk that reads the same.

What a start costs whatever the number of functions is seen on trees with none (the process, its
libraries, the bus) and with one (the same, and pci.ids, which is read for the first name). The
latter is taken off, on both sides, to have the cost per function; the whole start is printed as
well."""

from report import median

NONE, ONE = 0, 1
COUNTS = (16, 100, 1000, 10000)
MOST_PER_FUNCTION = 2
MOST_GROWTH = 1.2
MOST_RESIDENT_MB = 25


def run_once(start):
    """CPU time in microseconds and resident bytes."""
    process = start()
    try:
        return process.start_cpu * 1e6, process.resident()
    finally:
        process.stop()


def repetitions(count):
    """In one round. The small ones are over in milliseconds and shake more."""
    return 1 if count > 1000 else 3 if count > 100 else 8


def measure(bed, trees, rounds):
    """count -> CPU time and resident memory of the daemon, and of the walk."""
    daemon, bare = {c: [] for c in trees}, {c: [] for c in trees}
    # One round over all sizes after the other: a busy minute of the machine touches all of them.
    for number in range(rounds + 1):
        for count, tree in trees.items():
            for _ in range(repetitions(count)):
                pair = (run_once(lambda: bed.start_bare("bare-walk", tree)),
                        run_once(lambda: bed.start_daemon(tree)))
                if number > 0:      # the first is for the caches
                    bare[count].append(pair[0])
                    daemon[count].append(pair[1])

    # The least CPU time, for others on the machine can but add to it, by way of the caches.
    def results(runs):
        return {count: (min(run[0] for run in runs[count]), median(run[1] for run in runs[count]))
                for count in runs}
    return results(daemon), results(bare)


def report(bed, out, rounds, largest):
    counts = [count for count in COUNTS if count <= largest]
    trees = {count: bed.tree(f"cold-{count}", count) for count in (NONE, ONE, *counts)}
    daemon, bare = measure(bed, trees, rounds)
    for tree in trees.values():
        tree.close()

    def per_function(runs, count):
        return (runs[count][0] - runs[ONE][0]) / (count - ONE)

    out.heading("Cold start: CPU time until READY=1; the reference is a bare libudev walk", "us")
    for count in (NONE, ONE, *counts):
        out.ratio(f"whole start, {count} functions", daemon[count][0], bare[count][0])
    for count in counts:
        out.ratio(f"per function beyond the first, of {count}", per_function(daemon, count),
                  per_function(bare, count), MOST_PER_FUNCTION, 2)
    if largest < 10000:
        return
    out.heading("Cold start: cost per function at 10000 against that at 1000 (columns 1 and 2)",
                "us")
    out.ratio("vfwardend", per_function(daemon, 10000), per_function(daemon, 1000), MOST_GROWTH, 2)
    out.ratio("the bare walk, for comparison", per_function(bare, 10000), per_function(bare, 1000),
              None, 2)
    out.heading("Resident memory after READY=1", "MB")
    for count in (ONE, *counts):
        out.ratio(f"{count} functions", daemon[count][1] / 1e6, bare[count][1] / 1e6)
    megabytes = daemon[10000][1] / 1e6
    out.fact("10000 functions", f"{megabytes:.1f} MB  target <= {MOST_RESIDENT_MB} MB",
             megabytes <= MOST_RESIDENT_MB)
