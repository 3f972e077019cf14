#!/usr/bin/python3
"""Descriptors that say in their fdinfo which function they are of (vfio-device-syspath), as those of newer kernels do."""

import os

import fixtures
from test_open import ONE, TWO, OpenTest


class Fdinfo(OpenTest):
    def held(self, fd):
        """The pid of a process that alone has this descriptor from now on."""
        process = self.holder(fd)
        os.close(fd)
        return process

    def test_devices_of_groups(self):
        """Two processes have a device each; without the kernel's word both could have both."""
        holders = {}
        for address in (ONE, TWO):
            self.vfio.tell_in_fdinfo(self.functions[address])
            holders[address] = self.held(self.vfio.open_device(self.functions[address]))
            self.functions[address].write("enable", "1")
        self.start()
        for address in (ONE, TWO):
            self.wait_users([(holders[address].pid, False)], address)
        self.end(holders[ONE])
        self.functions[ONE].write("enable", "0")
        self.wait_free(ONE)
        self.wait_users([(holders[TWO].pid, False)], TWO)

    def test_devices_that_do_not_say(self):
        """Each process that may have the function is listed, rather than none."""
        pids = []
        for address in (ONE, TWO):
            pids.append((self.held(self.vfio.open_device(self.functions[address])).pid, False))
            self.functions[address].write("enable", "1")
        self.start()
        for address in (ONE, TWO):
            self.wait_users(sorted(pids), address)

    def test_a_node_that_sysfs_has_forgotten(self):
        """A node's entry in /sys/dev/char goes first when its function is removed."""
        self.vfio.add_device(self.functions[ONE], "vfio7")
        self.vfio.tell_in_fdinfo(self.functions[ONE], "vfio7")
        holder = self.held(os.open(self.vfio.path("vfio/devices/vfio7"), os.O_RDWR | os.O_CLOEXEC))
        self.vfio.forget_device(self.functions[ONE], "vfio7")
        self.start()
        self.wait_users([(holder.pid, False)])
        self.assertEqual(self.users(TWO), [])
        self.end(holder)
        self.wait_free()


if __name__ == "__main__":
    fixtures.main_among_own_processes()
