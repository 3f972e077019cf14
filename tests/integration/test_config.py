#!/usr/bin/python3
"""vfwarden.conf: what it changes, and what becomes of a bad line at start and at reload."""

import os
import signal

import fixtures  # it puts tests/lib on the path
import examples
from test_lock import LockTest, SRIOV
import vfwarden_bus as vb

PF = "0000:01:00.0"

BAD = {
    "unknown key": ("[Lock]\n# fine\nEnforcment=advise\n", 3),
    "unknown section": ("\n[Look]\nEnforcement=advise\n", 2),
    "bad value": ("[Lock]\nEnforcement=maybe\n", 2),
    "empty value": ("[Lock]\nEnforcement=\n", 2),
    "no section": ("Enforcement=advise\n", 1),
    "no equals": ("[Lock]\n\n\nadvise\n", 4),
    "unclosed section": ("[Lock\nEnforcement=advise\n", 1),
}

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/vfwarden.conf.5")


def example(name):
    """The text of an example of the manual."""
    return "\n".join(next(one for one in examples.read(PAGE) if one.name == name).lines)


class Configuration(LockTest):
    def lines_of(self, name, number, text):
        path = os.path.join(self.config_dir, name)
        return rf"{path}:{number}: \S", text

    def test_without_any_file(self):
        os.rmdir(os.path.join(self.config_dir, "vfwarden.conf.d"))
        os.rmdir(self.config_dir)
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assertEqual(self.client.manager_property("Enforcement"), "enforce")
        self.assert_closed(pf, *SRIOV)

    def test_list_of_drivers_is_replaced(self):
        self.configure("# mine\n[Lock]\n  UserspaceDrivers = my-* other\t\n")
        pfs = {driver: self.sysfs.add_pf(f"0000:{index:02x}:00.0", driver=driver)
               for index, driver in enumerate(("my-driver", "other", "vfio-pci"), 1)}
        self.start()
        self.assert_closed(pfs["my-driver"], *SRIOV)
        self.assert_closed(pfs["other"], *SRIOV)
        self.assert_closed(pfs["vfio-pci"])

    def test_empty_list_locks_nothing(self):
        self.configure("[Lock]\nUserspaceDrivers=\n")
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf)

    def test_drop_ins_go_by_name_and_win(self):
        self.configure("[Lock]\nEnforcement=enforce\n")
        self.configure("[Lock]\nEnforcement=enforce\n", "vfwarden.conf.d/90-last.conf")
        self.configure("[Lock]\nEnforcement=advise\n", "vfwarden.conf.d/10-first.conf")
        self.start()
        self.assertEqual(self.client.manager_property("Enforcement"), "enforce")
        self.stop()
        self.client.recorder.listeners.clear()
        self.configure("[Lock]\nEnforcement=advise\n", "vfwarden.conf.d/95-later.conf")
        self.start()
        self.assertEqual(self.client.manager_property("Enforcement"), "advise")

    def test_the_manuals_example(self):
        self.configure(example("site"), "vfwarden.conf.d/site.conf")
        ours = self.sysfs.add_pf(PF, driver="acme_uio")
        self.sysfs.add_pf("0000:02:00.0", driver="uio_pci_generic")     # of the defaults, which it replaces
        self.start()
        self.assertEqual(self.client.manager_property("Enforcement"), "advise")
        self.wait_property(PF, "LockReasons", ["userspace-driver"])
        self.assertEqual(self.picture.function("0000:02:00.0")["LockReasons"], [])
        self.assertEqual(ours.mode("sriov_numvfs"), 0o644)

    def test_other_files_are_not_read(self):
        self.configure("nonsense\n", "vfwarden.conf.d/10-a.conf.dpkg-old")
        self.configure("nonsense\n", "vfwarden.conf.d/.hidden.conf")
        self.configure("nonsense\n", "other.conf")
        self.start()

    def test_bad_line_at_start_is_fatal(self):
        for what, (text, number) in BAD.items():
            with self.subTest(what):
                self.configure(text)
                daemon = self.spawn()
                self.assertGreater(daemon.wait_exit(), 0)
                self.assertRegex(daemon.log,
                                 rf"{self.config_dir}/vfwarden\.conf:{number}: \S")
        self.crash_expected = True

    def test_bad_drop_in_at_start_is_fatal(self):
        self.configure("[Lock]\nEnforcement=bad\n", "vfwarden.conf.d/50-x.conf")
        daemon = self.spawn()
        self.assertGreater(daemon.wait_exit(), 0)
        self.assertRegex(daemon.log, rf"{self.config_dir}/vfwarden\.conf\.d/50-x\.conf:2: \S")
        self.crash_expected = True

    def test_bad_start_touches_no_mode(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.configure("[Lock]\nEnforcement=bad\n")
        self.spawn().wait_exit()
        self.assert_closed(pf)
        self.crash_expected = True

    def test_reload_by_call(self):
        self.start_polkit(configure=True)
        pf = self.sysfs.add_pf(PF, driver="mine")
        self.start()
        self.configure("[Lock]\nUserspaceDrivers=mine\n")
        self.client.manager("Reload")
        self.assert_closed(pf, *SRIOV)
        self.wait_property(PF, "LockReasons", ["userspace-driver"])
        self.configure("")
        self.client.manager("Reload")
        self.assert_closed(pf)

    def test_reload_by_signal(self):
        pf = self.sysfs.add_pf(PF, driver="mine")
        self.start()
        mark = len(self.notify.messages)
        self.configure("[Lock]\nUserspaceDrivers=mine\n")
        self.daemon.kill(signal.SIGHUP)
        self.wait_property(PF, "Locked", True)
        self.assert_closed(pf, *SRIOV)
        vb.wait_until(lambda: self.notify.having("READY", mark), None, "READY=1 after the reload")
        told = self.notify.messages[mark:]
        reloading = [m for m in told if m.get("RELOADING") == "1"]
        self.assertEqual(len(reloading), 1, told)
        self.assertTrue(reloading[0]["MONOTONIC_USEC"].isdigit())
        self.assertLess(told.index(reloading[0]),
                        told.index(self.notify.having("READY", mark)[0]))

    def test_bad_reload_by_call_keeps_the_old(self):
        self.start_polkit(configure=True)
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        for what, (text, number) in BAD.items():
            with self.subTest(what):
                self.configure(text)
                with self.assertRaises(vb.BusError) as caught:
                    self.client.manager("Reload")
                self.assertRegex(caught.exception.message,
                                 rf"{self.config_dir}/vfwarden\.conf:{number}: \S")
                self.assertEqual(self.client.manager_property("Enforcement"), "enforce")
                self.assert_closed(pf, *SRIOV)

    def test_bad_reload_by_signal_keeps_the_old(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        log, mark = self.daemon.log_mark(), len(self.notify.messages)
        self.configure("[Lock]\nUserspaceDrivers=\nEnforcement=bad\n")
        self.daemon.kill(signal.SIGHUP)
        self.daemon.wait_log(rf"{self.config_dir}/vfwarden\.conf:3: \S", log)
        # systemctl reload waits for READY=1 whatever the outcome.
        vb.wait_until(lambda: self.notify.having("READY", mark), None, "READY=1 after the reload")
        self.fence()
        self.assert_closed(pf, *SRIOV)
        self.assertTrue(self.daemon.running)

    def test_unknown_option_is_refused(self):
        daemon = self.spawn("--no-such-option")
        self.assertGreater(daemon.wait_exit(), 0)
        self.crash_expected = True


if __name__ == "__main__":
    fixtures.main()
