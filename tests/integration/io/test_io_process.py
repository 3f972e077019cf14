#!/usr/bin/python3
"""What vfwarden-io may do, as /proc tells, and what becomes of it when it does more."""

import os
import signal

import ioprocess
from ioprocess import DEADLINE, SANITIZED, IoTest
from io_ring import LOAD, STORE, Ring
import vfio_user as vu

PAGE = 4096
PROBE = os.environ["VFWARDEN_IO_PROBE"]


class Privileges(IoTest):
    def test_what_proc_tells(self):
        io = self.start()
        for field in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(int(io.status(field), 16), 0, field)
        self.assertEqual(io.status("NoNewPrivs"), "1")
        self.assertEqual(io.status("Seccomp"), "2")     # a filter
        for task in os.listdir(f"/proc/{io.pid}/task"):
            with open(f"/proc/{io.pid}/task/{task}/status", encoding="ascii") as file:
                self.assertIn("Seccomp:\t2\n", file.read())
        if os.getuid() == 0:
            for field in ("Uid", "Gid"):
                self.assertEqual(set(io.status(field).split()), {str(ioprocess.NOBODY)})
            self.assertEqual(io.status("Groups"), "")

    def test_started_as_root_it_has_no_capability_either(self):
        if os.getuid() != 0:
            self.fail("takes root")
        nobody, ioprocess.NOBODY = ioprocess.NOBODY, 0
        try:
            io = self.start()
        finally:
            ioprocess.NOBODY = nobody
        for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(io.status(field), 16), 0, field)

    def test_descriptors(self):
        """Its socket, the device, the control socket, and the client's memory."""
        extra = os.open("/", os.O_RDONLY)
        os.set_inheritable(extra, True)
        io = self.start()
        os.close(extra)
        names = sorted(name.split(":")[0].split(" ")[0]
                       for fd, name in io.descriptors().items() if fd > 2)
        self.assertEqual(names, ["/memfd", "socket", "socket"])
        standard = {name for fd, name in io.descriptors().items() if fd <= (1 if SANITIZED else 2)}
        self.assertEqual(standard, {"/dev/null"})
        io.client.map(0, PAGE, self.memory(PAGE))
        self.assertEqual(len([fd for fd in io.descriptors() if fd > 2]), 4)

    def test_limits(self):
        io = self.start()
        with open(f"/proc/{io.pid}/limits", encoding="ascii") as file:
            limits = {line[:26].strip(): line[26:].split()[:2] for line in file}
        self.assertEqual(limits["Max open files"], ["568", "568"])
        for name in ("Max processes", "Max core file size", "Max locked memory"):
            self.assertEqual(limits[name], ["0", "0"], name)


class Seccomp(IoTest):
    def test_a_forbidden_call_kills_it_alone(self):
        ios = [self.start(preload=PROBE), self.start()]
        for io in ios:
            self.assert_serves(io)
        ios[0].client.send(ios[0].client.message(0x7777))
        ios[0].client.expect_close()
        self.assertEqual(ios[0].wait(), -signal.SIGSYS)
        self.assertIsNone(ios[0].report())     # the daemon sees its socket close
        self.assert_serves(ios[1])

    def test_a_map_that_is_no_ring_kills_it(self):
        """Of the right kind of memory, too, and while it has a ring."""
        if SANITIZED:
            self.skipTest("a sanitizer maps memory")
        for command in range(0x7770, 0x7775):
            io = self.start(preload=PROBE)
            ring = Ring(io.client)
            self.addCleanup(ring.close)
            self.assertEqual(ring.access(DEADLINE, LOAD, 0, 0, 8)[0], 0)
            io.client.send(io.client.message(command))
            io.client.expect_close()
            self.assertEqual(io.wait(), -signal.SIGSYS, hex(command))

    def test_no_heap(self):
        """The probe makes any use of the heap a forbidden call: all there is to do takes none."""
        io = self.start(preload=PROBE)
        client = io.client
        fd = self.memory(PAGE)
        event = os.eventfd(0)
        for address in range(0, 64 * PAGE, PAGE):
            client.map(address, PAGE, fd)
        client.set_irq(vu.REQUEST_IRQ, event)
        os.close(event)
        client.device_info()
        client.region_info(vu.ZPCI)
        client.read(vu.CONFIG, 0, 4096)
        client.write(0, 0, bytes(4096))
        client.zpci(vu.STORE_BLOCK, PAGE, 0, 4096)
        client.zpci(vu.LOAD, PAGE, 0, 8)
        client.unmap(0, PAGE)
        client.write(vu.CONFIG, 4, bytes(2))
        client.write_multi((0, 0, b"12345678"), (vu.CONFIG, 4, bytes(2)))
        client.reset()
        event = os.eventfd(0)
        client.set_irqs(vu.MSIX, vu.EVENTFD | vu.TRIGGER, 0, 8, [event] * 8)
        client.set_irqs(vu.MSIX, vu.NONE | vu.TRIGGER, 0, 8)
        os.close(event)
        ring = Ring(client)
        self.addCleanup(ring.close)
        for i in range(100):
            ring.access(DEADLINE, (LOAD, STORE)[i % 2], 0, 0, 8)
        io.order(ioprocess.DRAIN)
        io.order(ioprocess.END)
        client.close()
        self.assertEqual(io.report().kind, ioprocess.CLOSED)
        self.assertEqual(io.wait(), 0)

    def test_killed(self):
        """By whom ever: the client's socket closes, and the daemon's."""
        io = self.start()
        io.process.kill()
        io.client.expect_close()
        self.assertIsNone(io.report())


class Arguments(IoTest):
    def test_wrong(self):
        import subprocess
        program = os.environ["VFWARDEN_IO"]
        for words in ([], ["--device=3"], ["--control=3"], ["--device=x", "--control=4"],
                      ["--device=3", "--control=4", "word"], ["--device=-1", "--control=4"],
                      ["--device=3", "--control=4", "--max-maps=513"],
                      ["--device=3", "--control=4", "--max-store-block=4097"],
                      ["--device=3", "--control=4", "--emulated=1,2,3,4,5,6,7"],
                      ["--device=3", "--control=4", "--emulated="], ["--what"]):
            done = subprocess.run([program, *words], stderr=subprocess.PIPE, check=False)
            self.assertEqual(done.returncode, 1, words)
            self.assertIn(b"vfwarden-io: ", done.stderr)
        done = subprocess.run([program, "--help"], stdout=subprocess.PIPE, check=True)
        self.assertIn(b"--max-memory", done.stdout)


if __name__ == "__main__":
    ioprocess.main()
