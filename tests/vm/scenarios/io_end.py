"""How the processes of I/O end: with their clients, by what they must not do, and for another request."""

import errno
import os
import pathlib
import re
import select
import signal
import time

import pace
import vfwarden_bus as vb

from guest import pci
from guest.check import contains, equal, raises, true
from guest.holder import Holder
from guest.intruder import make_call
from guest.io_client import IoClient
from guest.pci import IGB
from guest.registry import scenario
from guest.vfio import igb_vfs, wait_free, wait_users
from scenarios.io import LENGTH, allow

MEMORY = 64 << 20
# What is promised is 100 ms. Nothing of the emulated machine's is that fast at all times: the integration tests hold it to
# that, and this to what is no matter of waiting for something: an order that is not obeyed takes 5 s.
GONE_SECONDS = 4
SYS_SOCKET = 41     # of x86-64


def io_pids():
    return [int(path.parent.name) for path in pathlib.Path("/proc").glob("[0-9]*/comm") if pci.read(path) == "vfwarden-io"]


def shared_memory():
    """Bytes of memfds and the like, of all processes."""
    return int(re.search(r"^Shmem: +(\d+) kB", pathlib.Path("/proc/meminfo").read_text(), re.MULTILINE)[1]) << 10


def wait_end(pidfd, what, seconds=30):
    seconds *= pace.SCALE
    true(select.select([pidfd], [], [], seconds)[0], f"{what} has ended within {seconds:.0f} s")


@scenario("the client is killed: process, memory and device go at once, and the function is free for the next")
def client_gone(machine):
    vf, = igb_vfs(machine)
    allow(machine)
    for turn in range(3):
        before = shared_memory()
        client = IoClient(machine)
        client.open(vf)
        client.map(MEMORY)
        true(shared_memory() - before >= MEMORY // 2, "the client's memory is there")
        equal(pci.read(vf.path("enable")), "1", "the count of who has the device open")
        pid, = io_pids()
        pidfd = os.pidfd_open(pid)
        start = time.monotonic()
        os.kill(client.pid, signal.SIGKILL)
        wait_end(pidfd, "its process")
        seconds = time.monotonic() - start
        os.close(pidfd)
        # By the time a process has ended, all that it alone had open is closed.
        equal(pci.read(vf.path("enable")), "0", "the count afterwards")
        true(shared_memory() - before < MEMORY // 2, "the client's memory is gone")
        print(f"the client's end, then that of its process: {seconds * 1000:.0f} ms", flush=True)
        true(seconds < GONE_SECONDS * pace.SCALE, f"turn {turn}: it took {seconds:.3f} s")
        client.process.wait()
        wait_free(machine, vf)


@scenario("a system call that is not in the list kills the process alone: its client hears of it, the journal says why, "
          "another session misses nothing, the function is free")
def forbidden_call(machine):
    one, other = igb_vfs(machine, 2)
    allow(machine)
    client, bystander = IoClient(machine), IoClient(machine)
    client.open(one)
    pid, = io_pids()
    bystander.open(other)
    bystander.read_for_ever(0, 0, LENGTH)
    before = bystander.progress()
    daemon = machine.daemon.pid()
    pidfd = os.pidfd_open(pid)

    make_call(pid, SYS_SOCKET)
    wait_end(pidfd, "the process")
    os.close(pidfd)
    equal(raises(OSError, lambda: client.read(0, 0, LENGTH), "a read afterwards").errno, errno.ECONNRESET,
          "what its client sees")
    wait_free(machine, one)
    machine.wait(lambda: [entry for entry in machine.journal.of_daemon() if "SIGSYS" in entry["MESSAGE"]],
                 "the journal to say why")
    entry, = [entry for entry in machine.journal.of_daemon() if "SIGSYS" in entry["MESSAGE"]]
    contains(entry["MESSAGE"], "a system call that it must not make", "what the journal says")
    equal(entry["VFWARDEN_ADDRESS"], one.address, "of which function")
    equal(machine.daemon.pid(), daemon, "the daemon goes on")
    client.open(one)
    client.read(0, 0, LENGTH)

    after = bystander.progress()
    count, error = bystander.stop()
    equal((before < after < count, error), (True, 0), f"reads of the other: {before}, {after}, {count}")
    for each in client, bystander:
        each.end_session()
    for function in one, other:
        wait_free(machine, function)


@scenario("a VF is unplugged under a client that keeps its socket: the VF is free, and has another session", deadline=120)
def socket_kept(machine):
    vf, = igb_vfs(machine)
    allow(machine)
    client, other = IoClient(machine), IoClient(machine)
    client.open(vf)
    client.read_for_ever(0, 0, LENGTH)
    machine.client.start_unplug(vf.address, 60, insist=True).result(60)
    equal(client.done()[1], errno.ENODEV, "what ended its reads")
    wait_free(machine, vf)
    vf.bind("vfio-pci")
    machine.wait_property(vf, "Driver", "vfio-pci")
    other.open(vf)
    other.read(0, 0, LENGTH)
    wait_users(machine, vf, [other.pid])
    equal(pci.read(vf.path("enable")), "1", "the count of who has the device open")


@scenario("the process of a load is kept idle for the next one and blocks nothing: Check, a VMM, a session, root's own hand")
def lingering(machine):
    vf, = igb_vfs(machine)
    allow(machine)
    client = IoClient(machine)

    def try_to_linger():
        client.load(vf, 0, 0, LENGTH)
        try:
            return [os.pidfd_open(pid) for pid in io_pids()]
        except ProcessLookupError:
            return []       # on a slow machine it has ended already

    def linger():
        """A descriptor of the process that does."""
        pidfd, = machine.wait(try_to_linger, "a process that is there after a load")
        return pidfd

    def has_ended(pidfd, seconds=0):
        ended = bool(select.select([pidfd], [], [], seconds)[0])
        os.close(pidfd)
        return ended

    def is_kept():
        """Whether a process was quick enough to be there for the next load, on a slow machine."""
        first, second = linger(), linger()
        os.close(second)
        return not has_ended(first)

    machine.wait(is_kept, "a process that serves a load after another")
    pidfd = linger()
    equal(machine.client.manager("ListUsers")[0][1:3], (client.pid, 1000), "who uses the function")
    equal((machine.client.function(vf.address, "InUse"), machine.client.function(vf.address, "LockReasons")), (True, []),
          "InUse and LockReasons of the function")
    equal(machine.client.function(IGB.address, "LockReasons"), [], "the PF's")
    equal(has_ended(pidfd, 30), True, "whether the process that nobody wants any more has ended")
    wait_free(machine, vf)

    pidfd = linger()
    # Asking ends nothing: the process ends by itself, and until then nobody else can open the group.
    equal(machine.client.check(vf.address, "open")[:2], (True, []), "Check for `open`")
    equal(has_ended(pidfd, 30), True, "whether the process that nobody wants any more has ended")
    holder = Holder(machine, vf)    # opens it without asking anybody
    wait_users(machine, vf, [holder.pid])
    holder.end()
    wait_users(machine, vf, [])

    pidfd = linger()
    client.open(vf)
    equal(has_ended(pidfd), True, "whether it has ended when there is a session")
    client.end_session()
    wait_free(machine, vf)

    pidfd = linger()
    machine.client.start_function_call(vf.address, "Unbind").result()
    equal((has_ended(pidfd), vf.driver()), (True, None), "whether it has ended, and the VF's driver")

    vf.bind("vfio-pci")
    machine.wait_property(vf, "Driver", "vfio-pci")
    pidfd = linger()
    pci.write(vf.path("driver/unbind"), vf.address)     # the kernel waits for whoever has it open
    equal((has_ended(pidfd, 30), vf.driver()), (True, None), "the same after an unbind by hand")

    vf.bind("vfio-pci")
    machine.wait_property(vf, "Driver", "vfio-pci")
    pidfd = linger()
    IGB.write("sriov_numvfs", "0")
    equal((has_ended(pidfd, 30), vf.exists()), (True, False), "the same after the PF's VFs were taken away by hand")
    machine.wait_function(vf, there=False)
    error = raises(vb.BusError, lambda: client.load(vf, 0, 0, LENGTH), "a load of what is gone")
    contains(error.name, "Error", "its error")
