#!/usr/bin/python3
"""Random sequences of what clients do with a function: it is in use exactly when somebody has it open.

VFWARDEN_SEQUENCES says how many; a sequence is made of its number alone, so one that fails can be repeated with
VFWARDEN_FIRST_SEQUENCE. The daemon is also killed before it has recorded what it saw, and much happens while none runs.
"""

import os
import random
import socket

import fixtures
from fixtures import wait_until
from test_open import ONE, OpenTest
import vfwarden_bus as vb

FIRST = int(os.environ.get("VFWARDEN_FIRST_SEQUENCE", "0"))
SEQUENCES = int(os.environ.get("VFWARDEN_SEQUENCES", "25"))
STEPS = 10
COPIES_MAX = 6


class File:
    """One open file of the device's node or of the group's, and the places that have a descriptor of it."""

    def __init__(self, is_device, fd):
        self.is_device = is_device
        self.bound = False
        self.ours, self.processes, self.sockets = [fd], [], []

    def copies(self):
        return len(self.ours) + len(self.processes) + len(self.sockets)


class Sequences(OpenTest):
    def setUp(self):
        super().setUp()
        self.vfio.add_device(self.functions[ONE], "vfio7")
        self.vfio.add_iommufd()
        # Only of a node that users may open, an opening while no daemon runs is found in a socket.
        for name in ("vfio/devices/vfio7", f"vfio/{self.functions[ONE].group}"):
            os.chmod(self.vfio.path(name), 0o666)
        self.files = []
        self.random = None
        self.done = []

    # --- steps; each does nothing where it makes no sense

    ALONE = ["step_open_node", "step_open_group_node", "step_bind", "step_dup", "step_pass_to_a_process",
             "step_pass_to_a_socket", "step_read_from_a_socket", "step_close"]

    def opened(self, kind):
        """By the daemon, which refuses as long as somebody has the function."""
        if self.files:
            self.refused(kind=kind)
            return
        fd, facts = self.open(kind=kind)
        if "iommufd" in facts:
            os.close(facts["fds"][facts["iommufd"]])
        self.files.append(File(kind == "device", fd))

    def step_open_device(self):
        self.opened("device")

    def step_open_group(self):
        self.opened("group")

    def step_open_node(self):
        """Root's own program, which asks nobody."""
        if all(file.is_device for file in self.files):
            fd = os.open(self.vfio.path("vfio/devices/vfio7"), os.O_RDWR | os.O_CLOEXEC)
            self.files.append(File(True, fd))

    def step_bind(self):
        if self.files and not any(file.bound for file in self.files):
            self.random.choice(self.files).bound = True
            self.functions[ONE].write("enable", "1")

    def source(self):
        """A file of which there is a descriptor here."""
        files = [file for file in self.files if file.ours and file.copies() < COPIES_MAX]
        return self.random.choice(files) if files else None

    def step_dup(self):
        if file := self.source():
            file.ours.append(os.dup(file.ours[0]))

    def step_pass_to_a_process(self):
        if file := self.source():
            file.processes.append(self.holder(file.ours[0]))
            os.close(file.ours.pop())

    def step_pass_to_a_socket(self):
        if file := self.source():
            pair = socket.socketpair()
            socket.send_fds(pair[0], [b"x"], [file.ours[0]])
            file.sockets.append(pair)
            os.close(file.ours.pop())

    def step_read_from_a_socket(self):
        if files := [file for file in self.files if file.sockets]:
            file = self.random.choice(files)
            pair = file.sockets.pop()
            _, fds, _, _ = socket.recv_fds(pair[1], 1, 1)
            file.ours.extend(fds)
            self.close_pair(pair)

    @staticmethod
    def close_pair(pair):
        for end in pair:
            end.close()

    def drop(self, file):
        """One copy, of any kind: a close, a process that is killed, a socket that nobody has read."""
        places = [place for place in (file.ours, file.processes, file.sockets) if place]
        copy = self.random.choice(places).pop()
        if file.copies() == 0:
            self.files.remove(file)
        if isinstance(copy, int):
            os.close(copy)
        elif isinstance(copy, tuple):
            self.close_pair(copy)
        else:
            self.end(copy)
        # The kernel disables the device after its last close.
        if file.copies() == 0 and file.bound:
            self.functions[ONE].write("enable", "0")

    def step_close(self):
        if self.files:
            self.drop(self.random.choice(self.files))

    def step_open_group_node(self):
        if not self.files:
            self.files.append(File(False, self.vfio.open_group(self.functions[ONE])))

    def step_restart(self):
        self.kill()
        self.start()

    def step_go_on_without_a_daemon(self):
        self.kill()
        for _ in range(self.random.randint(1, 4)):
            self.done.append(self.random.choice(self.ALONE))
            getattr(self, self.done[-1])()
        self.start()

    # --- what holds

    def check(self):
        expected = bool(self.files)
        self.wait_property(ONE, "InUse", expected)
        self.fence()
        self.wait_property(ONE, "InUse", expected)
        processes = {process.pid for file in self.files for process in file.processes}
        if any(file.ours for file in self.files):
            processes.add(os.getpid())
        self.wait_users_are(processes or ({0} if expected else set()))

    def wait_users_are(self, pids):
        """A process that got a copy from one that has another is looked for when somebody asks."""
        def look():
            found = {pid for pid, _ in self.users()}
            return found <= pids and bool(found) == bool(pids)
        wait_until(look, None, lambda: f"users among {pids}, are {self.users()}")

    def run_sequence(self, steps):
        # Another machine may have devices open all the time.
        others = self.random.randint(0, 1)
        for _ in range(STEPS):
            self.done.append(self.random.choice(steps))
            # The kernel counts before fanotify reports.
            self.vfio.set_references(len(self.files) + 4)
            getattr(self, self.done[-1])()
            self.vfio.set_references(len(self.files) + others)
            self.check()
        self.done.append("all closed")
        while self.files:
            self.drop(self.files[0])
        self.vfio.set_references(others)
        self.check()

    def test_in_use_exactly_when_somebody_has_it(self):
        self.vfio.set_references(0)
        self.start()
        steps = sorted(name for name in dir(self) if name.startswith("step_"))
        for seed in range(FIRST, FIRST + SEQUENCES):
            self.random = random.Random(seed)
            self.done = []
            try:
                self.run_sequence(steps)
            except (vb.DeadlineMissed, vb.BusError) as error:
                self.fail(f"sequence {seed}, {', '.join(self.done)}: {error}")


if __name__ == "__main__":
    fixtures.main_among_own_processes()
