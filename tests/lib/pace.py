"""How long tests wait, and how long "at once" is, on the machine as it is now.

A deadline stands between a hang and the user, nothing else: who waits for an event goes on as soon as it is there. So
DEADLINE is generous. SCALE is for what a test gives others as a duration, and for deadlines that are part of what is
tested: how much slower everything is than it would be alone on this machine. It has two parts: VFWARDEN_DEADLINE_SCALE,
what a sanitizer or an emulator costs, and what others take of the processors, which is measured.
"""

import os
import subprocess
import time

# Noise, and the end of what can be believed.
SLOWER_MIN, SLOWER_MAX = 1.3, 20.0
SAMPLE_SECONDS = 0.05


def slower():
    """How many times as long as on an idle machine a computation takes now; 1 if it is idle."""
    wall, processor = time.monotonic(), time.process_time()
    # Starting a process is in it: tests do little else, and it waits for the processor again and again.
    subprocess.run(["true"], check=True)
    while time.process_time() - processor < SAMPLE_SECONDS:
        pass
    ratio = (time.monotonic() - wall) / (time.process_time() - processor)
    return 1.0 if ratio < SLOWER_MIN else min(ratio, SLOWER_MAX)


FIXED = float(os.environ.get("VFWARDEN_DEADLINE_SCALE", "1"))
SCALE = FIXED * slower()
DEADLINE = 20.0 * SCALE


def at_most(seconds):
    """What `seconds` on an idle machine may have become by now: for an assertion about a time that has just passed."""
    scale = max(SCALE, FIXED * slower())
    # Where others compete, each process that has a part in it waits for its turn.
    return seconds * scale * (3 if scale > FIXED else 1)
