"""Brings the machine into the state that every scenario starts from, whatever the one before left.

The daemon is stopped meanwhile and its locks are opened by hand: cleaning must not depend on what is
being tested.
"""

import os
import pathlib
import time

import pace

from guest import pci, service
from guest.channel import OutsideError, outside
from guest.check import Failed, equal

POLKIT_RULES = pathlib.Path("/etc/polkit-1/rules.d/00-scenario.rules")
PLUG_SECONDS = 30 * pace.SCALE


def clean(uevents_wait):
    """`uevents_wait(predicate, what)` waits for something that uevents report."""
    daemon = service.Service()
    daemon.stop()
    service.stop_guard()
    end_holders()
    if service.reset_files():
        service.systemctl("daemon-reload")
    if POLKIT_RULES.exists():
        POLKIT_RULES.unlink()
        service.systemctl("restart", "polkit.service")
    # Without its record, the daemon takes what is locked for an administrator's own mode.
    for address in os.listdir("/sys/bus/pci/devices"):
        open_files(pci.Function(address))
    clean_slots(uevents_wait)
    pci.load_driver("vfio-pci")
    for function, driver in pci.NATIVE_DRIVERS.items():
        open_files(function)
        clean_function(function, driver)
    pci.set_enable_sriov(False)
    daemon.start()


def end_holders():
    """A scenario ends its own; of one that failed, some may live in units or as orphans."""
    deadline = time.monotonic() + PLUG_SECONDS
    while service.run("pkill", "--signal", "KILL", "--full", "^/usr/local/bin/vfio-holder", check=False).returncode == 0:
        if time.monotonic() > deadline:
            raise Failed("a holder of before does not end")
        os.sched_yield()


def clean_slots(uevents_wait):
    for function in pci.EMPTY_AT_BOOT:
        if function.exists():
            open_files(function)
            unplug(function)
    for function, driver in pci.NATIVE_DRIVERS.items():
        if not function.exists():
            if pci.ON_S390 and function.slot():
                open_files(function)
                pci.write(function.path("power"), "1")
            else:
                put_back(function)
            uevents_wait(lambda function=function, driver=driver: function.driver() == driver,
                         f"{function} to come back")


def put_back(function):
    try:
        outside("plug", id=pci.ENDPOINTS[function])
    except OutsideError as error:
        if "Duplicate device ID" not in str(error):
            raise
        # It is in its slot: a scenario that did not come to its end has removed it by software.
        pci.write("/sys/bus/pci/rescan", "1")


def unplug(function):
    """Presses the slot's button and returns when the guest has given the device up."""
    outside("unplug", id=pci.ENDPOINTS[function])
    outside("wait_unplugged", id=pci.ENDPOINTS[function], seconds=40)


def open_files(function):
    for name, path in function.lockable().items():
        if pci.mode(path) != pci.ALL_MODES[name]:
            os.chmod(path, pci.ALL_MODES[name])


def clean_function(function, driver):
    if function.driver() == "vfio-pci" and function.vfs():
        function.unbind()  # takes the VFs away, whatever enable_sriov is now
    if function.read("driver_override") != "(null)":
        function.set_override(None)
    if function.driver() != driver:
        function.unbind()
        pci.write(f"/sys/bus/pci/drivers/{driver}/bind", function.address)
    if function.read("sriov_totalvfs") is not None and function.vfs():
        function.set_num_vfs(0)
    if function.read("sriov_drivers_autoprobe") == "0":
        function.write("sriov_drivers_autoprobe", "1")
    if function.driver() != driver or (function.read("sriov_totalvfs") is not None and function.vfs()):
        raise Failed(f"{function} cannot be brought into its first state")
    equal(function.read("driver_override"), "(null)", f"the driver_override of {function}")
