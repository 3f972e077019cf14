#!/usr/bin/python3
"""VF tokens: imposed on a PF by opening it, handed to who may open, and told to nobody else."""

import errno
import os
import re

import fixtures
from fixtures import wait_until
from raw_client import RawClient
from test_open import OpenTest
import vfwarden_bus as vb

PF = "0000:01:00.0"
VFS = ["0000:01:10.0", "0000:01:10.2"]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class TokenTest(OpenTest):
    def setUp(self):
        super().setUp()
        self.functions[PF] = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci", driver="vfio-pci")
        for address in VFS:
            self.functions[address] = self.sysfs[address]
        for address in (PF, VFS[0]):
            self.vfio.add_group(self.functions[address])
        self.seen = set()

    def token(self, pf=PF):
        token = self.client.bus.call(vb.function_path(pf), vb.PHYSICAL, "GetVfToken")[0]
        self.assertRegex(token, UUID)
        self.seen.add(token)
        return token

    def open(self, address=VFS[0], **kwargs):
        fd, facts = super().open(address, **kwargs)
        self.seen.add(facts["vf-token"])
        return fd, facts

    def token_refused(self, pf=PF):
        with self.assertRaises(vb.BusError) as caught:
            self.token(pf)
        self.assertEqual(caught.exception.name, vb.REFUSED)
        return caught.exception.message

    def tearDown(self):
        """What was handed out stands nowhere."""
        if self.daemon.running:
            texts = [self.client.manager("Describe")]
        else:
            texts = []
        texts += [daemon.log for daemon in self.daemons]
        for name in os.listdir(self.state_dir):
            with open(os.path.join(self.state_dir, name), encoding="utf-8") as file:
                texts.append(file.read())
        for token in self.seen:
            for text in texts:
                self.assertNotIn(token, text)
        super().tearDown()


class Strangers(TokenTest):
    """Root's own program has a VF with the token of GetVfToken; nodes of other functions are opened and closed."""

    def check_token_holds(self, name):
        self.start()
        token = self.token()
        own = self.vfio.open_group(self.functions[VFS[0]])
        self.functions[VFS[0]].write("enable", "1")
        self.wait_users([(os.getpid(), False)], VFS[0])
        os.close(os.open(self.vfio.path(name), os.O_RDWR))
        self.fence()
        self.assertEqual(self.token(), token)
        os.close(own)
        self.functions[VFS[0]].write("enable", "0")
        self.wait_free(VFS[0])

    def test_group_of_another(self):
        self.check_token_holds(f"vfio/{self.functions['0000:02:00.0'].group}")

    def test_node_of_another(self):
        self.vfio.add_device(self.functions["0000:02:00.0"], "vfio9")
        self.check_token_holds("vfio/devices/vfio9")

    def test_node_of_none(self):
        self.vfio.add_node("vfio/devices/vfio9")
        self.check_token_holds("vfio/devices/vfio9")

    def test_node_of_the_pf(self):
        """Its user may have given the PF another token."""
        self.vfio.add_device(self.functions[PF], "vfio9")
        self.start()
        self.token()
        own = self.vfio.open_group(self.functions[VFS[0]])
        self.functions[VFS[0]].write("enable", "1")
        self.wait_users([(os.getpid(), False)], VFS[0])
        os.close(os.open(self.vfio.path("vfio/devices/vfio9"), os.O_RDWR))
        self.fence()
        self.assertIn("not known to vfwarden", self.token_refused())
        os.close(own)
        self.functions[VFS[0]].write("enable", "0")
        self.wait_free(VFS[0])


class WithoutGroups(TokenTest):
    """A kernel without VFIO_GROUP, or a function whose own node can be used: all goes by that."""

    def setUp(self):
        super().setUp()
        for address, name in ((PF, "vfio1"), (VFS[0], "vfio2")):
            self.vfio.remove_group(self.functions[address])
            self.vfio.add_device(self.functions[address], name)
        self.vfio.add_iommufd()

    def check_imposed(self, expected):
        self.start()
        call = self.start_open(VFS[0])
        handle, facts = call.result()
        token = facts["vf-token"]
        self.seen.add(token)
        self.assertEqual(facts["kind"], "device")
        self.assertEqual(self.vfio.opened, [line.format(token) for line in expected])
        self.assertEqual(self.token(), token)
        self.fence()
        self.assertEqual(self.users(PF), [], "our own opening is no use of the PF")
        for number, fd in enumerate(call.fds):
            if number != handle:
                os.close(fd)
        self.wait_users([(os.getpid(), True)], VFS[0])
        os.close(call.fds[handle])
        self.wait_free(VFS[0])

    def test_a_bind_takes_the_token(self):
        self.check_imposed(["vfio1 vf_token={}"])

    def test_a_bind_takes_no_token(self):
        self.vfio.take_no_token()
        self.check_imposed(["vfio1", "vfio1 vf_token={}"])

    def test_the_kernel_refuses(self):
        self.vfio.fail(errno.EACCES)
        self.start()
        self.assertIn("iommufd: Permission denied", self.refused(VFS[0], vb.FAILED))
        self.vfio.fail(0)


class Handing(TokenTest):
    def test_a_vf(self):
        self.start()
        mark = self.mark()
        fd, facts = self.open()
        self.assertEqual(self.vfio.opened, [f"{PF} vf_token={facts['vf-token']}"])
        self.fence()
        self.assertFalse([s for s in self.client.recorder.since(mark, "PropertiesChanged", vb.function_path(PF))
                          if "InUse" in s.args[1]])
        self.assertEqual(self.users(PF), [], "our own opening is no use of the PF")
        self.wait_users([(os.getpid(), True)], VFS[0])
        self.assertEqual(self.token(), facts["vf-token"])
        os.close(fd)
        self.wait_free(VFS[0])
        fd, again = self.open()
        self.assertEqual(again["vf-token"], facts["vf-token"])
        self.assertEqual(len(self.vfio.opened), 1, "imposed once")
        os.close(fd)
        self.wait_free(VFS[0])

    def test_the_pf(self):
        self.start()
        fd, facts = self.open(PF)
        self.assertEqual(self.vfio.opened, [f"{PF} vf_token={facts['vf-token']}"])
        # Its client has our token: VFs open with it.
        second, other = self.open(VFS[0])
        self.assertEqual(other["vf-token"], facts["vf-token"])
        for each in (fd, second):
            os.close(each)
        self.wait_free(PF)
        self.wait_free(VFS[0])

    def test_none_is_needed(self):
        self.sysfs.add_pf("0000:06:00.0", driver="igb")
        self.start()
        self.assertIn("bound to igb", self.token_refused("0000:06:00.0"))
        call = self.start_open("0000:02:00.0")
        _, facts = call.result()
        self.assertNotIn("vf-token", facts)
        for fd in call.fds:
            os.close(fd)
        self.wait_free("0000:02:00.0")
        self.assertEqual(self.vfio.opened, [])

    def test_who_may(self):
        self.start()
        self.polkit.verdicts["org.vfwarden1.open-device"] = False
        with self.acting_as(), self.assertRaises(vb.BusError) as caught:
            self.token()
        self.assertEqual(caught.exception.name, vb.ACCESS_DENIED)
        details = self.polkit.questions[-1].details
        self.assertEqual((details["address"], details["kind"]), (PF, "pf"))
        self.assertEqual(self.vfio.opened, [])

    def test_two_at_a_time(self):
        self.start()
        self.vfio.hang()
        calls = [self.start_open(VFS[0]),
                 self.client.bus.start_call(vb.function_path(PF), vb.PHYSICAL, "GetVfToken")]
        wait_until(lambda: self.helpers("vfwarden-open"), None, "the process that opens")
        self.fence()
        self.assertEqual(len(self.helpers("vfwarden-open")), 1)
        self.vfio.go_on()
        _, facts = calls[0].result()
        self.assertEqual(calls[1].result()[0], facts["vf-token"])
        self.assertEqual(len(self.vfio.opened), 1)
        for fd in calls[0].fds:
            os.close(fd)
        self.wait_free(VFS[0])

    def test_the_kernel_refuses(self):
        self.start()
        self.vfio.fail(errno.EACCES)
        self.assertIn("Permission denied", self.refused(VFS[0], vb.FAILED))
        self.assertEqual(self.users(VFS[0]), [])
        self.vfio.fail(0)
        os.close(self.open()[0])
        self.wait_free(VFS[0])

    def test_client_leaves(self):
        self.start()
        self.vfio.hang()
        client = RawClient(self.bus.address)
        client.open(VFS[0])
        wait_until(lambda: self.helpers("vfwarden-open"), None, "the process that opens")
        self.wait_property(VFS[0], "InUse", True)
        client.close()
        self.vfio.go_on()
        self.wait_free(VFS[0])


class Others(TokenTest):
    def test_somebody_has_the_pf(self):
        self.start()
        fd = self.vfio.open_group(self.functions[PF])
        self.wait_users([(os.getpid(), False)], PF)
        for message in (self.refused(VFS[0]), self.token_refused()):
            self.assertIn(PF, message)
            self.assertIn(f"pid {os.getpid()}", message)
            self.assertIn("not known to vfwarden", message)
        self.assertEqual(self.vfio.opened, [])
        os.close(fd)
        self.wait_free(PF)
        os.close(self.open()[0])
        self.wait_free(VFS[0])

    def test_somebody_had_the_pf(self):
        """What they did with it is not known: the token is imposed again."""
        self.start()
        token = self.token()
        fd = self.vfio.open_group(self.functions[PF])
        os.close(fd)
        self.wait_free(PF)
        self.assertEqual(self.token(), token)
        self.assertEqual(self.vfio.opened, [f"{PF} vf_token={token}"] * 2)

    def test_somebody_has_the_pf_while_a_vf_is_open(self):
        """The kernel has let them in with our token only."""
        self.start()
        vf, facts = self.open()
        self.functions[VFS[0]].write("enable", "1")
        self.wait_users([(os.getpid(), True)], VFS[0])
        pf = self.vfio.open_group(self.functions[PF])
        self.wait_users([(os.getpid(), False)], PF)
        self.assertEqual(self.token(), facts["vf-token"])
        self.functions[VFS[0]].write("enable", "0")
        for fd in (pf, vf):
            os.close(fd)
        self.wait_free(PF)
        self.wait_free(VFS[0])

    def test_somebody_has_the_pf_while_a_vf_is_not_yet_open(self):
        """Its group alone keeps nobody from giving the PF another token."""
        self.start()
        vf, _ = self.open()
        self.wait_users([(os.getpid(), True)], VFS[0])
        pf = self.vfio.open_group(self.functions[PF])
        self.wait_users([(os.getpid(), False)], PF)
        self.assertIn("not known to vfwarden", self.token_refused())
        os.close(pf)
        self.wait_free(PF)
        self.token()
        self.assertEqual(len(self.vfio.opened), 2)
        os.close(vf)
        self.wait_free(VFS[0])

    def test_somebody_is_faster(self):
        self.start()
        self.vfio.hang()
        call = self.start_open(VFS[0])
        wait_until(lambda: self.helpers("vfwarden-open"), None, "the process that opens")
        fd = self.vfio.open_group(self.functions[PF])
        self.vfio.go_on()
        with self.assertRaises(vb.BusError) as caught:
            call.result()
        self.assertEqual(caught.exception.name, vb.REFUSED)
        self.assertIn(f"pid {os.getpid()}", caught.exception.message)
        os.close(fd)
        self.wait_free(PF)

    def test_somebody_has_a_vf(self):
        self.start()
        self.functions[VFS[1]].write("enable", "1")
        self.wait_property(VFS[1], "InUse", True)
        self.assertIn(f"{VFS[1]}: in use by", self.refused(VFS[0]))
        self.functions[VFS[1]].write("enable", "0")
        self.wait_free(VFS[1])
        os.close(self.open()[0])
        self.wait_free(VFS[0])

    def test_inhibited(self):
        """Giving the PF a token opens and resets it."""
        self.start()
        for what in ("open", "reset"):
            with self.subTest(what):
                fd = self.client.inhibit(PF, what, "backup", "reads its memory")
                for message in (self.refused(VFS[0]), self.token_refused()):
                    self.assertIn("inhibit", message)
                self.assertEqual(self.vfio.opened, [])
                os.close(fd)
                wait_until(lambda: self.client.manager("ListInhibitors") == [], None, "no inhibitor")
        self.token()
        fd = self.client.inhibit(PF, "open:reset", "backup", "has the token already")
        os.close(self.open()[0])
        self.wait_free(VFS[0])
        os.close(fd)

    def test_the_host_drives_a_vf(self):
        self.sysfs.rebind(self.functions[VFS[1]], "igbvf")
        self.start()
        message = self.refused(VFS[0])
        self.assertIn(f"{VFS[1]}: bound to igbvf", message)
        self.assertEqual(self.vfio.opened, [])
        # An open of the PF resets it all the same.
        os.close(self.open(PF)[0])
        self.wait_free(PF)

    def test_bound_anew(self):
        self.start()
        token = self.token()
        self.sysfs.rebind(self.functions[PF], "vfio-pci")
        other = self.token()
        self.assertNotEqual(other, token)
        self.assertEqual(self.vfio.opened, [f"{PF} vf_token={t}" for t in (token, other)])

    def test_whether_it_was_bound_anew_cannot_be_looked_at(self):
        faults = self.start_faults()
        self.start()
        token = self.token()
        faults.set(("stat", errno.ENOMEM, f"*/{PF}/driver"))
        for _ in range(2):
            with self.assertRaises(vb.BusError) as caught:
                self.token()
            self.assertIn(os.strerror(errno.ENOMEM), caught.exception.message)
        faults.clear()
        self.assertEqual(self.token(), token, "the token of a binding that has not changed stays")
        self.assertEqual(len(self.vfio.opened), 1)


class Restarting(TokenTest):
    def test_in_use(self):
        self.start()
        fd, facts = self.open()
        self.functions[VFS[0]].write("enable", "1")
        for end in (self.kill, self.stop):
            end()
            self.client.recorder.listeners.clear()
            self.start()
            self.assertEqual(self.token(), facts["vf-token"])
        self.assertEqual(len(self.vfio.opened), 1)
        self.functions[VFS[0]].write("enable", "0")
        os.close(fd)
        self.wait_free(VFS[0])

    def test_free(self):
        """Somebody may have opened the PF meanwhile: the same token, imposed again."""
        self.start()
        token = self.token()
        self.kill()
        self.start()
        self.assertEqual(self.token(), token)
        self.assertEqual(len(self.vfio.opened), 2)

    def test_bound_anew_meanwhile(self):
        self.start()
        token = self.token()
        self.kill()
        self.sysfs.rebind(self.functions[PF], "vfio-pci")
        self.start()
        self.assertNotEqual(self.token(), token)
        self.fence()
        self.assertEqual(len([n for n, _ in self.notify.store if n.startswith("vf-token")]), 1)

    def test_not_kept(self):
        """Without its memory it is not known; while a VF is open with it there is no other."""
        self.start()
        fd, facts = self.open()
        self.kill()
        self.notify.store[:] = [pair for pair in self.notify.store if not pair[0].startswith("vf-token")]
        self.start()
        self.assertIn(f"{VFS[0]}: in use by", self.token_refused())
        os.close(fd)
        self.wait_free(VFS[0])
        self.assertNotEqual(self.token(), facts["vf-token"])


if __name__ == "__main__":
    fixtures.main_among_own_processes()
