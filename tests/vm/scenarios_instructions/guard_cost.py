"""What the kernel guard costs programs that have nothing to do with it, in instructions; tests/bench prints it."""

import fcntl
import os
import termios
import time

from guest import service
from guest.channel import outside
from guest.check import true
from guest.registry import scenario
from guest.vfio import wait_users

from scenarios.kernel_guard import held_vf, load_guard

# The shortest of so many rounds had no interrupt in it.
ROUNDS, CALLS = 40, 100
LINK = service.PINS / "write"


def shortest(call):
    """Instructions of one call, with what Python needs for it."""
    clock, best = time.monotonic_ns, None
    for _ in range(ROUNDS):
        start = clock()
        for _ in range(CALLS):
            call()
        spent = clock() - start
        best = spent if best is None else min(best, spent)
    return best / CALLS


def measure():
    null = os.open("/dev/null", os.O_WRONLY)
    zero = os.open("/dev/zero", os.O_RDONLY)
    pipe = os.pipe()
    try:
        return {"write of 1 byte": shortest(lambda: os.write(null, b"x")),
                "read of 1 byte": shortest(lambda: os.read(zero, 1)),
                "open and close": shortest(lambda: os.close(os.open("/dev/null", os.O_RDWR))),
                "ioctl": shortest(lambda: fcntl.ioctl(pipe[0], termios.FIONREAD, b"1234"))}
    finally:
        for fd in (null, zero, *pipe):
            os.close(fd)


def added(before, what):
    """Prints how many instructions each call takes more than `before`; returns that."""
    now = measure()
    more = {name: now[name] - before[name] for name in before}
    for name, value in more.items():
        outside("say", text=f"guard-cost | {what} | {name} | {value:.0f}")
    return more


@scenario("the kernel guard costs a write, a read and an open nothing while no function is guarded, and the program that sees "
          "writes is detached a while after the last one", deadline=900)
def cost(machine):
    machine.expect_errors()     # the daemon's clock goes at another pace than that of the hardware
    bare = measure()
    load_guard(machine)
    idle = added(bare, "loaded, no function guarded")
    true(not LINK.exists(), "the program that sees writes is not attached")
    one, vf, _ = held_vf(machine)
    true(LINK.exists(), "it is attached")
    guarded = added(bare, "a function guarded")
    one.end()
    wait_users(machine, vf, [])
    machine.wait(lambda: not LINK.exists(), "it to be detached")
    after = added(bare, "no function guarded any more")
    for name, most in (("write of 1 byte", 400), ("read of 1 byte", 400), ("open and close", 100)):
        true(idle[name] < 40 and after[name] < 40, f"{name} costs nothing: {idle[name]}, {after[name]}")
        true(guarded[name] < most, f"{name} costs less than {most}: {guarded[name]}")
