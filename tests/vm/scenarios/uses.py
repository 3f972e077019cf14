"""What the host itself does with functions: not taken away by vfwarden, unless somebody says so."""

import json
import os
import subprocess

from guest import pci, service
from guest.check import contains, equal, true
from guest.pci import IGB, PLAIN, Function
from guest.registry import scenario

REFUSED = 6

MAPS_BAR = """
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
bar = mmap.mmap(file, 4096)
os.close(file)
print("mapped", flush=True)
sys.stdin.read()
"""


def map_bar(machine, function, *runner):
    """A program that has the function's first BAR mapped, and its file closed, until its standard input ends; `runner` are
    words before it."""
    program = subprocess.Popen([*runner, "python3", "-c", MAPS_BAR, function.path("resource0")], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    machine.closers.append(program.kill)
    equal(program.stdout.readline(), b"mapped\n", "the program")
    return program


def uses(machine, function):
    return [use["text"] for use in machine.client.manager("DescribeUses", "(s)", function.address)]


def wait_uses(machine, function, *words):
    """Until each of `words` is in the text of a use, by the kernel's events alone."""
    machine.wait(lambda: all(any(word in text for text in uses(machine, function)) for word in words),
                 f"the uses of {function}: {words}")


def refused(machine, *words):
    result = machine.run("vfwarden", *words, check=False)
    equal(result.returncode, REFUSED, f"the exit code of {words}")
    return result.stdout


def igb_vfs(machine):
    """Two VFs with interfaces of the host."""
    pci.load_driver("igbvf")
    IGB.set_num_vfs(2)
    vfs = [Function(address) for address in IGB.vfs()]
    for vf in vfs:
        machine.wait_property(vf, "Driver", "igbvf")
    service.run("udevadm", "settle")
    return vfs


def interface(function):
    name, = os.listdir(function.path("net"))
    return name


@scenario("a VF's interface in a pod: set-vfs 0, unbind and bind are refused, and name the network namespace",
          deadline=120)
def pod(machine):
    vf, other = igb_vfs(machine)
    name = interface(vf)
    machine.wait_property(vf, "Interfaces", [name])
    equal(json.loads(machine.run("vfwarden", "show", "--json", name).stdout)["Address"], vf.address, "its name")
    service.run("ip", "link", "set", name, "name", "other0")
    name = "other0"     # the old one stays as an alternative name of udev's
    machine.wait_property(vf, "Interfaces", [name])
    service.run("ip", "netns", "add", "pod1")
    machine.closers.append(lambda: service.run("ip", "netns", "del", "pod1", check=False))
    service.run("ip", "link", "set", name, "netns", "pod1")
    wait_uses(machine, vf, f"{name} is in the network namespace pod1")
    machine.wait_property(vf, "Interfaces", [])
    for words in (["set-vfs", IGB.address, "0"], ["unbind", vf.address], ["bind", vf.address, "vfio-pci"],
                  ["unbind", IGB.address], ["reset", IGB.address], ["unplug", IGB.address]):
        contains(refused(machine, *words), "in the network namespace pod1", f"why {words} is refused")
    equal(len(IGB.vfs()), 2, "the VFs")
    equal(vf.driver(), "igbvf", "its driver")
    contains(machine.run("vfwarden", "show", vf.address).stdout, "pod1", "show")
    document = json.loads(machine.run("vfwarden", "why", "--json", IGB.address, "set-num-vfs", check=False).stdout)
    equal([(one["Kind"], one["Subject"]) for one in document["Blockers"]], [("host", vf.address)], "why")
    machine.run("vfwarden", "unbind", other.address)

    service.run("ip", "netns", "del", "pod1")   # the kernel moves it back
    machine.wait(lambda: not any("namespace" in text for text in uses(machine, vf)), "it to be back")
    machine.run("vfwarden", "set-vfs", IGB.address, "0")
    equal(IGB.vfs(), [], "the VFs at the end")


@scenario("a VF's interface in the network namespace of a process, or of nobody that can be found", deadline=120)
def process(machine):
    vf, _ = igb_vfs(machine)
    name = interface(vf)
    service.run("systemd-run", "--quiet", "--collect", "--unit=pod2.service", "--property=PrivateNetwork=yes",
                "sleep", "infinity")
    machine.closers.append(lambda: service.systemctl("stop", "pod2.service", check=False))
    pid = service.systemctl("show", "--value", "-p", "MainPID", "pod2.service").stdout.strip()
    machine.wait(lambda: os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/1/ns/net"), "its own")
    held = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        service.run("ip", "link", "set", name, "netns", pid)
        wait_uses(machine, vf, f"the network namespace of process {pid}")
        service.systemctl("stop", "pod2.service")
        contains(refused(machine, "set-vfs", IGB.address, "0"), "in the network namespace", "held by a descriptor alone")
    finally:
        os.close(held)
    machine.wait(lambda: not any("namespace" in text for text in uses(machine, vf)), "it to be back")


@scenario("the network card with an address and the default route: refused, but for who insists", deadline=120)
def card(machine):
    name = interface(PLAIN)
    driver = PLAIN.driver()
    service.run("ip", "link", "set", name, "up")
    machine.closers.append(lambda: service.run("ip", "link", "set", name, "down", check=False))
    service.run("ip", "address", "add", "198.51.100.7/24", "dev", name)
    service.run("ip", "route", "add", "default", "via", "198.51.100.1", "dev", name, "metric", "4711")
    wait_uses(machine, PLAIN, f"{name} has the address 198.51.100.7/24", f"{name} has the default route")
    for verb in ("unbind", "reset", "unplug"):
        contains(refused(machine, verb, PLAIN.address), "default route", f"why {verb} is refused")
    contains(machine.run("vfwarden", "why", PLAIN.address, "open", check=False).stdout, "leave", "advice")
    equal(PLAIN.driver(), driver, "its driver")
    machine.run("vfwarden", "unbind", "--even-if-host-uses-it", PLAIN.address)
    equal(PLAIN.driver(), None, "its driver, after the option")
    machine.wait(lambda: not uses(machine, PLAIN), "no use")


@scenario("the disk that / is on", deadline=120)
def root_disk(machine):
    device = os.stat("/").st_dev
    path = os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    disk = Function([part for part in path.split("/") if part.count(":") == 2][-1])
    wait_uses(machine, disk, "is mounted on /")
    name, = [part for part in path.split("/") if part and os.path.exists(f"/sys/block/{part}")][:1]
    machine.wait(lambda: name in machine.property(disk, "BlockDevices"), f"{name} among its disks")
    equal(json.loads(machine.run("vfwarden", "show", "--json", f"/dev/{name}").stdout)["Address"], disk.address, "it")
    for verb in ("unbind", "reset", "unplug"):
        contains(refused(machine, verb, disk.address), "is mounted on /", f"why {verb} is refused")
    true(disk.driver(), "it has its driver")


@scenario("a program that drives the card by uio, or has a BAR open: refused until it has closed it", deadline=120)
def program(machine):
    me = f"(pid {os.getpid()})"
    PLAIN.bind("uio_pci_generic")
    machine.wait_property(PLAIN, "Driver", "uio_pci_generic")
    node, = os.listdir(PLAIN.path("uio"))
    service.run("udevadm", "settle")
    for path, mode, words in ((f"/dev/{node}", os.O_RDWR, f"its device {node} is open in"),
                              (PLAIN.path("resource0"), os.O_RDWR, "its BAR resource0 is open in")):
        file = os.open(path, mode)
        try:
            wait_uses(machine, PLAIN, words, me)
            for verb in ("unbind", "reset", "unplug"):
                contains(refused(machine, verb, PLAIN.address), words, f"why {verb} is refused")
        finally:
            os.close(file)
        machine.wait(lambda: not uses(machine, PLAIN), "the program to have closed it")
    config = os.open(PLAIN.path("config"), os.O_RDWR)
    try:
        contains(refused(machine, "reset", PLAIN.address), "its configuration space (config) is open for writing in",
                 "no event tells of it; the operation looks")
    finally:
        os.close(config)
    equal(PLAIN.driver(), "uio_pci_generic", "its driver")
    machine.run("vfwarden", "unbind", PLAIN.address)
