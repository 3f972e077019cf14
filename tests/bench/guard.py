"""Instructions that the kernel guard adds to calls of programs that have nothing to do with it.

Measured in the emulated machine, whose clock counts instructions (`tests/vm/machine run --instructions`): the load of the host
does not count, and the kernel is Debian's. The scenario guard_cost asserts the limits."""

import os
import subprocess

MACHINE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "vm", "machine")
LINE = "# guard-cost | "


def report(out):
    print("\nThe kernel guard: instructions that it adds to a call, in the emulated machine", flush=True)
    result = subprocess.run([MACHINE, "run", "--instructions", "guard_cost."], text=True, check=False,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    for line in result.stdout.splitlines():
        if line.startswith(LINE):
            when, call, added = line.removeprefix(LINE).split(" | ")
            out.fact(f"{call}, {when}", f"+{added}")
    out.fact("limits of the scenario", "kept" if result.returncode == 0 else "not kept, or not run", result.returncode == 0)
