"""From a uevent to PropertiesChanged, against a bare monitor that answers each with a signal."""

from report import median, percentile

MOST = 2
ROUNDS = 31
WARM_UP = 50
EVENTS = 500
FUNCTIONS = 16
ADDRESS = "0000:00:01.0"


def report(bed, out):
    tree = bed.tree("latency", FUNCTIONS)
    daemon, bare = [], []
    for _ in range(ROUNDS):
        for start, samples in ((lambda: bed.start_bare("bare-monitor", tree), bare),
                               (lambda: bed.start_daemon(tree), daemon)):
            process = start()
            try:
                times = bed.measure("uevent-time", tree.monitor, tree.root,
                                    tree[ADDRESS].devpath, WARM_UP + EVENTS)
                samples.append([line[0] / 1000 for line in times[WARM_UP:]])
            finally:
                process.stop()
    tree.close()

    out.heading("uevent to PropertiesChanged; the reference is a bare libudev monitor that sends a "
                "signal", "us")
    for percent, most in ((50, None), (90, None), (99, MOST)):
        # Of each round, then the middle one of these: a burst of other work is in few rounds.
        out.ratio(f"p{percent}", median(percentile(s, percent) for s in daemon),
                  median(percentile(s, percent) for s in bare), most)
