"""Somebody else takes a function from a session in the midst of DMA."""

import errno
import signal

from guest.check import equal, true
from guest.pci import NVME
from guest.registry import scenario
from scenarios.external_removal import Writer
from scenarios.io_dma import allow, check_quiet, open_queue, pinned


@scenario("an unbind by hand ends a session in the midst of DMA: the client gets ENODEV, nothing is pinned; the daemon was "
          "killed before, which the client did not notice", deadline=240)
def unbound(machine):
    allow(machine)
    before = pinned()
    client = open_queue(machine)
    client.identify_for_ever()
    machine.daemon.kill(signal.SIGKILL)
    machine.wait_daemon(False)
    machine.wait_daemon(True)
    machine.connect()
    at_first = client.progress()
    machine.wait(lambda: client.progress() > at_first, "the client to go on after the daemon's end")
    machine.wait_property(NVME, "InUse", True)
    writer = Writer(machine, "/sys/bus/pci/drivers/vfio-pci/unbind", NVME.address)
    writer.write()
    count, error = client.done()
    equal(error, errno.ENODEV, "what ended it")
    true(count > at_first, f"it was served until then: {count}")
    machine.wait(writer.done, "the unbind to end")
    equal(NVME.driver(), None, "the driver")
    client.end_session()    # which it is, to the daemon, until its client has closed it
    check_quiet(machine, before)
