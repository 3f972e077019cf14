"""The kernel guard: what its BPF programs refuse, what passes, and what is left without the daemon."""

import ctypes
import errno
import mmap
import os
import signal
import struct
import subprocess

from guest import io_uring, pci, service
from guest.check import contains, equal, raises, true
from guest.holder import Holder
from guest.pci import IGB, KERNEL_MODES, SRIOV
from guest.registry import scenario
from guest.vfio import igb_vfs, wait_users

UNBIND = "/sys/bus/pci/drivers/vfio-pci/unbind"
GUARDS = ("unbind", "descriptor", "chmod", "module", "network")


def how():
    """How this kernel is to refuse; `--append=lsm=...` of tests/vm/machine takes `bpf` away."""
    return "lsm" if "bpf" in pci.read("/sys/kernel/security/lsm").strip().split(",") else "fmod_ret"


def loaded():
    """What the daemon says of the guards, in the default configuration."""
    return [*(f"{guard}: refused ({how()})" for guard in GUARDS[:-1]),
            f"network: reported only ({how()}): KernelGuardNetwork=tell"]


def load_guard(machine):
    service.systemctl("start", service.GUARD_UNIT)
    wait_guards(machine, loaded())


def guards(machine):
    return list(machine.client.manager_property("Guards"))


def wait_guards(machine, expected):
    machine.wait(lambda: guards(machine) == expected, lambda: f"the guards {expected}, are {guards(machine)}")


def held_vf(machine, count=2):
    """A VF in use, and the others."""
    vf, *others = igb_vfs(machine, count)
    one = Holder(machine, vf)
    wait_users(machine, vf, [one.pid])
    return one, vf, others


def wait_report(machine, *words):
    """Until the journal has a report with these words."""
    machine.wait(lambda: any(all(word in text for word in words)
                             for text in machine.journal.messages(service.KERNEL_GUARD)),
                 lambda: f"a report of {words}, are {machine.journal.messages(service.KERNEL_GUARD)}")


# --- ways of writing a text to a descriptor

def by_write(fd, text):
    os.write(fd, text)


def by_write_with_newline(fd, text):
    os.write(fd, text + b"\n")


def by_write_with_junk(fd, text):
    os.write(fd, text + b"\0junk")


def by_pwrite(fd, text):
    os.pwrite(fd, text, 0)


def by_writev(fd, text):
    os.writev(fd, [text])


def by_writev_in_pieces(fd, text):
    os.writev(fd, [text[:5], text[5:]])


def by_pwritev(fd, text):
    os.pwritev(fd, [text], 0)


def in_memory(text):
    """A file in memory with the text."""
    fd = os.memfd_create("text")
    os.write(fd, text)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def by_sendfile(fd, text):
    source = in_memory(text)
    try:
        os.sendfile(fd, source, 0, len(text))
    finally:
        os.close(source)


def by_splice(fd, text):
    reading, writing = os.pipe()
    try:
        os.write(writing, text)
        os.splice(reading, fd, len(text))
    finally:
        os.close(reading)
        os.close(writing)


def by_write_from_a_mapping(fd, text):
    """From a page of a file that is not in the page tables yet."""
    source = in_memory(text)
    try:
        with mmap.mmap(source, len(text), prot=mmap.PROT_READ) as mapping, memoryview(mapping) as view:
            os.write(fd, view)
    finally:
        os.close(source)


def not_in_memory(text):
    """A mapping of the text, and its address; the page is not in the page tables yet."""
    source = in_memory(text)
    try:
        mapping = mmap.mmap(source, len(text), flags=mmap.MAP_PRIVATE)
    finally:
        os.close(source)
    return mapping, ctypes.addressof(ctypes.c_char.from_buffer(mapping))


def delete_module(address):
    """<asm/unistd_64.h>; the guard is for x86_64 alone."""
    io_uring.call(176, ctypes.c_void_p(address), os.O_NONBLOCK)


def by_io_uring(fd, text):
    io_uring.write(fd, text, by_a_worker=False)


def by_io_uring_worker(fd, text):
    io_uring.write(fd, text, by_a_worker=True)


READABLE = (by_write, by_write_with_newline, by_write_with_junk, by_pwrite, by_writev, by_pwritev)
UNREADABLE = (by_writev_in_pieces, by_sendfile, by_splice, by_write_from_a_mapping, by_io_uring,
              by_io_uring_worker)


def write_by(way, path, text):
    fd = os.open(path, os.O_WRONLY)
    try:
        way(fd, text.encode())
    finally:
        os.close(fd)


def check_refused(action, what):
    error = raises(OSError, action, what)
    equal(error.errno, errno.EPERM, f"the error of {what}")


def rebind(function):
    pci.write("/sys/bus/pci/drivers_probe", function.address)
    equal(function.driver(), "vfio-pci", f"the driver of {function}, bound again")


def check_unguarded(machine, vf):
    """Where no function of the driver is in use, every way passes; the kernel's own refusals are others."""
    for way in READABLE + UNREADABLE:
        try:
            write_by(way, UNBIND, vf.address)
        except OSError as error:
            true(error.errno != errno.EPERM, f"an unbind {way.__name__} is not refused: {error}")
        if vf.driver() is None:
            rebind(vf)
    equal(machine.journal.messages(service.KERNEL_GUARD), [], "what the guard reported")


@scenario("the kernel guard refuses to unbind a function in use by any way of writing, and no other function of the "
          "driver; it reports setpci and a new driver_override", deadline=300)
def unbind(machine):
    load_guard(machine)
    vf, other = igb_vfs(machine, 2)
    check_unguarded(machine, vf)
    one = Holder(machine, vf)
    wait_users(machine, vf, [one.pid])
    for way in READABLE + UNREADABLE:
        check_refused(lambda way=way: write_by(way, UNBIND, vf.address), f"an unbind {way.__name__}")
        equal(vf.driver(), "vfio-pci", f"the driver after an unbind {way.__name__}")
    result = machine.in_other_network_namespace(f"echo {vf} | tee {UNBIND}", check=False)
    contains(result.stdout, "Operation not permitted", "an unbind in another network namespace")
    for way in READABLE:
        write_by(way, UNBIND, other.address)
        equal(other.driver(), None, f"the driver of a free function after an unbind {way.__name__}")
        rebind(other)

    wait_report(machine, f"{vf}: refused: unbind, tried by ", f"(pid {os.getpid()}, uid 0")
    wait_report(machine, "refused: a write to `unbind` that cannot be read, tried by ")
    for name, text in (("driver_override", "vfio-pci"), ("config", "\0")):
        write_by(by_pwrite, vf.path(name), text)
        wait_report(machine, f"{vf}: not refused: a write to {vf.path(name)}, done by ", f"(pid {os.getpid()}, uid 0")

    # A program that waits for the end of the user can unbind at once, although the daemon does not know of it yet.
    machine.daemon.kill(signal.SIGSTOP)
    one.end()
    write_by(by_write, UNBIND, vf.address)
    equal(vf.driver(), None, "the driver of the function after the end of its user")
    machine.daemon.kill(signal.SIGCONT)
    machine.wait_property(vf, "Driver", "")


@scenario("the kernel guard refuses a write bit, an earlier descriptor and the driver's unloading, and the daemon's own "
          "operations pass", deadline=300)
def files(machine):
    load_guard(machine)
    pci.load_driver("igbvf")
    earlier = {name: os.open(IGB.path(name), os.O_WRONLY) for name in ("sriov_numvfs", "remove", "power")}
    one, vf, (other,) = held_vf(machine)
    machine.check_locked(IGB, ["vf-in-use"], tuple(KERNEL_MODES))
    for name in KERNEL_MODES:
        check_refused(lambda name=name: IGB.chmod(name, 0o644), f"a write bit for {name}")
        equal(IGB.mode(name) & 0o222, 0, f"the write bits of {name}")
    with open(IGB.path("reset_method"), encoding="ascii") as file:
        check_refused(lambda: os.fchmod(file.fileno(), 0o644), "a write bit through a descriptor")
    result = machine.in_other_network_namespace(f"chmod u+w {IGB.path('sriov_numvfs')}", check=False)
    contains(result.stdout, "Operation not permitted", "a write bit in another network namespace")
    for name, descriptor in earlier.items():
        check_refused(lambda fd=descriptor: os.write(fd, b"0"), f"a write to {name} by a descriptor opened before")
        os.close(descriptor)
    result = service.run("rmmod", "igb", check=False)
    true(result.returncode != 0 and "not permitted" in result.stdout, f"rmmod igb is refused: {result.stdout}")
    mapping, address = not_in_memory(b"igb\0")
    check_refused(lambda: delete_module(address), f"delete_module() of a name that is not in memory ({len(mapping)} bytes)")
    equal((IGB.driver(), len(IGB.vfs())), ("igb", 2), "the driver of the PF and the number of its VFs")
    wait_report(machine, f"{IGB}: refused: a write bit for {IGB.path('sriov_numvfs')}, tried by python3 (pid {os.getpid()}")
    wait_report(machine, f"a write to {IGB.path('remove')} by a descriptor opened before, tried by ")
    wait_report(machine, "refused: unloading the module igb, tried by rmmod (pid ")

    # What passes: the daemon's own work, on a function in use too.
    machine.run("vfwarden", "unbind", other.address)
    equal(other.driver(), None, "the driver after `vfwarden unbind`")
    call = subprocess.Popen(["vfwarden", "unplug", "--insist", "--timeout=60", vf.address])
    machine.closers.append(call.kill)
    machine.wait_property(vf, "State", "removing")
    machine.wait(lambda: vf.driver() is None, "the daemon's own unbind of a function in use")
    one.end()
    equal(call.wait(), 0, "the status of `vfwarden unplug`")
    machine.wait_property(IGB, "Locked", False)
    IGB.check_closed()


@scenario("without the daemon all stays refused; a new daemon goes on; release-all and a stop of the guard open", deadline=300)
def lifetime(machine):
    load_guard(machine)
    machine.expect_errors()
    one, vf, (other,) = held_vf(machine)
    machine.daemon.kill(signal.SIGSTOP)     # systemd does not start another one meanwhile
    check_refused(lambda: write_by(by_write, UNBIND, vf.address), "an unbind while the daemon hangs")
    machine.daemon.kill(signal.SIGCONT)
    machine.stop_daemon()
    check_refused(lambda: write_by(by_write, UNBIND, vf.address), "an unbind without the daemon")
    check_refused(lambda: IGB.chmod("sriov_numvfs", 0o644), "a write bit without the daemon")
    machine.start_daemon()
    wait_users(machine, vf, [one.pid])
    check_refused(lambda: write_by(by_write, UNBIND, vf.address), "an unbind under the next daemon")
    write_by(by_write, UNBIND, other.address)
    equal(other.driver(), None, "the driver of the free function")
    rebind(other)

    service.systemctl("stop", service.GUARD_UNIT)
    true(not service.PINS.exists(), "the pins are gone")
    wait_guards(machine, [f"{guard}: not guarded: vfwarden-guard.service is not active" for guard in GUARDS])
    violation(machine, lambda: IGB.chmod("sriov_numvfs", 0o644))
    machine.check_locked(IGB, ["vf-in-use"], tuple(KERNEL_MODES))

    # A guard that is loaded anew learns all from the daemon.
    load_guard(machine)
    check_refused(lambda: write_by(by_write, UNBIND, vf.address), "an unbind after a new start of the guard")
    check_refused(lambda: IGB.chmod("sriov_numvfs", 0o644), "a write bit after a new start of the guard")
    machine.run("vfwarden", "release-all")
    true(not service.PINS.exists(), "the pins are gone after release-all")
    IGB.chmod("sriov_numvfs", 0o444)
    IGB.chmod("sriov_numvfs", 0o644)
    contains(machine.run("vfwarden", "status").stdout, "release-all has unloaded it", "the status")


@scenario("a guard that is loaded anew lets the daemon's process go on that was in the middle of an unplug", deadline=300)
def loaded_meanwhile(machine):
    load_guard(machine)
    vf, other = igb_vfs(machine, 2)
    one, two = Holder(machine, vf), Holder(machine, other)
    wait_users(machine, vf, [one.pid])
    wait_users(machine, other, [two.pid])
    call = subprocess.Popen(["vfwarden", "unplug", "--insist", "--timeout=120", IGB.address])
    machine.closers.append(call.kill)
    machine.wait(lambda: vf.driver() is None, "the unbind of the first VF")
    service.systemctl("restart", service.GUARD_UNIT)
    wait_guards(machine, loaded())
    one.end()
    machine.wait(lambda: other.driver() is None, "the unbind of the second VF, which is in use")
    two.end()
    equal(call.wait(), 0, "the status of `vfwarden unplug`")
    machine.outside("wait_unplugged", id="igb0", seconds=30)


def open_pin(path):
    """<asm/unistd_64.h>, <linux/bpf.h>: BPF_OBJ_GET."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    attributes = struct.pack("=QII", ctypes.addressof(name), 0, 0)
    return io_uring.call(321, 7, attributes, len(attributes))


@scenario("the program that sees writes is attached as soon as it can be, where its earlier link is still held; the guards say so "
          "meanwhile", deadline=180)
def attached_again(machine):
    load_guard(machine)
    link = service.PINS / "write"
    one, vf, _ = held_vf(machine)
    held = open_pin(link)
    one.end()
    machine.wait(lambda: not link.exists(), "the link to be removed")
    one = Holder(machine, vf)
    wait_users(machine, vf, [one.pid])
    busy = "not guarded: Failed to attach its program for now: Device or resource busy"
    machine.wait(lambda: guards(machine)[:3] == [f"unbind: {busy}", f"descriptor: {busy}", f"chmod: refused ({how()})"],
                 lambda: f"the guards to say that it is busy, are {guards(machine)}")
    os.close(held)
    machine.wait(lambda: guards(machine)[:2] == [f"unbind: refused ({how()})", f"descriptor: refused ({how()})"],
                 lambda: f"the guards to refuse, are {guards(machine)}")
    check_refused(lambda: write_by(by_write, UNBIND, vf.address), "an unbind")


def configure(machine, text, state):
    machine.daemon.configure(f"[Lock]\nKernelGuardNetwork=refuse\n{text}\n")
    machine.run("systemctl", "reload", service.UNIT)
    network = state if "KernelGuard=tell" not in state else f"refused ({how()})"
    wait_guards(machine, [f"{guard}: {state}" for guard in GUARDS[:-1]] + [f"network: {network}"])


def violation(machine, act):
    """The details of the signal that `act()` causes."""
    mark = machine.mark()
    act()
    return machine.client.recorder.wait_for("Violation", mark=mark).args[2]


@scenario("KernelGuard=tell refuses nothing and names who did it, in signals, too; off does not; Enforcement=advise refuses "
          "nothing", deadline=180)
def tell(machine):
    pci.set_enable_sriov(True)
    earlier = os.open(IGB.path("sriov_numvfs"), os.O_WRONLY)
    load_guard(machine)
    IGB.bind("vfio-pci")
    machine.check_locked(IGB, ["userspace-driver"], SRIOV)
    author = {"pid": os.getpid(), "uid": 0, "command": "python3"}
    configure(machine, "KernelGuard=tell", f"reported only ({how()}): KernelGuard=tell")
    for act in (lambda: IGB.chmod("sriov_numvfs", 0o644), lambda: os.pwrite(earlier, b"2\n", 0)):
        details = violation(machine, act)
        equal({name: details.get(name) for name in author}, author, f"who did it, in {details}")
    wait_report(machine, f"{IGB}: not refused: a write bit for {IGB.path('sriov_numvfs')}, done by python3 (pid {os.getpid()}")
    wait_report(machine, "by a descriptor opened before, done by python3")
    os.pwrite(earlier, b"0\n", 0)
    os.close(earlier)
    machine.wait_property(IGB, "NumVFs", 0)
    configure(machine, "Enforcement=advise", f"reported only ({how()}): locks are not enforced")
    configure(machine, "KernelGuard=off", "not guarded: KernelGuard=off")
    machine.journal.restart()
    true("pid" not in violation(machine, lambda: IGB.chmod("sriov_numvfs", 0o644)), "off names nobody")
    equal(machine.journal.messages(service.KERNEL_GUARD), [], "what the guard reports when it is off")
