#!/usr/bin/python3
"""Processes and nodes that cannot be looked at: what may be in use by them stays in use, and nothing else does."""

import errno
import os

import fixtures
from parked import SocketsTest
import vfwarden_bus as vb
from test_open import ONE, TWO


class Unlookable(SocketsTest):
    def test_a_socket_that_cannot_be_read(self):
        """It may have anything, see test_closed_beside_one_in_a_socket()."""
        self.kill()
        faults = self.start_faults()
        self.start()
        parked = self.park(self.open_node())
        self.wait_users([(0, False)])
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        faults.set(("open", errno.EMFILE, f"*/{os.getpid()}/fdinfo/*"))
        os.close(fd)
        with self.assertRaises(vb.BusError) as caught:
            self.client.start_function_call(ONE, "Unbind").result()
        self.assertEqual(caught.exception.name, vb.BUSY)
        self.assertIs(self.picture.function(ONE)["InUse"], True)
        faults.clear()
        self.wait_users([(0, False)])
        parked.close()
        self.wait_free()

    def test_a_user_of_whom_nothing_can_be_read(self):
        """But that they have the function: that is no reason to say that they have nothing."""
        self.kill()
        faults = self.start_faults()
        self.start()
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        faults.set(("open", errno.EMFILE, f"*/{os.getpid()}/stat"))
        with self.assertRaises(vb.BusError) as caught:
            self.client.start_function_call(ONE, "Unbind").result()
        self.assertEqual(caught.exception.name, vb.REFUSED)
        self.assertEqual(self.users(), [(os.getpid(), False)])
        faults.clear()
        os.close(fd)
        self.wait_free()

    def test_recorded_and_one_process_cannot_be_looked_at(self):
        """Not the one that has the socket; no search is complete until it ends."""
        for opened in (self.open_node, lambda: self.vfio.open_group(self.functions[ONE])):
            fd = opened()
            self.wait_users([(os.getpid(), False)])
            self.kill()
            parked, stranger = self.park(fd), self.stranger()
            faults = self.start_with_unlookable(stranger)
            self.wait_property(ONE, "InUse", True)
            self.wait_users([(0, False)])
            self.wait_property(TWO, "InUse", False)
            with self.assertRaises(vb.BusError):
                self.client.start_function_call(ONE, "Unbind").result()
            faults.clear()
            self.end(stranger)
            self.check_held(os.getpid())
            parked.close()
            self.wait_free()

    def test_recorded_and_the_process_that_has_it_cannot_be_looked_at(self):
        process = self.user(self.open_node())
        self.wait_users([(process.pid, False)])
        self.kill()
        faults = self.start_with_unlookable(process)
        self.wait_users([(0, False)])
        self.wait_property(ONE, "InUse", True)
        faults.clear()
        self.wait_users([(process.pid, False)])
        self.end(process)
        self.wait_free()

    def test_enabled_and_a_process_cannot_be_looked_at(self):
        """By somebody unseen: the kernel says that it is open, and nobody recorded it."""
        self.kill()
        stranger = self.stranger()
        self.functions[ONE].write("enable", "1")
        faults = self.start_with_unlookable(stranger)
        self.wait_property(ONE, "InUse", True)
        self.wait_property(TWO, "InUse", False)
        self.functions[ONE].write("enable", "0")
        faults.clear()
        self.wait_free()

    def test_bound_to_the_host_and_a_process_cannot_be_looked_at(self):
        """The kernel gives a function to another driver after the last close, so nobody has it."""
        self.kill()
        stranger = self.stranger()
        self.start_with_unlookable(stranger)
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        os.close(fd)
        self.vfio.forget_device(self.functions[ONE], "vfio7")
        self.sysfs.rebind(self.functions[ONE], "igb")
        self.wait_free()

    def test_disabled_later_than_closed_and_a_process_cannot_be_looked_at(self):
        """A group was closed with its last copy. The kernel disables its device after the looks at its users."""
        self.kill()
        third = self.sysfs.add("0000:04:00.0", driver="vfio-pci")
        self.vfio.add_group(third)
        stranger = self.stranger()
        faults = self.start_faults()
        self.start()
        self.wait_property(TWO, "InUse", False)
        fd = self.vfio.open_group(self.functions[TWO])
        self.functions[TWO].write("enable", "1")
        self.wait_users([(os.getpid(), False)], TWO)
        faults.set(("open", errno.EMFILE, f"*/{stranger.pid}/fd"))
        # Meanwhile there are looks at the users of another, which has got the same number.
        with self.unread():
            os.close(fd)
            other = self.vfio.open_group(third)
            self.assertEqual(other, fd)
        self.wait_users([(os.getpid(), False)], third.address)
        os.close(other)
        self.wait_free(third.address)
        self.wait_property(TWO, "InUse", True)
        self.functions[TWO].write("enable", "0")
        self.wait_free(TWO)

    def test_a_stranger_who_cannot_be_looked_at_keeps_nothing(self):
        """Of what nobody had, and of what root alone had and closed, although they may open one."""
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        self.kill()
        os.close(fd)
        for mode in (0o600, 0o666):
            os.chmod(self.vfio.path(f"vfio/{self.functions[TWO].group}"), mode)
            stranger = self.stranger()
            faults = self.start_with_unlookable(stranger)
            self.wait_property(ONE, "InUse", False)
            self.wait_property(TWO, "InUse", False)
            self.fence()
            self.assertEqual((self.users(ONE), self.users(TWO)), ([], []))
            self.kill()
            faults.clear()
            self.end(stranger)

    def test_nodes_that_cannot_be_watched_for_now(self):
        """What is opened meanwhile is seen with the next attempt, and after that by events."""
        self.kill()
        faults = self.start_faults()
        faults.set(("mark", errno.ENOMEM, "*/vfio"), ("mark", errno.ENOMEM, "*/vfio/devices"))
        self.start()
        self.wait_property(ONE, "InUse", False)
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        faults.clear()
        os.close(fd)
        self.wait_free()
        fd = self.open_node()
        self.wait_users([(os.getpid(), False)])
        os.close(fd)
        self.wait_free()


if __name__ == "__main__":
    fixtures.main_among_own_processes()
