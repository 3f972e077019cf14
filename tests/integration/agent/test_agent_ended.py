#!/usr/bin/python3
"""vfwarden-libvirt: a request for which a guest was asked ends, and the guest has not answered or answers later."""

import os
import signal

import fixtures
from fixtures import DEADLINE, wait_until
from test_agent import AgentTest, OTHER, OTHER_UUID, UUID, hostdev
from test_unplug import LONG, PLAIN
import vfwarden_bus as vb


class Ended(AgentTest):
    """The request ends, and the guest has not answered."""

    def asked(self):
        self.given()
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_log(f"detach {UUID} hostdev0")
        return call

    def test_cancelled_and_released_later(self):
        call = self.asked()
        self.client.cancel_unplug(PLAIN)
        self.assert_fails(vb.FAILED, call)
        self.wait_holders()
        self.tell_removed(UUID, "hostdev0")
        wait_until(lambda: len(self.log()) == 2, 4 * DEADLINE, "the device to be given back")
        self.assertIn(f"attach {UUID} <hostdev", self.log()[1])
        self.assertEqual(self.writes, [])

    def test_cancelled_and_released_at_once(self):
        """The agent reads libvirt's event and the daemon's signal together: the request had ended before the release."""
        call = self.asked()
        self.agent.send_signal(signal.SIGSTOP)
        self.client.cancel_unplug(PLAIN)
        self.assert_fails(vb.FAILED, call)
        self.tell_removed(UUID, "hostdev0")
        self.agent.send_signal(signal.SIGCONT)
        wait_until(lambda: len(self.log()) == 2, 4 * DEADLINE, "the device to be given back")
        self.assertIn(f"attach {UUID} <hostdev", self.log()[1])
        self.wait_holders()
        self.assertEqual(self.writes, [])

    def test_taken_by_another_and_released(self):
        """The kernel asks QEMU for root, who unbinds it: the device is not given back."""
        self.sysfs.add(OTHER, driver="vfio-pci")
        self.define(hostdev(OTHER, "hostdev1"), name="web2", uuid=OTHER_UUID)
        self.asked()
        self.sysfs.unbind(self.sysfs.functions[PLAIN])
        self.kernel.let_go(self.sysfs.functions[PLAIN])
        self.tell_removed(UUID, "hostdev0")
        self.wait_holders()
        self.use(self.sysfs.functions[OTHER])
        self.client.start_unplug(OTHER, LONG)
        self.wait_log(f"detach {UUID} hostdev0", f"detach {OTHER_UUID} hostdev1")

    def test_released_much_later(self):
        """By then somebody else has asked the guest: `virsh detach-device`."""
        self.sysfs.add(OTHER, driver="vfio-pci")
        self.define(hostdev(OTHER, "hostdev1"), name="web2", uuid=OTHER_UUID)
        call = self.asked()
        self.client.cancel_unplug(PLAIN)
        self.assert_fails(vb.FAILED, call)
        self.wait_holders()
        self.tell("later 660")
        self.tell_removed(UUID, "hostdev0")
        # What comes next is the first that libvirt is asked for.
        self.use(self.sysfs.functions[OTHER])
        call = self.client.start_unplug(OTHER, LONG)
        wait_until(lambda: len(self.log()) == 2, 4 * DEADLINE, "a request to libvirt")
        self.assertEqual(self.log(), [f"detach {UUID} hostdev0", f"detach {OTHER_UUID} hostdev1"])
        self.client.cancel_unplug(OTHER)
        self.assert_fails(vb.FAILED, call)

    def test_asked_again_much_later(self):
        """Each end of a request begins the time anew."""
        call = self.asked()
        for _ in range(2):
            self.client.cancel_unplug(PLAIN)
            self.assert_fails(vb.FAILED, call)
            self.wait_holders()
            self.tell("later 400")
            call = self.client.start_unplug(PLAIN, LONG)
            self.wait_holders("vfwarden-libvirt")
        self.client.cancel_unplug(PLAIN)
        self.assert_fails(vb.FAILED, call)
        self.wait_holders()
        self.tell_removed(UUID, "hostdev0")
        wait_until(lambda: len(self.log()) == 4, 4 * DEADLINE, "the device to be given back")
        self.assertIn(f"attach {UUID} <hostdev", self.log()[3])

    def test_timed_out(self):
        self.given()
        self.assert_fails(vb.TIMEOUT, self.client.start_unplug(PLAIN, 2))
        self.wait_holders()
        self.assertEqual(self.writes, [])

    def test_killed(self):
        call = self.asked()
        self.agent.send_signal(signal.SIGKILL)
        self.wait_holders()
        self.assertFalse(call.done)
        self.client.cancel_unplug(PLAIN)
        self.assert_fails(vb.FAILED, call)

    def test_the_domain_ends_while_libvirts_daemon_is_away(self):
        call = self.asked()
        self.tell("lost")
        wait_until(lambda: not self.has_name(), 4 * DEADLINE, "the name to be given up")
        os.unlink(self.file("web1.xml"))
        self.tell("connected")
        self.wait_holders()
        self.client.cancel_unplug(PLAIN)
        self.assert_fails(vb.FAILED, call)


if __name__ == "__main__":
    fixtures.main()
