#!/usr/bin/python3
"""vfwarden io, by the library, the daemon and vfwarden-io, to the emulated back end."""

import contextlib
import errno
import json
import os
import select
import socket
import tempfile
import time

import fixtures
import pace
from test_cli import Command
from test_session import LONG, OTHER, PF, PLAIN, SessionTest
import vfio_user
import vfwarden_bus as vb


class IoCommand(SessionTest):
    def run_command(self, *arguments, user=None):
        return Command(self, ["io", *arguments], user).result()

    def check_unused(self):
        """The command has ended when its session has: the next one is not refused because of it."""
        self.assertEqual([self.client.function(address, "InUse") for address in (PLAIN, OTHER)], [False, False])

    def check(self, arguments, output="", error="", code=0):
        self.assertEqual(self.run_command(*arguments), (code, output, error))
        self.check_unused()

    def test_what_is_stored_is_loaded(self):
        self.start()
        self.check(["store", "2:0.0", "0", "0x10", "0011AAbb44556677"], f"{PLAIN}: stored 8 bytes at 0x10 of BAR 0\n")
        self.check(["load", "2:0.0", "0", "16", "8"], "0011aabb44556677\n")
        self.check(["load", PLAIN, "0", "0x12", "0x1"], "aa\n")
        self.check(["store", "--quiet", PLAIN, "0", "17", "ff"], "")
        self.check(["store", PLAIN, "0", "17", "ff"], f"{PLAIN}: stored 1 byte at 0x11 of BAR 0\n")
        self.check(["load", PLAIN, "0", "0x10", "4"], "00ffaabb\n")
        self.check(["load", OTHER, "0", "0x10", "8"], "00" * 8 + "\n")
        self.assertEqual(bytes(self.call(PLAIN, "Load", "(ytq)", 0, 16, 8)[0]).hex(), "00ffaabb44556677")

    def test_store_block(self):
        self.start()
        self.check(["store", PLAIN, "0", "8", bytes(range(64)).hex()], f"{PLAIN}: stored 64 bytes at 0x8 of BAR 0\n")
        self.check(["load", PLAIN, "0", "64", "8"], "38393a3b3c3d3e3f\n")

    def test_configuration_space(self):
        self.start()
        code, output, error = self.run_command("load", PLAIN, "config", "0", "4")
        self.assertEqual((code, error), (0, ""))
        self.assertRegex(output, r"\A[0-9a-f]{8}\n\Z")

    def socket_path(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        return os.path.join(directory.name, "socket")

    def connect(self, path):
        end = socket.socket(socket.AF_UNIX)
        end.settimeout(fixtures.DEADLINE)
        end.connect(path)
        client = vfio_user.Client(end)
        client.version()
        return client

    def test_serve(self):
        """A program that knows a path is all it takes."""
        self.start()
        path = self.socket_path()
        run = Command(self, ["io", "serve", PLAIN, f"--socket={path}"])
        self.wait_property(PLAIN, "InUse", True)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o700, "the user alone connects")
        client = self.connect(path)
        client.write(0, 0, b"12345678")
        self.assertEqual(client.read(0, 0, 8), b"12345678")
        client.close()
        self.assertEqual(run.result(), (0, f"{PLAIN}: a client can connect to {path}\n", ""))
        self.assertFalse(os.path.exists(path))
        self.wait_property(PLAIN, "InUse", False)

    def test_serve_a_command(self):
        """The session ends with it, also when it has not connected."""
        self.start()
        path = self.socket_path()
        code, output, error = self.run_command("serve", PLAIN, f"--socket={path}", "--", "sh", "-c", 'test -S "$0" && exit 7', path)
        self.assertEqual((code, output, error), (7, "", ""))
        self.assertFalse(os.path.exists(path))
        self.wait_property(PLAIN, "InUse", False)

    def test_serve_with_dma(self):
        """Bus master is the client's then; who may not have that gets no session, and no path."""
        self.start()
        for options, register in ((["--dma"], b"\x06"), ([], b"\x02")):
            path = self.socket_path()
            run = Command(self, ["io", "serve", PLAIN, f"--socket={path}", *options])
            self.wait_property(PLAIN, "InUse", True)
            client = self.connect(path)
            client.write(vfio_user.CONFIG, 4, b"\x06\0")
            self.assertEqual(client.read(vfio_user.CONFIG, 4, 1), register)
            client.close()
            self.assertEqual(run.result()[0], 0)
            self.wait_property(PLAIN, "InUse", False)
        # Where another user may make a socket. A process id would not do as a name: each test counts its own from 1.
        directory = tempfile.TemporaryDirectory(dir="/tmp")
        self.addCleanup(directory.cleanup)
        os.chmod(directory.name, 0o777)
        path = os.path.join(directory.name, "socket")
        code, output, error = self.run_command("serve", PLAIN, f"--socket={path}", "--dma", user=65534)
        self.assertEqual((code, output), (4, ""), error)
        self.assertFalse(os.path.exists(path))

    def test_serve_with_memory(self):
        """As much as is asked for, up to the user's limit."""
        self.start(io="MaxMappedMemoryPerUser=2048\n")
        for options, fits in ((["--memory=2048"], 1536), ([], 1024)):
            path = self.socket_path()
            run = Command(self, ["io", "serve", PLAIN, f"--socket={path}", *options])
            self.wait_property(PLAIN, "InUse", True)
            client = self.connect(path)
            memory = os.memfd_create("memory")
            self.addCleanup(os.close, memory)
            os.ftruncate(memory, 4 << 30)
            client.map(0, fits << 20, memory)
            with self.assertRaises(vfio_user.ErrorReply):
                client.map(fits << 20, 1 << 30, memory)
            client.close()
            self.assertEqual(run.result()[0], 0)
            self.wait_property(PLAIN, "InUse", False)
        code, _, error = self.run_command("serve", PLAIN, f"--socket={self.socket_path()}", "--memory=2049")
        self.assertEqual(code, 7, error)
        for text in ("0", "x", "-1", "1099511627777"):
            self.assertEqual(self.run_command("serve", PLAIN, f"--socket={self.socket_path()}", f"--memory={text}")[0], 2)

    def serve_released(self, *options, address=PLAIN, drain=LONG):
        """(the command that serves, a client) of a function whose removal is requested then."""
        self.start(drain=drain)
        path = self.socket_path()
        run = Command(self, ["io", "serve", address, f"--socket={path}", *options])
        self.wait_property(address, "InUse", True)
        return run, self.connect(path)

    def qmp(self):
        """(path, socket) of a VMM that listens."""
        path = self.socket_path()
        listener = socket.socket(socket.AF_UNIX)
        listener.settimeout(fixtures.DEADLINE)
        listener.bind(path)
        listener.listen(1)
        self.addCleanup(listener.close)
        return path, listener

    def take_device_del(self, listener):
        """A stand-in's part up to the order to delete the device, of the connection that it returns."""
        end, _ = listener.accept()
        end.settimeout(fixtures.DEADLINE)
        file = end.makefile("rwb", buffering=0)
        self.addCleanup(end.close)
        self.addCleanup(file.close)
        file.write(b'{"QMP": {"version": {}, "capabilities": []}}\r\n')
        self.assertEqual(json.loads(file.readline()), {"execute": "qmp_capabilities"})
        file.write(b'{"event": "RESUME"}\r\n{"return": {}}\r\n')
        self.assertEqual(json.loads(file.readline()), {"execute": "device_del", "arguments": {"id": "nvme0"}})
        return file

    def test_serve_releases_by_qmp(self):
        """The VMM is asked, and the function goes long before the deadline."""
        qmp, listener = self.qmp()
        run, client = self.serve_released(f"--qmp={qmp}", "--device-id=nvme0")
        unplug = self.client.start_unplug(PLAIN, LONG)
        file = self.take_device_del(listener)
        file.write(b'{"return": {}}\r\n')
        client.close()      # as QEMU does before the event
        with contextlib.suppress(BrokenPipeError):  # the command may know by now that the function has gone
            file.write(b'{"event": "DEVICE_DELETED", "data": {"device": "nvme0", "path": "/x"}}\r\n')
        unplug.result()
        code, _, error = run.result()
        self.assertEqual((code, error), (0, ""))

    def test_serve_with_a_guest_that_keeps_it(self):
        """A request that fails is reported, and the next one is another try."""
        qmp, listener = self.qmp()
        run, client = self.serve_released(f"--qmp={qmp}", "--device-id=nvme0")
        unplug = self.client.start_unplug(PLAIN, LONG)
        file = self.take_device_del(listener)
        file.write(b'{"error": {"class": "GenericError", "desc": "busy"}}\r\n')
        self.assertEqual(file.readline(), b"", "the connection is closed after that")
        self.client.cancel_unplug(PLAIN)
        with self.assertRaises(vb.BusError):
            unplug.result()

        listener.close()
        unplug = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        client.close()
        unplug.result()
        _, _, error = run.result()
        self.assertEqual(error.splitlines(),
                         [f"vfwarden: {PLAIN}: Failed to remove the device nvme0 from the VMM: busy",
                          f"vfwarden: {PLAIN}: Failed to connect to {qmp}: Connection refused"])

    def test_serve_with_a_guest_that_does_nothing(self):
        """The VMM's socket is free again at the deadline, and when the function is gone."""
        qmp, listener = self.qmp()
        run, client = self.serve_released(f"--qmp={qmp}", "--device-id=nvme0")
        for deadline, options in ((3 * pace.SCALE, {}), (LONG, {"insist": True})):
            unplug = self.client.start_unplug(PLAIN, deadline, **options)
            file = self.take_device_del(listener)
            file.write(b'{"return": {}}\r\n')
            if not options:
                with self.assertRaises(vb.BusError):
                    unplug.result()
                self.assertEqual(file.readline(), b"", "the connection after the deadline")
        unplug.result()
        self.assertEqual(file.readline(), b"", "the connection after the removal")
        client.close()
        _, _, error = run.result()
        self.assertEqual(error, f"vfwarden: {PLAIN}: Failed to remove the device nvme0 from the VMM: its guest has not "
                                "released it in time\n")

    def test_serve_with_a_vf_that_stays(self):
        """The VMM's socket is free again when a VF has been taken, and when the request is withdrawn; that is no failure."""
        vf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci").vfs[0].address
        qmp, listener = self.qmp()
        run, client = self.serve_released(f"--qmp={qmp}", "--device-id=nvme0", address=vf, drain=1)
        for insist in (False, True):
            unplug = self.client.start_unplug(vf, LONG, insist=insist)
            file = self.take_device_del(listener)
            file.write(b'{"return": {}}\r\n')
            if insist:
                unplug.result()
            else:
                self.client.cancel_unplug(vf)
                with self.assertRaises(vb.BusError):
                    unplug.result()
            self.assertEqual(file.readline(), b"", f"the connection, insist: {insist}")
        self.assertEqual(self.client.function(vf, "Driver"), "")
        client.close()
        code, _, error = run.result()
        self.assertEqual((code, error), (0, ""))

    def test_serve_releases_by_a_command(self):
        """It learns the address and the deadline; the command that has the session ends because of it, and its code counts."""
        self.start(io="DrainSeconds=600\n")
        fifo = self.socket_path()
        os.mkfifo(fifo)
        run = Command(self, ["io", "serve", PLAIN, f"--socket={self.socket_path()}",
                             f'--on-unplug=echo "$VFWARDEN_ADDRESS $VFWARDEN_DEADLINE_USEC" >{fifo}', "--",
                             "sh", "-c", 'read told <"$0"; echo "$told"; exit 7', fifo])
        fixtures.wait_until(run.children, None, "the command that has the session")
        before = time.time()
        self.client.start_unplug(PLAIN, LONG).result()
        code, output, error = run.result()
        address, deadline = output.split()
        self.assertEqual((code, address, error), (7, PLAIN, ""))
        self.assertGreater(int(deadline) / 1e6, before)

    def test_serve_with_a_command_that_fails(self):
        """That is reported, and the session ends as without one."""
        self.start()
        path, fifo = self.socket_path(), self.socket_path()
        os.mkfifo(fifo)
        run = Command(self, ["io", "serve", PLAIN, f"--socket={path}", f"--on-unplug=echo >{fifo}; exit 3"])
        self.wait_property(PLAIN, "InUse", True)
        client = self.connect(path)
        unplug = self.client.start_unplug(PLAIN, LONG, insist=True)
        with open(fifo, encoding="utf-8") as file:
            file.read()
        fixtures.wait_until(lambda: not run.children(), None, "the end of the command")
        unplug.result()
        with self.assertRaises(vfio_user.ErrorReply) as caught:
            while True:     # the process hears of it a little later
                client.read(0, 0, 8)
        self.assertEqual(caught.exception.errno, errno.ENODEV)
        client.close()
        code, _, error = run.result()
        self.assertEqual((code, error), (0, f"vfwarden: {PLAIN}: the command of --on-unplug failed with status 3\n"))

    def test_serve_requested_again_while_the_command_runs(self):
        """Once more at its end, if that request is pending still."""
        self.start()
        path, fifo, gate = (self.socket_path() for _ in range(3))
        for name in (fifo, gate):
            os.mkfifo(name)
        run = Command(self, ["io", "serve", PLAIN, f"--socket={path}",
                             f'--on-unplug=echo "$VFWARDEN_DEADLINE_USEC" >{fifo}; read word <{gate}'])
        self.wait_property(PLAIN, "InUse", True)
        client = self.connect(path)

        requests = os.open(fifo, os.O_RDWR)     # so that nobody waits for the other end
        self.addCleanup(os.close, requests)

        def told():
            self.assertTrue(select.select([requests], [], [], fixtures.DEADLINE)[0], "the command was not run")
            return int(os.read(requests, 64))

        def end_command():
            with open(gate, "w", encoding="utf-8") as file:
                file.write("go\n")
        self.client.start_unplug(PLAIN, LONG)
        first = told()
        self.client.cancel_unplug(PLAIN)
        self.wait_property(PLAIN, "State", "present")
        self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        end_command()
        self.assertGreater(told(), first)
        self.client.cancel_unplug(PLAIN)
        self.wait_property(PLAIN, "State", "present")
        end_command()
        fixtures.wait_until(lambda: not run.children(), None, "the end of the command")
        client.close()
        self.assertEqual(run.result()[0], 0)

    def test_serve_what_cannot_be(self):
        self.start()
        path = self.socket_path()
        usage = ("vfwarden: io serve needs an address and a path: vfwarden io serve ADDRESS --socket=PATH "
                 "[-- COMMAND...]\n")
        for arguments in (["serve"], ["serve", PLAIN], ["serve", f"--socket={path}"],
                          ["serve", PLAIN, f"--socket={path}", "true"]):
            self.check(arguments, error=usage, code=2)
        for options, error in ((["--qmp=/x"], "--qmp and --device-id belong together"),
                               (["--device-id=x"], "--qmp and --device-id belong together"),
                               (["--qmp=/x", "--device-id=x", "--on-unplug=true"], "--on-unplug and --qmp exclude each other")):
            self.check(["serve", PLAIN, f"--socket={path}", *options], error=f"vfwarden: {error}\n", code=2)
        with open(path, "wb"):
            pass
        self.check(["serve", PLAIN, f"--socket={path}"], code=1,
                   error=f"vfwarden: Cannot listen at {path}: Address already in use\n"
                         f"vfwarden: If no other program listens there any more, remove it: rm {path}\n")
        self.assertTrue(os.path.exists(path), "what is somebody else's stays")
        os.unlink(path)
        code, _, error = self.run_command("serve", "7:0.0", f"--socket={path}")
        self.assertNotEqual((code, error), (0, ""))
        self.assertFalse(os.path.exists(path))

    def test_json(self):
        self.start()
        for arguments in (["store", PLAIN, "0", "0x10", "0102"], ["load", PLAIN, "0", "0x10", "2"]):
            code, output, error = self.run_command("--json", *arguments)
            self.assertEqual((code, error), (0, ""))
            self.assertEqual(json.loads(output), {"Address": PLAIN, "Space": "0", "Offset": 16, "Data": "0102",
                                                  "Backend": "emulated"})
            self.check_unused()

    def test_what_the_rules_refuse(self):
        self.start()
        for arguments, error in (
                (["load", PLAIN, "0", "4", "8"], "Cannot load 8 bytes at 0x4 of BAR 0 of "
                 f"{PLAIN}: a load takes 1 to 8 bytes inside one doubleword of a BAR, or what the back end can do"),
                (["load", PLAIN, "0", "0x7fffffffffffffff", "1"], None),
                (["load", PLAIN, "5", "0", "1"], None),
                (["store", PLAIN, "0", "4", "00" * 16], "Cannot store 16 bytes at 0x4 of BAR 0 of "
                 f"{PLAIN}: a store takes what the back end emulated can do at once, 4096 bytes at most; see "
                 "vfwarden-io(7)")):
            code, output, said = self.run_command(*arguments)
            self.assertEqual((code, output), (2, ""), said)
            self.assertEqual(said, f"vfwarden: {error}\n" if error else said)
            self.check_unused()
        self.assertIn("bytes", self.run_command("load", PLAIN, "0", "0x7fffffffffffffff", "1")[2])

    def test_somebody_has_it(self):
        self.start()
        self.open()
        code, output, error = self.run_command("load", PLAIN, "0", "0", "8")
        self.assertEqual((code, output), (6, ""))
        self.assertIn(f"pid {os.getpid()}", error)

    def test_not_bound_to_vfio(self):
        self.sysfs.add("0000:04:00.0", driver="igb")
        self.start()
        code, output, error = self.run_command("load", "4:0.0", "0", "0", "8")
        self.assertEqual((code, output), (6, ""))
        self.assertIn("vfwarden bind 0000:04:00.0 vfio-pci", error)

    def test_who_may(self):
        self.start()
        code, output, error = self.run_command("load", PLAIN, "0", "0", "8", user=65534)
        self.assertEqual((code, output, error), (0, "00" * 8 + "\n", ""))
        self.check_unused()
        self.polkit.verdicts["org.vfwarden1.zpci-io"] = False
        code, output, error = self.run_command("load", PLAIN, "0", "0", "8", user=65534)
        self.assertEqual((code, output), (4, ""), error)


if __name__ == "__main__":
    fixtures.main()
