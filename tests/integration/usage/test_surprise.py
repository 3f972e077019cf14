#!/usr/bin/python3
"""Functions that are removed by surprise, without a request to their users."""

import errno
import signal

import fixtures
from test_unplug import LONG, PF, PLAIN, UnplugTest, VFS
import vfwarden_bus as vb


class Surprise(UnplugTest):
    """It is pulled out."""

    def test_while_its_holder_is_asked(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        self.pull(function)
        self.assert_fails(vb.GONE, call)
        self.fence()
        # The next one there has nothing to do with it.
        self.sysfs.add(PLAIN, driver="vfio-pci", announce=True)
        self.wait_function(PLAIN)
        self.fence()
        self.assertEqual(self.picture.function(PLAIN)["State"], "present")
        self.unplug(PLAIN)

    def test_while_draining(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        self.use(*pf.vfs)
        call = self.client.start_unplug(PF, LONG)
        self.wait_property(PF, "State", "unplug-requested")
        self.kernel.let_go(pf.vfs[0])
        self.wait_property(PF, "State", "draining")
        self.pull(pf)
        self.assert_fails(vb.GONE, call)
        self.wait_function(PF, there=False)
        self.fence()
        self.assertEqual(self.writes, [])

    def test_while_the_kernel_waits(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        call = self.client.start_unplug(PLAIN, LONG, insist=True)
        write = self.kernel.wait_for("vfio-pci/unbind")
        self.wait_property(PLAIN, "State", "removing")
        self.pull(function)
        self.assert_fails(vb.GONE, call)
        self.wait_function(PLAIN, there=False)
        self.fence()
        self.sysfs.add(PLAIN, driver="vfio-pci", announce=True)
        self.wait_function(PLAIN)
        self.kernel.waiting.clear()
        write.answer(errno.ENODEV)      # the worker of the first one
        self.fence()
        self.assertEqual(self.picture.function(PLAIN)["State"], "present")
        self.unplug(PLAIN)

    def test_a_vf_goes_with_its_count(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        self.use(pf.vfs[1])
        call = self.client.start_unplug(VFS[1], LONG)
        self.wait_property(VFS[1], "State", "unplug-requested")
        self.daemon.kill(signal.SIGSTOP)
        self.sysfs.disable_vfs(pf)
        self.daemon.kill(signal.SIGCONT)
        self.assert_fails(vb.GONE, call)

    def test_when_it_goes_as_its_last_holder_ends(self):
        # The daemon learns both at once, and begins with either.
        self.start()
        for number in range(20):
            address = f"0000:{number + 0x20:02x}:00.0"
            function = self.sysfs.add(address, announce=True)
            self.wait_function(address)
            self.sysfs.bind(function, "vfio-pci")
            self.use(function)
            call = self.client.start_unplug(address, LONG)
            self.wait_property(address, "State", "unplug-requested")
            function.write("enable", "0")
            self.sysfs.remove(function)
            vb.wait_until(lambda call=call: call.done, None, "the reply")
            self.wait_function(address, there=False)


if __name__ == "__main__":
    fixtures.main()
