#!/usr/bin/python3
"""kill -9 at random points of mixed operations: nothing that was answered with yes is lost, nothing that failed has happened.

Environment:
  VFWARDEN_KILLS  how often the daemon is killed, by default 25 times; `tests/run stress` has it 1,000 times
  VFWARDEN_SEED   the seed of a run that is to be repeated; each run prints its own
"""

import dataclasses
import os
import random
import signal
import socket
import time

import fixtures
from fixtures import wait_until
from gi.repository import GLib
from reachable import reachable
from smalldisk import SmallDisk
import vfio_user
import vfwarden_bus as vb

KILLS = int(os.environ.get("VFWARDEN_KILLS", "25"))
SEED = int(os.environ.get("VFWARDEN_SEED", random.randrange(1 << 30)))

PLAIN = [f"0000:{bus:02x}:00.0" for bus in range(0x20, 0x2c)]   # locks and inhibitors
SERVED = ["0000:40:00.0", "0000:41:00.0", "0000:42:00.0"]      # I/O sessions
LEASED = ["0000:02:00.0", "0000:03:00.0", "0000:05:00.0"]
UNPLUGGED = ["0000:50:00.0", "0000:51:00.0"]
PF = ["0000:60:00.0", "0000:61:00.0"]
OWN_MODE = {address: 0o220 if i % 2 else 0o200 for i, address in enumerate(PLAIN)}

# The longest time from one call to the next, and from the last to the kill, in seconds.
BETWEEN_CALLS = (0, 0, 0.001, 0.003, 0.01, 0.03)
BEFORE_THE_KILL = (0, 0.0005, 0.001, 0.003, 0.01, 0.1)

# How the bus answers for a daemon that is gone, and the daemon for calls that it did not come to.
NOTHING_KNOWN = ("org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.ServiceUnknown", "local")

ZPCI_IO = "org.vfwarden1.ZpciIo"


@dataclasses.dataclass
class Call:
    """One that was sent: what it was about, and what to do about each way to end."""

    what: str
    call: object
    yes: object
    unknown: object = lambda: None


class Kill(fixtures.DaemonTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(open_device=True, configure=True, inhibit=True, unplug=True, zpci_io=True)
        self.start_kernel()
        vfio = self.start_vfio()
        self.random = random.Random(SEED)
        self.functions = {address: self.sysfs.add(address, driver="vfio-pci")
                          for address in PLAIN + SERVED + LEASED + UNPLUGGED}
        for address in LEASED:
            vfio.add_group(self.functions[address])
        for address, mode in OWN_MODE.items():
            self.functions[address].chmod("reset", mode)
        for address in PF:
            self.functions[address] = self.sysfs.add_pf(address, total=4)
        self.configure(f"[Io]\nEmulatedFunctions={' '.join(SERVED)}\n")
        # What was answered with yes, and what of it is not known because there was no answer.
        self.inhibitors, self.locks, self.leases, self.sessions = {}, {}, {}, {}
        self.gone, self.doubtful = set(), set()
        self.number = 0
        self.counts = {}
        self.addCleanup(self.let_go_of_all)

    def let_go_of_all(self):
        for fd in [*self.inhibitors.values(), *self.leases.values()]:
            os.close(fd)
        for session in self.sessions.values():
            session.close()

    # --- calls

    def function_call(self, address, interface, method, signature="()", args=(), **kwargs):
        return self.client.bus.start_call(vb.function_path(address), interface, method, signature, args, **kwargs)

    def inhibit(self, address):
        who = f"number {self.number}"
        call = self.client.bus.start_call(vb.ROOT, vb.MANAGER, "Inhibit", "(ssss)",
                                          (address, "reset", who, "ü " + "x" * self.random.randrange(200)), with_fds=True)
        return Call("inhibit", call, lambda: self.inhibitors.__setitem__((address, who), call.fds[0]))

    def lock(self, address):
        why = f"number {self.number}"
        return Call("lock", self.function_call(address, vb.FUNCTION, "Lock", "(s)", (why,)),
                    lambda: self.locks.__setitem__(address, why), lambda: self.doubtful.add(address))

    def unlock(self, address):
        return Call("unlock", self.function_call(address, vb.FUNCTION, "Unlock"),
                    lambda: self.locks.pop(address, None), lambda: self.doubtful.add(address))

    def open(self, address):
        call = self.function_call(address, vb.FUNCTION, "Open", "(a{sv})", ({},), with_fds=True)

        def opened():
            handle, facts = call.result()
            os.close(call.fds[facts["receipt"]])
            self.leases[address] = call.fds[handle]
        return Call("open", call, opened)

    def open_session(self, address):
        call = self.function_call(address, ZPCI_IO, "OpenSession", "(a{sv})", ({},), with_fds=True)

        def opened():
            end = socket.socket(fileno=call.fds[0])
            end.settimeout(4 * fixtures.DEADLINE)
            self.sessions[address] = vfio_user.Client(end)
            self.sessions[address].version()
        return Call("open-session", call, opened)

    def set_num_vfs(self, address):
        return Call("set-num-vfs", self.client.start_set_num_vfs(address, self.random.randrange(5)), lambda: None)

    def unplug(self, address):
        return Call("unplug", self.client.start_unplug(address, 0), lambda: self.gone.add(address))

    # --- what a holder does by itself

    def let_go(self):
        """Ends something that is held; the daemon is not asked."""
        held = [(self.inhibitors, os.close), (self.leases, os.close), (self.sessions, lambda session: session.close())]
        table, close = self.random.choice(held)
        if table:
            close(table.pop(self.random.choice(list(table))))

    def free(self, addresses, *tables):
        """One of those that nothing is known of, and that no call of this round is about."""
        left = [address for address in addresses
                if address not in self.busy and not any(address in table for table in tables)]
        if not left:
            return None
        address = self.random.choice(left)
        self.busy.add(address)
        return address

    def begin(self):
        """Sends one call, or releases something. Returns the Call, or None."""
        self.number += 1
        begin, addresses, tables = self.random.choice([
            (self.inhibit, PLAIN, ()), (self.inhibit, PLAIN, ()), (self.lock, PLAIN, ()), (self.unlock, PLAIN, ()),
            (self.open, LEASED, (self.leases,)), (self.open_session, SERVED, (self.sessions,)),
            (self.set_num_vfs, PF, ()), (self.unplug, UNPLUGGED, (self.gone,)), (None, (), ())])
        if not begin:
            self.let_go()
            return None
        address = self.free(addresses, *tables)
        return begin(address) if address else None

    def end(self, one):
        try:
            one.call.result(8 * fixtures.DEADLINE)
        except vb.BusError as error:
            outcome = "unanswered" if error.name in NOTHING_KNOWN else "failed"
            for fd in getattr(one.call, "fds", None) or []:
                os.close(fd)
            if outcome == "unanswered":
                one.unknown()
        else:
            outcome = "yes"
            one.yes()
        self.counts[one.what, outcome] = self.counts.get((one.what, outcome), 0) + 1

    # --- a round

    def spoil(self):
        """What a variant does to the daemon before a call."""

    def wait_a_moment(self, moments):
        """Not for anything: the point at which the daemon is killed shall be any."""
        end = time.monotonic() + self.random.choice(moments) * self.random.random()
        context = GLib.MainContext.default()
        while time.monotonic() < end:
            context.iteration(False)

    def operate_and_kill(self):
        self.busy = set()
        calls = []
        for _ in range(self.random.randrange(1, 9)):
            self.spoil()
            one = self.begin()
            if one:
                calls.append(one)
            self.wait_a_moment(BETWEEN_CALLS)
        self.wait_a_moment(BEFORE_THE_KILL)
        self.assertTrue(self.daemon.running, "the daemon ended by itself")
        self.kill()
        for one in calls:
            self.end(one)

    # --- what must hold for the next daemon

    def closed(self, address):
        return self.functions[address].mode("reset") & 0o222 == 0

    def listed(self):
        return {(row[0], row[2]) for row in self.client.manager("ListInhibitors")}

    def check_inhibitors(self):
        lost = set(self.inhibitors) - self.listed()
        self.assertFalse(lost, "inhibitors that are lost")
        wait_until(lambda: self.listed() == set(self.inhibitors), 4 * fixtures.DEADLINE,
                   lambda: f"inhibitors {set(self.inhibitors)}, are {self.listed()}")

    def check_locks(self):
        for address in PLAIN:
            why = self.client.function(address, "LockWhy")
            if address in self.doubtful:
                self.locks.pop(address, None)
                if why:
                    self.locks[address] = why
            self.assertEqual(why, self.locks.get(address, ""), f"the lock of {address}")
        self.doubtful.clear()

    def check_modes(self):
        for address in PLAIN:
            locked = address in self.locks or any(of == address for of, _ in self.inhibitors)
            mode = OWN_MODE[address] & (~0o222 if locked else ~0)
            wait_until(lambda: self.functions[address].mode("reset") == mode, 4 * fixtures.DEADLINE,
                       lambda: f"mode {mode:04o} of {address}, is {self.functions[address].mode('reset'):04o}")

    def users(self, address):
        return [(user["pid"], user["brokered"], user["session"])
                for user in self.client.manager("DescribeUsers", "(s)", address)]

    def check_users(self, addresses, held, brokered):
        for address in addresses:
            expected = [(os.getpid(), brokered, not brokered)] if address in held else []
            wait_until(lambda: self.users(address) == expected, 12 * fixtures.DEADLINE,
                       lambda: f"users {expected} of {address}, are {self.users(address)}")

    def check_sessions(self):
        for session in self.sessions.values():
            session.read(0, 0, 8)

    def check_unplugged(self):
        for address in UNPLUGGED:
            there = os.path.isdir(f"{self.sysfs.root}/sys/bus/pci/devices/{address}")
            self.assertFalse(there and address in self.gone, f"{address} was unplugged")
            if not there:
                self.functions[address] = self.sysfs.add(address, driver="vfio-pci", announce=True)
        self.gone.clear()

    def left_over(self):
        return [name for name in os.listdir(self.state_dir) if name not in ("state.json", "ballast")]

    def check_files(self):
        """Of files that a killed daemon left unfinished; this one may be saving at the moment."""
        wait_until(lambda: not self.left_over(), None, lambda: f"{self.left_over()} to go")

    def check_store(self):
        """What nobody has any more takes no place in systemd's store."""
        n = len(self.inhibitors) + len(self.sessions)
        wait_until(lambda: len(self.notify.store) == n, 4 * fixtures.DEADLINE,
                   lambda: f"{n} descriptors in the store, are {[name for name, _ in self.notify.store]}")

    def check(self):
        self.check_inhibitors()
        self.check_locks()
        self.check_modes()
        self.check_users(LEASED, self.leases, True)
        self.check_users(SERVED, self.sessions, False)
        self.check_sessions()
        self.check_unplugged()
        self.check_files()
        self.check_store()

    def forget_old_runs(self):
        while len(self.daemons) > 8:
            old = self.daemons.pop(0)
            self.assertIsNone(fixtures.SANITIZER_REPORT.search(old.log))
            old.close(kill_children=False)

    def start(self):    # pylint: disable=arguments-differ
        super().start(f"--io-program={reachable(os.environ['VFWARDEN_IO'])}", "--io-user=nobody", picture=False)

    def test_kill(self):
        print(f"VFWARDEN_SEED={SEED} VFWARDEN_KILLS={KILLS}", flush=True)
        self.start()
        for n in range(KILLS):
            with self.subTest(kill=n, seed=SEED):
                self.operate_and_kill()
                vb.drain()
                self.start()
                self.check()
            if not self._outcome.success:
                break
            self.forget_old_runs()
        print(f"{KILLS} kills: " + ", ".join(f"{what} {outcome} {n}" for (what, outcome), n in sorted(self.counts.items())),
              flush=True)


class KillWithFullDisk(Kill):
    """The same where the run-time state is on a disk that is full half of the time."""

    def setUp(self):
        super().setUp()
        self.disk = SmallDisk(self.state_dir)
        self.addCleanup(self.disk.close)
        self.full = False

    def spoil(self):
        full = self.random.random() < 0.5
        if full != self.full:
            self.disk.fill() if full else self.disk.free()
        self.full = full


if __name__ == "__main__":
    fixtures.main()
