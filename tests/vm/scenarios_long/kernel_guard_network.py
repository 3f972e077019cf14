"""The kernel guard: requests of the network for a PF whose VFs are in use, and configuration space by other ways than sysfs."""

import array
import errno
import fcntl
import os
import socket
import struct
import subprocess
import sys

from guest import netlink, pci, service
from guest.check import contains, equal, true
from guest.pci import CARD0, IGB
from guest.registry import scenario
from guest.vfio import wait_users

from scenarios.kernel_guard import held_vf, how, load_guard, not_in_memory, wait_report

SIOCETHTOOL, ETHTOOL_RESET, ETHTOOL_GDRVINFO = 0x8946, 0x34, 0x03
ETHTOOL_TEST, ETH_TEST_FL_OFFLINE = 0x1a, 1
REFUSED = "Operation not permitted"


def interface(function):
    """The name of the function's network interface."""
    service.run("udevadm", "settle")
    name, = os.listdir(function.path("net"))
    return name


def ethtool(name, command, address=None, flags=0):
    """What ethtool(8) asks for, or by what is at that address; returns the error's number, 0 without."""
    data = array.array("B", struct.pack("=II", command, flags) + bytes(512))
    request = struct.pack("16sP", name.encode(), address or data.buffer_info()[0]) + bytes(16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            fcntl.ioctl(sock, SIOCETHTOOL, request)
        except OSError as error:
            return error.errno
    return 0


def ip(*words):
    return service.run("ip", "link", "set", *words, check=False)


def refuse_network(machine):
    machine.daemon.configure("[Lock]\nKernelGuardNetwork=refuse\n")
    machine.run("systemctl", "reload", service.UNIT)
    machine.wait(lambda: machine.client.manager_property("Guards")[-1] == f"network: refused ({how()})",
                 "the guard of the network to refuse")


@scenario("settings of VFs by netlink, devlink's reload and ethtool's reset are reported, and refused with "
          "KernelGuardNetwork=refuse, for a PF whose VFs are in use; all else passes", deadline=240)
def network(machine):
    load_guard(machine)
    one, _, _ = held_vf(machine)
    pf, other = interface(IGB), interface(CARD0)
    settings = (pf, "vf", "1", "mac", "02:00:00:00:00:17")
    equal(ip(*settings).returncode, 0, "the status of `ip link set PF vf` by default")
    wait_report(machine, f"{IGB}: not refused: settings of its VFs by netlink", "done by ip (pid ")
    without_guard = ethtool(pf, ETHTOOL_RESET)
    true(without_guard != errno.EPERM, f"the kernel's own answer to ethtool's reset: {without_guard}")
    wait_report(machine, f"{IGB}: not refused: a reset by ethtool, done by python3 (pid {os.getpid()}")

    refuse_network(machine)
    result = ip(*settings)
    true(result.returncode != 0 and REFUSED in result.stdout, f"`ip link set PF vf` is refused: {result.stdout}")
    equal(ethtool(pf, ETHTOOL_RESET), errno.EPERM, "the error of ethtool's reset")
    equal(ethtool(pf, ETHTOOL_GDRVINFO), 0, "another request of ethtool passes")
    true(ethtool(other, ETHTOOL_RESET) != errno.EPERM, "ethtool's reset of another function passes")
    equal(ip(pf, "up").returncode, 0, "the status of `ip link set PF up`")
    reload = service.run("devlink", "dev", "reload", f"pci/{IGB}", check=False)
    contains(reload.stdout, REFUSED, "devlink's reload of the PF")
    reload = service.run("devlink", "dev", "reload", f"pci/{CARD0}", check=False)
    true(REFUSED not in reload.stdout, f"devlink's reload of another function passes: {reload.stdout}")
    for words in ("settings of its VFs by netlink (`ip link set ... vf`), tried by ip (pid ",
                  "a reset by ethtool, tried by python3 (pid ", "a reload by devlink, tried by devlink (pid "):
        wait_report(machine, f"{IGB}: refused: {words}")

    # A new name is known, and so is the end of the use.
    ip(pf, "down")
    ip(pf, "name", "renamed0")
    machine.wait_property(IGB, "Interfaces", ["renamed0"])
    machine.wait(lambda: ethtool("renamed0", ETHTOOL_RESET) == errno.EPERM, "the new name to be guarded")
    one.end()
    machine.wait_property(IGB, "Locked", False)
    equal(ip("renamed0", *settings[1:]).returncode, 0, "the status of `ip link set PF vf` with no VF in use")
    ip("renamed0", "name", pf)


@scenario("devlink's settings of the switch, updates and recoveries and ethtool's offline test are refused with "
          "KernelGuardNetwork=refuse, for a PF whose VFs are in use; an online test passes", deadline=240)
def restarts(machine):
    load_guard(machine)
    held_vf(machine)
    refuse_network(machine)
    pf = interface(IGB)
    check_refused(ethtool(pf, ETHTOOL_TEST, flags=ETH_TEST_FL_OFFLINE), "an offline test")
    check_passes(ethtool(pf, ETHTOOL_TEST), "an online test")
    check_passes(ethtool(interface(CARD0), ETHTOOL_TEST, flags=ETH_TEST_FL_OFFLINE), "an offline test of another function")
    for words in (("dev", "eswitch", "set", f"pci/{IGB}", "mode", "switchdev"),
                  ("health", "recover", f"pci/{IGB}", "reporter", "fw")):
        contains(service.run("devlink", *words, check=False).stdout, REFUSED, f"devlink {' '.join(words)}")
    flash = netlink.devlink(IGB.address, command=netlink.FLASH_UPDATE)
    check_refused(netlink.send(flash, protocol=netlink.GENERIC), "an update of the firmware")
    for words in ("an offline test by ethtool, tried by python3 (pid ", "a setting of its switch by devlink, tried by devlink (pid ",
                  "a recovery by devlink, tried by devlink (pid ", "an update of its firmware by devlink, tried by python3 (pid "):
        wait_report(machine, f"{IGB}: refused: {words}")


def check_refused(error, what):
    equal(error, errno.EPERM, f"the error of {what}")


def check_passes(error, what):
    true(error != errno.EPERM, f"{what} passes: {error}")


@scenario("a request of the network is refused wherever it stands in a send, whatever stands around it, and by whatever name "
          "the PF's interface is meant, also in another network namespace", deadline=180)
def network_forms(machine):
    load_guard(machine)
    one, _, _ = held_vf(machine)
    refuse_network(machine)
    pf, other = interface(IGB), interface(CARD0)
    index, other_index = socket.if_nametoindex(pf), socket.if_nametoindex(other)
    alternative = "an-alternative-name-of-the-interface"
    for name in ("alias0", alternative):
        service.run("ip", "link", "property", "add", "dev", pf, "altname", name)
    service.run("ip", "link", "set", pf, "group", "7")
    name, settings, send = netlink.attribute, netlink.vf_settings, netlink.send
    junk = name(netlink.UNKNOWN, b"text") * 200
    for request, what in (
            ([settings(index=index)], "settings by the number"),
            ([netlink.link(index=index)] * 20 + [settings(index=index)], "settings in the last of 21 messages"),
            ([settings(index=other_index), settings(index=index)], "settings after those of another interface"),
            ([settings(junk, index=index)], "settings behind 200 unknown attributes"),
            ([settings(name(netlink.IFNAME, pf.encode()))], "settings by a name without a NUL"),
            ([settings(name(netlink.IFNAME, b"longer-name\0"), name(netlink.IFNAME, pf.encode() + b"\0"))], "the last of two names"),
            ([settings(name(netlink.IFNAME, b"alias0\0"))], "settings by an alternative name"),
            ([settings(name(netlink.ALT_IFNAME, alternative.encode() + b"\0"))], "settings by a long alternative name"),
            ([settings(name(netlink.GROUP, struct.pack("=I", 7)), kind=netlink.NEWLINK)], "settings by the group")):
        check_refused(send(*request), what)
    for request, what in (
            ([netlink.link(index=index), settings(index=other_index)], "settings of another interface"),
            ([settings(name(netlink.IFNAME, other.encode() + b"\0"))], "settings of another interface by its name"),
            ([settings(name(netlink.IFNAME, b"nothing0\0"))], "settings of no interface"),
            ([settings(name(netlink.GROUP, struct.pack("=I", 8)), kind=netlink.NEWLINK)], "settings of another group")):
        check_passes(send(*request), what)
    reload = netlink.devlink(CARD0.address)
    check_refused(send(reload, netlink.devlink("a-longer-name-than-an-address", IGB.address), protocol=netlink.GENERIC),
                  "a reload in the second message")
    check_passes(send(reload, protocol=netlink.GENERIC), "a reload of another function")
    many = [settings(index=other_index)] * 65
    check_passes(send(*many[1:]), "settings of another interface in 64 messages")
    check_refused(send(*many), "more settings in a send than the guard looks at")
    for text in (f"{pf}:1", "alias0"):
        check_refused(ethtool(text, ETHTOOL_RESET), f"ethtool's reset of {text}")
    mapping, address = not_in_memory(struct.pack("=I", ETHTOOL_RESET) + bytes(512))
    check_refused(ethtool(pf, ETHTOOL_RESET, address), f"ethtool's reset that is not in memory ({len(mapping)} bytes)")

    service.run("ip", "netns", "add", "aside")
    machine.closers.append(lambda: service.run("ip", "netns", "del", "aside"))
    service.run("ip", "link", "set", pf, "netns", "aside")
    result = service.run("ip", "-n", "aside", "link", "set", pf, "vf", "1", "mac", "02:00:00:00:00:17", check=False)
    contains(result.stdout, REFUSED, "settings in another network namespace")
    one.end()
    machine.wait_property(IGB, "Locked", False)
    service.run("ip", "-n", "aside", "link", "set", pf, "vf", "1", "mac", "02:00:00:00:00:17")


def namespaces(machine, *words):
    """A process in namespaces of its own."""
    process = subprocess.Popen([*words, "sleep", "infinity"])
    machine.closers.append(lambda: (process.kill(), process.wait()))
    machine.wait(lambda: pci.read(f"/proc/{process.pid}/comm").strip() == "sleep", "namespaces")
    return process.pid


@scenario("settings of VFs are refused to a user namespace above that of the PF's network namespace", deadline=180)
def network_from_above(machine):
    load_guard(machine)
    one, _, _ = held_vf(machine)
    refuse_network(machine)
    pf = interface(IGB)
    above = namespaces(machine, "unshare", "--user", "--map-root-user")
    enter = ("nsenter", f"--target={above}", "--user", "--preserve-credentials")
    below = namespaces(machine, *enter, "unshare", "--user", "--net")
    service.run("ip", "link", "set", pf, "netns", str(below))
    settings = (*enter, "nsenter", f"--target={below}", "--net", "ip", "link", "set", pf, "vf", "1", "mac", "02:00:00:00:00:17")
    contains(service.run(*settings, check=False).stdout, REFUSED, "settings from the user namespace above")
    one.end()
    machine.wait_property(IGB, "Locked", False)
    service.run(*settings)


def time_of_stranger():
    result = service.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-Urn",
                         sys.executable, "-B", "-m", "guest.stranger", IGB.address)
    return float(result.stdout)


@scenario("a user without privilege can neither keep the kernel busy by a send to the network, nor have something reported that "
          "is not of their network namespace", deadline=240)
def network_of_strangers(machine):
    without = time_of_stranger()
    load_guard(machine)
    _one, _, _ = held_vf(machine)
    with_guard = time_of_stranger()
    true(with_guard < 8 * without, f"a send takes about as long with the guard as without: {with_guard}, {without} s")
    true(ethtool(interface(IGB), ETHTOOL_RESET) != errno.EPERM, "ethtool's reset passes")
    wait_report(machine, f"{IGB}: not refused: a reset by ethtool, done by python3 (pid {os.getpid()}")
    said = machine.journal.messages(service.KERNEL_GUARD)
    true(not any("uid 65534" in text for text in said), f"nothing is reported of a stranger: {said}")


@scenario("configuration space by procfs and by I/O ports is reported while a function is in use", deadline=120)
def configuration_space(machine):
    load_guard(machine)
    _, vf, _ = held_vf(machine)
    for access, words in (("linux-proc", f"{IGB}: not refused: a write to /proc/1/root/proc/bus/pci/01/00.0, done by setpci"),
                          ("intel-conf1", "not refused: use of I/O ports, which reach configuration space, done by setpci")):
        service.run("setpci", "-A", access, "-s", IGB.address, "INTERRUPT_LINE=00")
        wait_report(machine, words)
    true(vf.driver() == "vfio-pci", "the VF has its driver")
