"""DMA in a session: a client without privilege drives an NVMe controller's admin queue, in memory of its own; and the end of
such a session, however it comes, leaves no page pinned and no device that could write."""

import os
import pathlib
import re
import signal
import sys
import time

from page import commands
import vfwarden_bus as vb

from guest import documentation, service
from guest.check import contains, equal, raises, true
from guest.io_client import IoClient
from guest.pci import NVME
from guest.registry import scenario
from guest.vfio import wait_free
from scenarios.io_device import BUS_MASTER, COMMAND, device_word
from scenarios.io_end import io_pids, wait_end

RULE = """polkit.addRule(function(action, subject) {
    if ((action.id == "org.vfwarden1.zpci-io" || action.id == "org.vfwarden1.zpci-io-dma") && subject.user == "visitor")
        return polkit.Result.YES;
});
"""
RULE_WITHOUT = RULE.replace(' || action.id == "org.vfwarden1.zpci-io-dma"', "")
# So far behind the client's memory that it has none there.
OUTSIDE = 1 << 30
MODEL = b"QEMU NVMe Ctrl"
UNTOUCHED = b"\xaa" * 4096


def pinned():
    """Pages that are pinned for devices, as the kernel counts them when all processors have told their part."""
    pathlib.Path("/proc/sys/vm/stat_refresh").read_bytes()
    counts = dict(re.findall(r"^nr_foll_pin_(acquired|released) (\d+)$", pathlib.Path("/proc/vmstat").read_text(), re.MULTILINE))
    return int(counts["acquired"]) - int(counts["released"])


def allow(machine, rule=RULE, function=NVME):
    """AllowMsix= is left alone: DMA needs none."""
    machine.add_polkit_rule(rule)
    machine.daemon.configure("[Io]\nDrainSeconds=2\n")
    service.systemctl("reload", service.UNIT)
    function.bind("vfio-pci")
    machine.wait_property(function, "Driver", "vfio-pci")


def open_queue(machine):
    client = IoClient(machine)
    client.open(NVME, dma=True)
    client.start_queue()
    return client


def check_identified(client):
    status, page = client.identify()
    equal((status, page[:2].hex(), page[24:24 + len(MODEL)]), (0, "361b", MODEL), "status, vendor and model")


def wait_unpinned(machine, before):
    machine.wait(lambda: pinned() <= before, lambda: f"pinned pages to be {before} again, they are {pinned()}")


def check_quiet(machine, before, function=NVME):
    """No page is pinned that was not before, and the device cannot write."""
    wait_free(machine, function)
    equal(device_word(function, COMMAND, 2) & BUS_MASTER, 0, "bus master of the device")
    wait_unpinned(machine, before)


@scenario("with DMA a client has the controller write to its memory, and hears of that by MSI-X; what it unmaps the device "
          "loses; outside of its maps there is a fault, and nothing else", deadline=120)
def identify(machine):
    allow(machine, RULE_WITHOUT)
    client = IoClient(machine)
    error = raises(vb.BusError, lambda: client.open(NVME, dma=True), "a session with DMA without a rule")
    equal(error.name, vb.ACCESS_DENIED, "its error")
    error = raises(vb.BusError, lambda: client.open(NVME), "one without DMA")
    equal(error.name, vb.REFUSED, "its error")
    contains(error.message, "AllowMsix=", "its text")
    machine.add_polkit_rule(RULE)
    wait_free(machine, NVME)

    before = pinned()
    client.open(NVME, dma=True)
    client.start_queue()
    equal(pinned() - before, 3, "pages that are pinned for it")
    for _ in range(20):     # once around the queue
        check_identified(client)
    # QEMU's controller does not look at how its write went (dma_buf_rw()), so its status says nothing.
    equal(client.identify(OUTSIDE)[1], UNTOUCHED, "the client's page")
    machine.wait(lambda: "DMAR: [DMA Write" in machine.run("dmesg").stdout, "the kernel to log the fault")
    check_identified(client)

    client.unmap_queue()
    equal(pinned(), before, "pinned pages after that was answered")
    client.end_session()
    check_quiet(machine, before)


@scenario("vfwarden-io is killed in the midst of DMA, and so is its client: no page stays pinned, the device is quiet",
          deadline=240)
def killed(machine):
    allow(machine)
    before = pinned()
    for victim in "process", "client":
        client = open_queue(machine)
        client.identify_for_ever()
        client.progress()
        pid, = io_pids()
        pidfd = os.pidfd_open(pid)
        start = time.monotonic()
        os.kill(pid if victim == "process" else client.pid, signal.SIGKILL)
        wait_end(pidfd, "the process")
        seconds = time.monotonic() - start
        os.close(pidfd)
        print(f"the end of the {victim}: {seconds * 1000:.0f} ms", flush=True)
        if victim == "process":
            equal(client.done()[1] != 0, True, "the client's requests fail")
        else:
            client.process.wait()
        check_quiet(machine, before)


@scenario("`vfwarden io serve --dma` gives a program that knows a path a device with DMA", deadline=180)
def served(machine):
    allow(machine)
    before = pinned()
    path = "/tmp/vfio-user.sock"
    program = ("import socket, sys; sys.path[:0] = %r\n"
               "import vfio_user; from guest.nvme_queue import AdminQueue\n"
               "end = socket.socket(socket.AF_UNIX); end.connect(sys.argv[1])\n"
               "session = vfio_user.Client(end); session.version()\n"
               "status, page = AdminQueue(session, 1 << 32).identify()\n"
               "print(status, page[24:38].decode())\n"
               % [word for word in sys.path if word])
    done = machine.run_as("visitor", "vfwarden", "io", "serve", NVME.address, f"--socket={path}", "--dma", "--",
                          "python3", "-B", "-c", program, path)
    equal(done.stdout, f"0 {MODEL.decode()}\n", "what it prints")
    check_quiet(machine, before)


@scenario("docs/device.md: the program there, compiled as the page says, asks a controller who it is", deadline=180)
def documented(machine):
    before = pinned()
    machine.add_polkit_rule(RULE)
    lines = [command for blocks in documentation.device().sections.values() for block in blocks for command in commands(block)
             if not command.line.startswith("cc ")]     # host/project.py has called it
    equal([command.root for command in lines], [True, False], "the commands: root binds, a user runs the program")
    documentation.check_commands(machine, lines, NVME)
    check_quiet(machine, before)
