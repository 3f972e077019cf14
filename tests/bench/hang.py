"""A property read while operations hang in the kernel, against the same read while none does.

Two daemons see one tree, each on a bus of its own. In one of them an Unbind and an Unplug that insists have
begun, and the file that both write to is a FIFO that takes no more, so that their processes wait in the kernel. Both
daemons are read in turn, call by call; in the next round they change places."""

import os

from report import median, percentile
from fakebus import Polkit
from vfwarden_bus import FUNCTION, NAME, Client, function_path

MOST = 1.1
ROUNDS = 16
WARM_UP = 200
CALLS = 2000
FUNCTIONS = 1024
DRIVER = "vfio-pci"
FREE, HELD = "0000:f0:00.0", "0000:f1:00.0"
ELSEWHERE = "0000:20:00.0"
UNPLUG_TIMEOUT = 600     # seconds: does not pass here
# Whose property is read, and which.
READS = ((ELSEWHERE, "Driver"), (FREE, "Driver"), (HELD, "LockReasons"))


class FullPipe:
    """In the place of a file whose writers shall wait, until it is closed."""

    def __init__(self, path):
        os.unlink(path)
        os.mkfifo(path, 0o200)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def fill(self):
        try:
            while True:
                os.write(self._fd, bytes(65536))
        except BlockingIOError:
            pass

    def close(self):
        """The writers get SIGPIPE."""
        os.close(self._fd)


def hanging(client, address):
    """The process that hangs in an operation on it; 0 without one."""
    for kind, subject, _reason, pid in client.check(address, "bind")[1]:
        if kind == "operation" and subject == address:
            with open(f"/proc/{pid}/wchan", encoding="ascii") as wchan:
                return pid if "pipe" in wchan.read() else 0
    return 0


def wait_hanging(client):
    """Both operations are where they shall be: each look is a call, so this waits for the daemon."""
    for _ in range(10000):
        if all(hanging(client, address) for address in (FREE, HELD)):
            return
    raise RuntimeError("the operations do not hang")


def read_both(bed, calm, busy, path, name):
    """Microseconds of each read, of the calm one and of the busy one."""
    lines = bed.measure("pair-time", NAME, calm.bus.address, busy.bus.address, WARM_UP + CALLS, path,
                        f"{FUNCTION}.{name}")[WARM_UP:]
    return [line[0] / 1000 for line in lines], [line[1] / 1000 for line in lines]


def run_round(bed, tree, calm, busy):
    """A pair of lists for each of READS."""
    pipe = FullPipe(tree.path("bus/pci/drivers", DRIVER, "unbind"))
    processes = [one.start_daemon(tree) for one in (calm, busy)]
    polkit, client = Polkit(busy.bus.address), Client(busy.bus.address)
    polkit.verdicts = {"org.vfwarden1.configure": True, "org.vfwarden1.unplug": True}
    try:
        pipe.fill()
        client.start_function_call(FREE, "Unbind")
        client.start_unplug(HELD, UNPLUG_TIMEOUT, insist=True)
        wait_hanging(client)
        results = [read_both(bed, calm, busy, function_path(address), name)
                   for address, name in READS]
        wait_hanging(client)
        return results
    finally:
        client.close()
        polkit.close()
        for process in reversed(processes):
            process.stop()
        pipe.close()


def report(bed, other, out):
    tree = bed.tree("hang", FUNCTIONS)
    tree.add(FREE, driver=DRIVER)
    tree.add(HELD, driver=DRIVER).write("enable", "1")
    rounds = [run_round(bed, tree, *((bed, other) if number % 2 == 0 else (other, bed)))
              for number in range(ROUNDS)]
    tree.close()

    out.heading("A property read while operations hang in the kernel; the reference is without", "us")
    for i, (address, name) in enumerate(READS):
        what = f"{name} of {'a function that hangs' if address != ELSEWHERE else 'another function'}"
        for percent, most in ((50, None), (99, MOST)):
            calm, busy = (median(percentile(one[i][side], percent) for one in rounds)
                          for side in (0, 1))
            out.ratio(f"p{percent}, {what}", busy, calm, most)
