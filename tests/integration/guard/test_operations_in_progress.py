#!/usr/bin/python3
"""Guarded operations that meet each other, take long, outlive the daemon, or lose their function."""

import errno
import json
import os
import signal
import time

import fixtures
from fixtures import DEADLINE
from test_operations import OperationTest, PF, PLAIN, VFS
import vfwarden_bus as vb


class Busy(OperationTest):
    def test_names_the_other(self):
        self.sysfs.add_pf(PF, vfs=2, vf_driver="igbvf", group=1)
        self.sysfs.add("0000:09:00.0", group=1)
        self.sysfs.add("0000:01:00.1")
        self.sysfs.add(PLAIN)
        self.kernel.hang.add(f"{PF}/reset")
        self.start()
        call = self.client.start_function_call(PF, "Reset")
        write = self.kernel.wait_for(f"{PF}/reset")
        for other in ((self.reset, PF), (self.set_num_vfs, PF, 1), (self.set_autoprobe, PF, False),
                      (self.unbind, VFS[0]), (self.reset, VFS[1]), (self.reset, "0000:09:00.0"),
                      (self.reset, "0000:01:00.1"), (self.bind, PF, "vfio-pci")):
            error = self.assert_bus_error(vb.BUSY, *other)
            self.assertIn("reset", error.message)
            self.assertIn(PF, error.message)
            self.assertIn(str(write.pid), error.message)
        # Nobody else waits.
        self.reset(PLAIN)
        self.assertFalse(call.done)
        self.kernel.release(write)
        call.result()
        self.unbind(VFS[0])

    def test_an_operation_on_a_vf_holds_its_pf_and_not_its_sibling(self):
        self.sysfs.add_pf(PF, vfs=2, vf_driver="igbvf")
        self.kernel.hang.add(f"{VFS[0]}/reset")
        self.start()
        call = self.client.start_function_call(VFS[0], "Reset")
        write = self.kernel.wait_for(f"{VFS[0]}/reset")
        error = self.assert_bus_error(vb.BUSY, self.set_num_vfs, PF, 0)
        self.assertIn(VFS[0], error.message)
        self.reset(VFS[1])
        self.kernel.release(write)
        call.result()

    def test_two_at_the_same_moment(self):
        self.sysfs.add_pf(PF)
        self.kernel.hang.add(f"{PF}/reset")
        self.start()
        calls = [self.client.start_function_call(PF, "Reset") for _ in range(5)]
        write = self.kernel.wait_for(f"{PF}/reset")
        vb.wait_until(lambda: sum(call.done for call in calls) == 4, None, "the other four")
        self.assertEqual([call.error.name for call in calls if call.done], [vb.BUSY] * 4)
        self.kernel.release(write)
        for call in calls:
            if call.error is None:
                call.result()
        self.assertEqual(self.kernel.resets, [PF])

    def test_shown_by_check_and_gone_at_its_end(self):
        self.sysfs.add_pf(PF, vfs=1, vf_driver="igbvf")
        self.kernel.hang.add("igbvf/unbind")
        self.start()
        call = self.client.start_set_num_vfs(PF, 0)
        write = self.kernel.wait_for("igbvf/unbind")
        for operation in ("set-num-vfs", "bind", "unbind", "reset", "remove", "power-off", "open"):
            self.assertEqual(self.operation(PF, operation),
                             ("operation", PF, "set-num-vfs is in progress", write.pid))
        self.assertEqual(self.operation(VFS[0]), ("operation", PF, "set-num-vfs is in progress", write.pid))
        self.kernel.release(write)
        call.result()
        self.assertIsNone(self.operation(PF))

    def described(self):
        """The operation of each function, as Describe() has them."""
        functions = json.loads(self.client.manager("Describe"))["Functions"]
        return {f["Address"]: f["Operation"] for f in functions if "Operation" in f}

    def test_described(self):
        self.sysfs.add_pf(PF, vfs=1, vf_driver="igbvf")
        self.kernel.hang.add("igbvf/unbind")
        self.start()
        self.assertEqual(self.described(), {})
        before = time.time_ns() // 1000
        call = self.client.start_set_num_vfs(PF, 0)
        write = self.kernel.wait_for("igbvf/unbind")
        told = self.described()
        since = told[PF].pop("Since")
        self.assertEqual(told, {PF: {"Name": "set-num-vfs", "Pid": write.pid}})
        self.assertTrue(before <= since <= time.time_ns() // 1000)
        self.kernel.release(write)
        call.result()
        self.assertEqual(self.described(), {})

    def test_the_worker_holds_nothing_but_its_files(self):
        self.sysfs.add_pf(PF)
        self.kernel.hang.add(f"{PF}/sriov_numvfs")
        self.start()
        call = self.client.start_set_num_vfs(PF, 2)
        write = self.kernel.wait_for(f"{PF}/sriov_numvfs")
        links = fixtures.descriptors(write.pid).values()
        # Standard streams, the channel to the daemon, the file, and the connection to the kernel of the tests.
        self.assertEqual(sorted(os.path.basename(link).split(":")[0] for link in links),
                         ["null"] * 3 + ["socket", "socket", "sriov_numvfs"], links)
        self.kernel.release(write)
        call.result()

    def test_no_zombie_is_left(self):
        self.sysfs.add_pf(PF)
        self.start()
        for _ in range(3):
            self.reset(PF)
        # The reply may be ahead of the worker's end by an instant.
        vb.wait_until(lambda: not fixtures.children(self.daemon.pid, "vfwarden-worker"), DEADLINE,
                      "the workers' end")


class Slow(OperationTest):
    """What hangs in the kernel. The deadline is 20 s by the clock, whatever the machine's speed."""

    def test_timeout_while_others_are_served(self):
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="igbvf")
        self.sysfs.add(PLAIN)
        self.kernel.hang.update(("igbvf/unbind", f"{PLAIN}/reset"))
        self.start()
        call = self.client.start_set_num_vfs(PF, 0)
        write = self.kernel.wait_for("igbvf/unbind")
        other = self.client.start_function_call(PLAIN, "Reset")
        other_write = self.kernel.wait_for(f"{PLAIN}/reset")
        self.client.ping()
        self.assertEqual(self.client.function(PF, "NumVFs", vb.PHYSICAL), 1)
        with self.assertRaises(vb.BusError) as caught:
            call.result(25 + DEADLINE)
        self.assertEqual(caught.exception.name, vb.TIMEOUT)
        self.assertIn("set-num-vfs", caught.exception.message)
        # It is still there, and in the way.
        self.assertEqual(self.operation(PF)[3], write.pid)
        self.assert_bus_error(vb.BUSY, self.reset, PF)
        self.assertRaises(vb.BusError, other.result, 25 + DEADLINE)
        # Found again by the next one.
        self.kill()
        self.start()
        self.assertEqual(self.operation(PF), ("operation", PF, "set-num-vfs is in progress", write.pid))
        self.assertEqual(self.operation(PLAIN), ("operation", PLAIN, "reset is in progress", other_write.pid))
        self.assert_bus_error(vb.BUSY, self.reset, PF)
        self.kernel.hang.clear()
        self.kernel.release(write)
        self.kernel.release(other_write)
        self.wait_property(PF, "NumVFs", 0)
        self.wait_idle(PF)
        self.wait_idle(PLAIN)
        self.assertEqual(self.writes[-1], (f"{PF}/sriov_numvfs", "0"))
        self.assertEqual(pf.vfs, [])
        self.reset(PLAIN)
        self.no_violation()


class Restart(OperationTest):
    def hang(self):
        self.sysfs.add_pf(PF)
        self.kernel.hang.add(f"{PF}/reset")
        self.start()
        self.client.start_function_call(PF, "Reset")
        write = self.kernel.wait_for(f"{PF}/reset")
        self.fence()
        return write

    def test_killed(self):
        write = self.hang()
        self.kill()
        # The worker holds neither the name nor the state: the next one starts as ever.
        self.start()
        self.assertEqual(self.operation(PF), ("operation", PF, "reset is in progress", write.pid))
        self.kernel.release(write)
        self.wait_idle(PF)
        self.kernel.hang.clear()
        self.reset(PF)

    def test_stopped(self):
        write = self.hang()
        self.restart()
        self.assertEqual(self.operation(PF), ("operation", PF, "reset is in progress", write.pid))
        self.kernel.release(write)
        self.wait_idle(PF)

    def test_ended_meanwhile(self):
        """Nobody waits for the worker's end before the daemon looks: /proc shows it still."""
        fixtures.adopt_orphans(self)
        write = self.hang()
        pidfd = os.pidfd_open(write.pid)
        self.addCleanup(os.close, pidfd)
        self.kill()
        self.kernel.release(write)
        fixtures.wait_for_end(pidfd)
        self.addCleanup(os.waitpid, write.pid, 0)
        self.start()
        self.assertIsNone(self.operation(PF))
        self.assertNotIn("is still in progress", self.daemon.log)

    def test_another_device_has_the_address_meanwhile(self):
        write = self.hang()
        self.kill()
        self.sysfs.remove(self.sysfs[PF])
        self.sysfs.add_pf(PF)
        self.start()
        self.assertIsNone(self.operation(PF))
        self.kernel.hang.clear()
        self.reset(PF)
        write.answer(errno.ENODEV)
        self.kernel.waiting.clear()

    def test_the_caller_dies(self):
        self.sysfs.add_pf(PF)
        self.kernel.hang.add(f"{PF}/reset")
        self.start()
        other = vb.Client(self.bus.address)
        other.start_function_call(PF, "Reset")
        write = self.kernel.wait_for(f"{PF}/reset")
        other.close()
        self.kernel.release(write)
        self.wait_idle(PF)


class Vanishing(OperationTest):
    def test_the_function_goes_while_the_worker_is_at_it(self):
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="igbvf")
        self.kernel.hang.add(f"{PF}/reset")
        self.start()
        call = self.client.start_function_call(PF, "Reset")
        write = self.kernel.wait_for(f"{PF}/reset")
        self.sysfs.remove(pf)
        self.wait_function(PF, there=False)
        self.kernel.waiting.clear()
        write.answer(errno.ENODEV)
        self.assertRaises(vb.BusError, call.result)
        self.assertEqual(call.error.name, vb.GONE)

    def test_replaced_while_the_worker_is_at_it(self):
        pf = self.sysfs.add_pf(PF)
        self.kernel.hang.add(f"{PF}/sriov_numvfs")
        self.start()
        call = self.client.start_set_num_vfs(PF, 1)
        write = self.kernel.wait_for(f"{PF}/sriov_numvfs")
        self.sysfs.remove(pf)
        self.wait_function(PF, there=False)
        self.fence()
        self.sysfs.add_pf(PF, announce=True)
        self.wait_property(PF, "Driver", "igb")
        self.assertIsNone(self.operation(PF))
        self.reset(PF)
        self.kernel.waiting.clear()
        write.answer()
        self.assertRaises(vb.BusError, call.result)
        self.assertEqual(call.error.name, vb.GONE)

    def test_a_vf_goes_with_its_pf_while_it_is_reset(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="igbvf")
        self.kernel.hang.add(f"{VFS[0]}/reset")
        self.start()
        call = self.client.start_function_call(VFS[0], "Reset")
        write = self.kernel.wait_for(f"{VFS[0]}/reset")
        self.sysfs.disable_vfs(pf)
        self.wait_function(VFS[0], there=False)
        self.kernel.waiting.clear()
        write.answer(errno.ENODEV)
        self.assertRaises(vb.BusError, call.result)
        self.assertEqual(call.error.name, vb.GONE)
        self.set_num_vfs(PF, 2)

    def test_the_worker_is_killed(self):
        self.sysfs.add_pf(PF)
        self.kernel.hang.add(f"{PF}/reset")
        self.start()
        call = self.client.start_function_call(PF, "Reset")
        write = self.kernel.wait_for(f"{PF}/reset")
        os.kill(write.pid, signal.SIGKILL)
        self.assertRaises(vb.BusError, call.result)
        self.assertEqual(call.error.name, vb.FAILED)
        self.assertIsNone(self.operation(PF))
        self.kernel.waiting.clear()
        write.connection.close()

    def test_stopped_while_replies_are_due(self):
        self.sysfs.add_pf(PF)
        self.sysfs.add(PLAIN)
        self.kernel.hang.add(f"{PF}/reset")
        self.kernel.add_driver("igb")
        self.kernel.ignore.add("igb/bind")
        self.start()
        calls = [self.client.start_function_call(PF, "Reset"), self.client.start_bind(PLAIN, "igb")]
        self.kernel.wait_for(f"{PF}/reset")
        self.daemon.wait_log("bind ended")      # and the picture does not show it
        self.stop()
        for call in calls:
            with self.assertRaises(vb.BusError) as caught:
                call.result()
            self.assertEqual(caught.exception.name, vb.PREFIX + "Error.Failed", caught.exception)
            self.assertIn("the daemon ends", caught.exception.message)


if __name__ == "__main__":
    fixtures.main()
