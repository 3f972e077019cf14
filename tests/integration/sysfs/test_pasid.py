#!/usr/bin/python3
"""The PASID capability: from configuration space to org.vfwarden1.Pasid."""

import os

import fixtures
import vfwarden_bus as vb
from configspace import recorded_config

PF = "0000:01:00.0"
PASID = "org.vfwarden1.Pasid"
DSA = {"Enabled": True, "Width": 20, "Execute": False, "Privileged": True,
       "Provider": vb.function_path(PF), "Dependents": []}
AMD = {**DSA, "Width": 16, "Execute": True}


class PasidTest(fixtures.DaemonTest):
    def pasid(self, address=PF):
        """What clients heard of the interface, None when it is not there."""
        return self.picture.objects.get(vb.function_path(address), {}).get(PASID)

    def wait_pasid(self, expected, address=PF):
        vb.wait_until(lambda: self.pasid(address) == expected, None,
                      lambda: f"Pasid {expected} of {address}, is {self.pasid(address)}")

    def wait_read(self, address=PF):
        """A function that has the capability came, and it was read: so were those that came before."""
        self.sysfs.add("0000:7f:00.0", announce=True, config=recorded_config("pasid-first"))
        vb.wait_until(lambda: self.pasid("0000:7f:00.0"), None, "another function's Pasid")

    def toggle(self, function, enabled):
        """As AMD's IOMMU driver does when a domain is attached to the device, or detached."""
        function.write("config", recorded_config("amd-gpu-enabled" if enabled else "amd-gpu"))

    def power(self, function, runtime_status, state="D3hot"):
        os.makedirs(function.path("power"), exist_ok=True)
        function.write("power/runtime_status", runtime_status)
        function.write("power_state", state)


class Pasid(PasidTest):
    def test_a_function_of_its_own(self):
        self.sysfs.add(PF, config=recorded_config("intel-dsa"), driver="idxd")
        self.start()
        self.wait_pasid(DSA)

    def test_hot_plugged(self):
        self.start()
        self.sysfs.add(PF, config=recorded_config("amd-gpu"), announce=True)
        self.wait_pasid({**AMD, "Enabled": False})
        self.sysfs.remove(self.sysfs[PF])
        self.wait_function(PF, False)

    def test_without(self):
        for number, name in enumerate(("ats-without-pasid", "conventional-256", "no-list", "gone",
                                       "loop-later", "below-0x100", "pasid-no-room")):
            self.sysfs.add(f"0000:{number + 1:02x}:00.0", config=recorded_config(name))
        self.start()
        self.wait_read()
        for number in range(7):
            self.assertIsNone(self.pasid(f"0000:{number + 1:02x}:00.0"))

    def test_vfs_have_their_pfs(self):
        pf = self.sysfs.add_pf(PF, vfs=1, config=recorded_config("amd-gpu-enabled"))
        self.start()
        self.wait_pasid(AMD)
        self.wait_pasid(AMD, pf.vfs[0].address)
        self.sysfs.disable_vfs(pf)
        self.sysfs.enable_vfs(pf, 2)
        for vf in pf.vfs:
            self.wait_pasid(AMD, vf.address)
        self.toggle(pf, False)
        self.sysfs.rebind(pf, "other")
        for vf in (pf, *pf.vfs):
            self.wait_pasid({**AMD, "Enabled": False}, vf.address)

    def test_the_bit_follows_the_driver(self):
        pf = self.sysfs.add_pf(PF, config=recorded_config("amd-gpu"), driver=None, vfs=1)
        self.start()
        for _ in range(3):
            self.toggle(pf, True)
            self.sysfs.bind(pf, "amdgpu")
            self.wait_property(PF, "Enabled", True)
            self.wait_property(pf.vfs[0].address, "Enabled", True)
            self.toggle(pf, False)
            self.sysfs.unbind(pf)
            self.wait_property(PF, "Enabled", False)
            self.wait_property(pf.vfs[0].address, "Enabled", False)

    def test_the_bit_follows_later(self):
        # A domain is attached after the driver was bound: no event reports that.
        pf = self.sysfs.add_pf(PF, config=recorded_config("amd-gpu"), driver=None)
        self.start()
        self.wait_property(PF, "Enabled", False)
        self.sysfs.bind(pf, "vfio-pci")
        self.wait_property(PF, "Driver", "vfio-pci")
        self.fence()
        self.toggle(pf, True)
        self.wait_property(PF, "Enabled", True)

    def test_what_sleeps_is_not_woken(self):
        for status, state in (("suspended", "D3cold"), ("suspending", "D0"), ("resuming", "D3hot"),
                              ("error", "unknown")):
            with self.subTest(f"{status} {state}"):
                function = self.sysfs.add(PF, config=recorded_config("intel-dsa"))
                self.power(function, status, state)
                since = 0
                if self.daemon is None:
                    self.start()
                else:
                    since = self.daemon.log_mark()
                    self.sysfs.change(function)
                self.wait_function(PF)
                self.daemon.wait_log("sleeps, its configuration is not read", since)
                self.assertIsNone(self.pasid())
                self.power(function, "active", "D0")
                self.sysfs.change(function)
                self.wait_pasid(DSA)
                # It sleeps again: what was read is true still, for nothing happened to it.
                self.power(function, status, state)
                self.sysfs.change(function)
                self.fence()
                self.assertEqual(self.pasid(), DSA)
                # Now something did, and nobody knows.
                self.sysfs.bind(function, "vfio-pci")
                self.wait_pasid(None)
                self.sysfs.remove(function)
                self.wait_function(PF, False)

    def test_what_sleeps_lightly_is_read(self):
        # VFs that have no power management are suspended in D0, as igb's (seen on 6.12).
        for number, state in enumerate(("D3hot", "D0")):
            self.power(self.sysfs.add(f"0000:{number + 1:02x}:00.0", config=recorded_config("intel-dsa")),
                       "suspended", state)
        self.start()
        self.wait_pasid(DSA)
        self.wait_property("0000:02:00.0", "Width", 20)

    def test_not_where_the_bridge_would_wake(self):
        function = self.sysfs.add(PF, config=recorded_config("intel-dsa"))
        bridge = os.path.dirname(function.directory)
        os.makedirs(os.path.join(bridge, "power"))
        with open(os.path.join(bridge, "power", "runtime_status"), "w", encoding="ascii") as file:
            file.write("suspended\n")
        self.power(function, "suspended")
        self.start()
        self.daemon.wait_log("sleeps, its configuration is not read")
        self.wait_read()
        self.assertIsNone(self.pasid())

    def test_a_short_read_is_no_answer(self):
        for number in range(3):
            self.sysfs.add(f"0000:{number + 1:02x}:00.0", config=recorded_config("cut-in-list"))
        self.start()
        self.wait_read()
        self.assertIsNone(self.pasid())
        self.assertEqual(len(self.daemon.lines("CAP_SYS_ADMIN")), 1, "said once")


class Dependents(PasidTest):
    """Signals report which VFs are in use while the capability is enabled."""

    def setUp(self):
        super().setUp()
        self.pf = self.sysfs.add_pf(PF, vfs=3, vf_driver="vfio-pci", config=recorded_config("amd-gpu-enabled"))
        self.vfs = self.pf.vfs

    def start_known(self):
        self.start()
        self.wait_pasid(AMD)
        self.fence()

    def use(self, vf, used=True):
        vf.write("enable", "1" if used else "0")
        self.wait_property(vf.address, "InUse", used)

    def expect(self, *vfs):
        """Signals report them, and Check() counts them."""
        self.wait_property(PF, "Dependents", [vb.function_path(vf.address) for vf in vfs])
        for operation in ("disable-pasid", "unbind", "reset", "remove", "power-off"):
            self.assertEqual([subject for kind, subject, *_ in self.client.check(PF, operation)[1] if kind == "pasid"],
                             [vf.address for vf in vfs], operation)

    def told(self, mark, name="Dependents"):
        """(path, value) of each signal since that names the property, in their order."""
        return [(s.path, s.args[1][name]) for s in self.signals_since(mark)
                if s.member == "PropertiesChanged" and s.args[0] == PASID and name in s.args[1]]

    def test_follow_the_users(self):
        self.start_known()
        mark = self.mark()
        self.expect()
        for vf, used, expected in ((2, True, [2]), (0, True, [0, 2]), (2, False, [0]), (1, True, [0, 1]),
                                   (1, False, [0]), (0, False, [])):
            self.use(self.vfs[vf], used)
            self.expect(*(self.vfs[i] for i in expected))
        # Once for each change, on the PF alone.
        paths = [vb.function_path(vf.address) for vf in self.vfs]
        self.assertEqual(self.told(mark), [
            (vb.function_path(PF), [paths[i] for i in expected])
            for expected in ([2], [0, 2], [0], [0, 1], [0], [])])
        self.assertEqual(self.told(mark, "Enabled"), [])

    def test_found_at_the_start(self):
        self.vfs[1].write("enable", "1")
        self.start()
        self.expect(self.vfs[1])
        self.assertEqual(self.pasid(self.vfs[1].address), {**AMD, "Dependents": []})

    def test_follow_the_bit(self):
        # As AMD's IOMMU driver has it: on while a driver is attached, whatever VFs do.
        self.start_known()
        self.use(self.vfs[0])
        self.use(self.vfs[2])
        mark = self.mark()
        both = [self.vfs[0], self.vfs[2]]
        self.expect(*both)
        for _ in range(2):
            self.toggle(self.pf, False)
            self.sysfs.unbind(self.pf)
            self.expect()
            self.assertEqual(self.pasid()["Enabled"], False)
            self.toggle(self.pf, True)
            self.sysfs.bind(self.pf, "amdgpu")
            self.expect(*both)
            self.assertEqual(self.pasid(self.vfs[1].address)["Enabled"], True)
        paths = [vb.function_path(vf.address) for vf in both]
        self.assertEqual([value for _, value in self.told(mark)], [[], paths] * 2)

    def test_users_come_and_go_while_it_is_off(self):
        self.toggle(self.pf, False)
        self.start()
        self.wait_pasid({**AMD, "Enabled": False})
        mark = self.mark()
        self.use(self.vfs[0])
        self.use(self.vfs[1])
        self.expect()
        self.use(self.vfs[0], False)
        self.assertEqual(self.told(mark), [])
        self.toggle(self.pf, True)
        self.sysfs.rebind(self.pf, "amdgpu")
        self.expect(self.vfs[1])

    def test_a_vf_goes_while_it_is_used(self):
        self.start_known()
        self.use(self.vfs[0])
        self.expect(self.vfs[0])
        self.sysfs.disable_vfs(self.pf)
        self.wait_property(PF, "NumVFs", 0)
        self.expect()
        self.sysfs.enable_vfs(self.pf, 1, driver="vfio-pci")
        self.wait_property(PF, "NumVFs", 1)
        self.expect()
        self.use(self.pf.vfs[0])
        self.expect(self.pf.vfs[0])

    def test_the_capability_goes_out_of_sight(self):
        # The PF sleeps and is bound to another driver: nobody knows whether it is on.
        self.start_known()
        self.use(self.vfs[0])
        self.expect(self.vfs[0])
        self.power(self.pf, "suspended", "D3cold")
        self.sysfs.rebind(self.pf, "other")
        self.wait_pasid(None)
        self.wait_pasid(None, self.vfs[0].address)
        self.power(self.pf, "active", "D0")
        self.sysfs.change(self.pf)
        self.wait_pasid({**AMD, "Dependents": [vb.function_path(self.vfs[0].address)]})

    def test_the_pfs_own_user_is_none(self):
        self.sysfs.disable_vfs(self.pf)
        self.sysfs.rebind(self.pf, "vfio-pci")
        self.start_known()
        self.use(self.pf)
        self.expect()


if __name__ == "__main__":
    fixtures.main()
