#!/usr/bin/python3
"""Leases: which client gets a descriptor, which user is listed, and until when."""

import errno
import os
import socket
import subprocess
import sys

from gi.repository import GLib

import fixtures
from fixtures import wait_until
import vfwarden_bus as vb

ONE = "0000:02:00.0"
TWO = "0000:03:00.0"

# Takes a descriptor over, says so, and ends when its input does.
HOLDER = "import sys; print('has', flush=True); sys.stdin.read()"


class OpenTest(fixtures.DaemonTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(open_device=True, configure=True, inhibit=True, unplug=True)
        self.start_kernel()
        self.vfio = self.start_vfio()
        self.functions = {a: self.sysfs.add(a, driver="vfio-pci") for a in (ONE, TWO)}
        for function in self.functions.values():
            self.vfio.add_group(function)

    def start_open(self, address=ONE, client=None, **options):
        values = {name: GLib.Variant("s", value) for name, value in options.items()}
        return (client or self.client).bus.start_call(
            vb.function_path(address), vb.FUNCTION, "Open", "(a{sv})", (values,), with_fds=True)

    def open(self, address=ONE, keep_receipt=False, **options):
        """(descriptor, facts); "receipt" is closed, as it is when a binding frees the message."""
        call = self.start_open(address, **options)
        handle, facts = call.result()
        fds = call.fds
        fd, receipt = fds[handle], fds[facts["receipt"]]
        if not keep_receipt:
            os.close(receipt)
        facts["fds"] = fds
        return fd, facts

    def refused(self, address=ONE, name=vb.REFUSED, **options):
        with self.assertRaises(vb.BusError) as caught:
            self.open(address, **options)
        self.assertEqual(caught.exception.name, name, caught.exception)
        return caught.exception.message

    def users(self, address=ONE):
        """Pairs (pid, whether by the daemon)."""
        return [(u["pid"], u["brokered"]) for u in self.client.manager("DescribeUsers", "(s)", address)]

    def wait_users(self, expected, address=ONE):
        def look():
            seen[:] = [self.users(address)]
            return seen[0] == expected
        seen = []
        wait_until(look, None, lambda: f"the users {expected}, are {seen}")

    def wait_free(self, address=ONE):
        self.wait_users([], address)    # asked for: that it is in use may not have been heard yet
        self.wait_property(address, "InUse", False)

    def holder(self, fd):
        process = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   pass_fds=[fd])
        self.addCleanup(self.end, process)
        self.assertEqual(process.stdout.readline(), b"has\n")
        return process

    @staticmethod
    def end(process):
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


class Opening(OpenTest):
    def test_a_group(self):
        self.start()
        fd, facts = self.open()
        self.assertEqual(os.stat(fd).st_rdev, os.makedev(1, 3))
        self.assertEqual(facts | {"fds": 0, "generation": 0, "receipt": 0},
                         {"kind": "group", "group": self.functions[ONE].group, "group-peers": [], "fds": 0,
                          "generation": 0, "receipt": 0})
        self.wait_property(ONE, "InUse", True)
        self.wait_users([(os.getpid(), True)])
        self.assertEqual(self.client.manager("ListUsers")[0][:3], (ONE, os.getpid(), os.getuid()))
        self.assertEqual(self.users(TWO), [])
        allowed, blockers, _ = self.client.manager("Check", "(ss)", ONE, "unbind")
        self.assertFalse(allowed)
        self.assertEqual([(b[0], b[1], b[3]) for b in blockers], [("user", ONE, os.getpid())])
        self.assertIn("opened by vfwarden", blockers[0][2])
        os.close(fd)
        self.wait_free()

    def test_again_and_again(self):
        self.start()
        generations = []
        for _ in range(3):
            fd, facts = self.open()
            generations.append(facts["generation"])
            os.close(fd)
            self.wait_free()
        self.assertEqual(generations, sorted(set(generations)))

    def test_in_use_when_the_answer_comes(self):
        self.start()
        mark = self.mark()
        fd, _ = self.open()
        self.assertIn((vb.FUNCTION, {"InUse": True}),
                      [(s.args[0], {k: v for k, v in s.args[1].items() if k == "InUse"})
                       for s in self.client.recorder.since(mark, "PropertiesChanged")])
        os.close(fd)
        self.wait_free()

    def test_who_may(self):
        self.start()
        self.polkit.verdicts["org.vfwarden1.open-device"] = False
        with self.acting_as():
            self.refused(name=vb.ACCESS_DENIED)
        self.assertEqual(self.users(), [])
        details = self.polkit.questions[-1].details
        self.assertEqual((details["address"], details["driver"]), (ONE, "vfio-pci"))

    def test_options(self):
        self.start()
        self.assertIn("'kind' is", self.refused(name=vb.INVALID_ARGS, kind="file"))
        self.assertIn("'colour'", self.refused(name=vb.INVALID_ARGS, colour="red"))
        self.refused(name=vb.NOT_SUPPORTED, kind="device")
        self.assertEqual(self.users(), [])

    def test_its_own_node(self):
        self.vfio.add_device(self.functions[ONE], "vfio7")
        self.start()
        fd, facts = self.open()
        self.assertEqual(facts["kind"], "group", "without iommufd nobody can use the device's node")
        os.close(fd)
        self.wait_free()
        self.vfio.add_iommufd()
        fd, facts = self.open()
        self.assertEqual(facts["kind"], "device")
        self.assertIn("vfio/devices/vfio7", os.readlink(f"/proc/self/fd/{fd}"))
        self.assertTrue(os.readlink(f"/proc/self/fd/{facts['fds'][facts['iommufd']]}").endswith("/dev/iommu"))
        os.close(facts["fds"][facts["iommufd"]])
        self.wait_users([(os.getpid(), True)])
        # The node can be opened by others; their closing it ends nothing.
        os.close(os.open(self.vfio.path("vfio/devices/vfio7"), os.O_RDWR))
        self.fence()
        self.wait_users([(os.getpid(), True)])
        os.close(fd)
        self.wait_free()
        fd, facts = self.open(kind="group")
        self.assertEqual(facts["kind"], "group")
        os.close(fd)
        self.wait_free()

    def test_a_node_that_cannot_be_looked_at(self):
        faults = self.start_faults()
        self.vfio.add_device(self.functions[ONE], "vfio7")
        self.vfio.add_iommufd()
        self.start()
        for fault in (("open", f"*/{ONE}/vfio-dev"), ("readdir", f"*/{ONE}/vfio-dev"), ("stat", "*/dev/iommu"),
                      ("stat", "*/vfio/devices/vfio7"), ("stat", f"*/{ONE}/driver")):
            with self.subTest(fault):
                faults.set((fault[0], errno.EIO, fault[1]))
                self.assertIn(os.strerror(errno.EIO), self.refused(name=vb.FAILED))
                faults.clear()
                self.fence()
                self.assertEqual(self.users(), [])
        fd, facts = self.open()
        self.assertEqual(facts["kind"], "device")
        os.close(facts["fds"][facts["iommufd"]])
        os.close(fd)
        self.wait_free()

    def own_node(self):
        """The function's own node, which an iommufd makes of use."""
        self.vfio.add_device(self.functions[ONE], "vfio7")
        self.vfio.add_iommufd()
        return self.vfio.path("vfio/devices/vfio7")

    def open_device(self):
        fd, facts = self.open()
        self.assertEqual(facts["kind"], "device")
        os.close(facts["fds"][facts["iommufd"]])
        return fd

    def test_closed_while_the_kernel_resets(self):
        """The last close of a bound device disables it after it has reset it: until then it is in use, by nobody that
        could be found, and then it is free."""
        self.own_node()
        self.start()
        fd = self.open_device()
        self.functions[ONE].write("enable", "1")
        self.wait_users([(os.getpid(), True)])
        os.close(fd)
        self.wait_users([(0, True)])
        self.functions[ONE].write("enable", "0")
        self.wait_free()
        os.close(self.open_device())
        self.wait_free()

    def test_own_node_in_a_socket(self):
        """A device that is not bound to an iommufd is disabled, and no process has it: only its opening tells."""
        path = self.own_node()
        self.start()
        fd = self.open_device()
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        socket.send_fds(ours, [b"x"], [fd])
        os.close(fd)
        self.wait_users([(0, True)])
        # Another process opens and closes the same node: that is not the end of the first.
        os.close(os.open(path, os.O_RDWR))
        self.fence()
        self.wait_users([(0, True)])
        with self.assertRaises(vb.BusError) as caught:
            self.client.bus.call(vb.function_path(ONE), vb.FUNCTION, "Unbind")
        self.assertEqual(caught.exception.name, vb.REFUSED)
        theirs.close()
        self.wait_free()

    def test_group_peers(self):
        peer = self.sysfs.add("0000:02:00.1", driver="vfio-pci", group=self.functions[ONE].group)
        self.start()
        fd, facts = self.open()
        self.assertEqual(facts["group-peers"], [peer.address])
        message = self.refused(peer.address)
        self.assertIn("shares the IOMMU group", message)
        self.assertIn(f"pid {os.getpid()}", message)
        # They use the peer alone now, as who has a group may.
        peer.write("enable", "1")
        self.wait_users([(os.getpid(), True)], peer.address)
        self.wait_users([])
        self.assertIn(f"pid {os.getpid()}", self.refused())
        peer.write("enable", "0")
        self.wait_users([(os.getpid(), True)])
        os.close(fd)
        self.wait_free()
        self.wait_free(peer.address)

    def test_a_group_with_a_peer_that_is_inhibited(self):
        """A user of the group could open the peer, and nobody else could."""
        peer = self.sysfs.add("0000:02:00.1", driver="vfio-pci", group=self.functions[ONE].group)
        self.start()
        inhibitor = self.client.inhibit(peer.address, "open", "domain web1", "starts")
        message = self.refused()
        for words in (f"inhibits open of {peer.address}", "domain web1"):
            self.assertIn(words, message)
        os.close(inhibitor)
        wait_until(lambda: self.client.manager("ListInhibitors") == [], None, "no inhibitor")
        inhibitor = self.client.inhibit(peer.address, "reset", "backup", "of no concern here")
        os.close(self.open()[0])
        self.wait_free()
        os.close(inhibitor)


class Refusing(OpenTest):
    def test_no_vfio_driver(self):
        self.sysfs.add("0000:04:00.0", driver="igb")
        self.sysfs.add("0000:05:00.0")
        self.start()
        self.assertIn("bound to igb, not to a VFIO driver", self.refused("0000:04:00.0"))
        self.assertIn("bound to no driver", self.refused("0000:05:00.0"))

    def test_no_node(self):
        self.sysfs.add("0000:04:00.0", driver="vfio-pci")
        self.start()
        self.refused("0000:04:00.0", name=vb.NOT_SUPPORTED)

    def test_second_client(self):
        self.start()
        fd, _ = self.open()
        message = self.refused()
        self.assertIn(f"(pid {os.getpid()}, ", message)
        self.assertIn("opened by vfwarden", message)
        os.close(fd)
        self.wait_free()
        os.close(self.open()[0])
        self.wait_free()

    def test_two_at_a_time(self):
        """Both are authorised before either is opened."""
        self.start()
        self.polkit.verdicts["org.vfwarden1.open-device"] = "later"
        with self.acting_as():
            calls = [self.start_open() for _ in range(2)]
        wait_until(lambda: len(self.polkit.questions) == 2, None, "two questions")
        for question in self.polkit.questions:
            question.answer(True)
        wait_until(lambda: all(c.done for c in calls), None, "two answers")
        self.assertEqual(sorted(c.error.name if c.error else "" for c in calls), ["", vb.REFUSED])
        (won,) = [c for c in calls if not c.error]
        (lost,) = [c for c in calls if c.error]
        self.assertIn(f"pid {os.getpid()}", lost.error.message)
        for fd in won.fds:
            os.close(fd)
        self.wait_free()

    def test_somebody_has_it(self):
        self.start()
        fd = self.vfio.open_group(self.functions[ONE])
        self.wait_users([(os.getpid(), False)])
        message = self.refused()
        self.assertIn(f"pid {os.getpid()}", message)
        self.assertNotIn("opened by vfwarden", message)
        os.close(fd)
        self.wait_free()

    def test_somebody_is_faster(self):
        """Between the look and the open."""
        self.start()
        self.vfio.hang()
        call = self.start_open()
        wait_until(lambda: self.helpers("vfwarden-open"), None, "the process that opens")
        fd = self.vfio.open_group(self.functions[ONE])
        self.vfio.go_on()
        with self.assertRaises(vb.BusError) as caught:
            call.result()
        self.assertEqual(caught.exception.name, vb.REFUSED)
        self.assertIn(f"pid {os.getpid()}", caught.exception.message)
        self.assertNotIn("opened by", caught.exception.message)
        self.assertEqual(self.users(), [(os.getpid(), False)])
        os.close(fd)
        self.wait_free()

    def test_unplugged_meanwhile(self):
        self.start()
        self.vfio.hang()
        call = self.start_open()
        wait_until(lambda: self.helpers("vfwarden-open"), None, "the process that opens")
        unplug = self.client.bus.start_call(vb.function_path(ONE), vb.FUNCTION, "Unplug", "(ta{sv})", (10**8, {}))
        self.wait_property(ONE, "State", "unplug-requested")
        self.vfio.go_on()
        with self.assertRaises(vb.BusError) as caught:
            call.result()
        self.assertEqual(caught.exception.name, vb.REFUSED)
        self.assertIn("taken away", caught.exception.message)
        unplug.result()
        self.wait_function(ONE, False)

    def test_gone_meanwhile(self):
        self.start()
        self.vfio.hang()
        call = self.start_open()
        wait_until(lambda: self.helpers("vfwarden-open"), None, "the process that opens")
        self.sysfs.remove(self.functions[ONE])
        with self.assertRaises(vb.BusError) as caught:
            call.result()
        self.assertEqual(caught.exception.name, vb.GONE)
        self.vfio.go_on()

    def test_too_many(self):
        self.configure("[Open]\nMaxLeasesPerUser=1\n")
        self.start()
        fd, _ = self.open()
        self.assertIn("MaxLeasesPerUser", self.refused(TWO, vb.LIMITS_EXCEEDED))
        self.assertEqual(self.users(TWO), [])
        os.close(fd)
        self.wait_free()
        os.close(self.open(TWO)[0])
        self.wait_free(TWO)

    def test_what_is_open_stays(self):
        """A lease is a use as any other."""
        self.start()
        fd, _ = self.open()
        for method in ("Unbind", "Reset"):
            with self.assertRaises(vb.BusError) as caught:
                self.client.bus.call(vb.function_path(ONE), vb.FUNCTION, method)
            self.assertEqual(caught.exception.name, vb.REFUSED)
            self.assertIn(f"pid {os.getpid()}", caught.exception.message)
        os.close(fd)
        self.wait_free()


if __name__ == "__main__":
    fixtures.main_among_own_processes()
