"""What the host uses where it is not easily seen: on top of an interface, or by the sysfs of a container."""

import ctypes
import os
import socket
import struct

from guest import service
from guest.check import contains, equal
from guest.pci import PLAIN
from guest.registry import scenario

from scenarios.uses import interface, map_bar, refused, uses, wait_uses

SYS_BPF, BPF_PROG_LOAD, BPF_LINK_CREATE = 321, 5, 28
BPF_PROG_TYPE_XDP, BPF_XDP, XDP_FLAGS_SKB_MODE = 6, 37, 2


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"))
    descriptor = ctypes.CDLL(None, use_errno=True).syscall(SYS_BPF, command, buffer, ctypes.c_uint(128))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "bpf()")
    return descriptor


def attach_xdp(name):
    """A program that passes all packets on, in the kernel's generic mode; returns the descriptor that keeps it."""
    code = ctypes.create_string_buffer(struct.pack("<BBhi", 0xb7, 0, 0, 2) + struct.pack("<BBhi", 0x95, 0, 0, 0))
    text = ctypes.create_string_buffer(b"GPL")
    program = bpf(BPF_PROG_LOAD, struct.pack("<IIQQ", BPF_PROG_TYPE_XDP, 2, ctypes.addressof(code), ctypes.addressof(text)))
    link = bpf(BPF_LINK_CREATE, struct.pack("<IIII", program, socket.if_nametoindex(name), BPF_XDP, XDP_FLAGS_SKB_MODE))
    os.close(program)
    return link


def wait_unused(machine, function):
    """A use that no event ends: ask for a look."""
    machine.wait(lambda: machine.run("vfwarden", "unbind", function.address, check=False).returncode == 0,
                 f"{function} to be used no more")


@scenario("a card that is down, with a macvlan of a pod on top, a packet socket, or an XDP program", deadline=150)
def network(machine):
    name = interface(PLAIN)
    service.run("ip", "link", "set", name, "down")
    machine.wait(lambda: not uses(machine, PLAIN), "no use")
    service.run("ip", "netns", "add", "pod3")
    machine.closers.append(lambda: service.run("ip", "netns", "del", "pod3", check=False))
    # As CNI does it: the host's namespace never has the new interface.
    service.run("ip", "link", "add", "link", name, "netns", "pod3", "name", "eth0", "type", "macvlan")
    words = f"{name} carries eth0 in the network namespace pod3"
    wait_uses(machine, PLAIN, words)
    contains(refused(machine, "unbind", PLAIN.address), words, "why unbind is refused")
    service.run("ip", "netns", "del", "pod3")
    machine.wait(lambda: not uses(machine, PLAIN), "the pod's end")

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as capture:
        capture.bind((name, 3))
        contains(refused(machine, "unbind", PLAIN.address), f"{name} has a packet socket of python3 (pid {os.getpid()})",
                 "why unbind is refused")
    link = attach_xdp(name)
    try:
        contains(refused(machine, "unbind", PLAIN.address), f"{name} runs the XDP program", "why unbind is refused")
    finally:
        os.close(link)
    wait_unused(machine, PLAIN)


@scenario("a BAR that a container has mapped by its own sysfs, and whose file is closed", deadline=120)
def container(machine):
    PLAIN.unbind()
    machine.wait_property(PLAIN, "Driver", "")
    service.run("ip", "netns", "add", "pod4")
    machine.closers.append(lambda: service.run("ip", "netns", "del", "pod4", check=False))
    # It mounts a sysfs of its own.
    with map_bar(machine, PLAIN, "ip", "netns", "exec", "pod4") as program:
        contains(refused(machine, "reset", PLAIN.address), f"its BAR resource0 is mapped by python3 (pid {program.pid})",
                 "why reset is refused")
    machine.wait(lambda: not uses(machine, PLAIN), "the mapping to be gone")


@scenario("a packet socket that is bound while an Unplug waits for an inhibitor: no event reports it, and it is waited for", deadline=120)
def meanwhile(machine):
    name, driver = interface(PLAIN), PLAIN.driver()
    service.run("ip", "link", "set", name, "down")
    machine.wait(lambda: not uses(machine, PLAIN), "no use")
    for insist in (False, True):
        inhibitor = machine.client.delay(PLAIN.address, "unbind:remove:power-off", "guest")
        call = machine.client.start_unplug(PLAIN.address, 90, insist=insist)
        machine.wait_property(PLAIN, "State", "unplug-requested")
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as capture:
            capture.bind((name, 3))
            os.close(inhibitor)
            wait_uses(machine, PLAIN, f"{name} has a packet socket of python3 (pid {os.getpid()})")
            equal((PLAIN.driver(), call.done), (driver, False), "its driver, and whether the request has ended")
        if not insist:
            machine.client.cancel_unplug(PLAIN.address)
            machine.wait(lambda: call.done, "the cancellation")
            machine.wait_property(PLAIN, "State", "present")
    # The next request's look shows that it has gone, and then nothing is waited for.
    machine.run("vfwarden", "reset", PLAIN.address, check=False)
    call.result(60)
    equal(PLAIN.exists(), False, "whether it is still there")
