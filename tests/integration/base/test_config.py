#!/usr/bin/python3
"""vfwarden.conf: what it changes, and what becomes of a bad line at start and at reload."""

import os
import signal
import subprocess

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

PAGE = os.path.join(fixtures.SOURCE, "docs", "vfwarden.conf.5")


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

    def assert_defaults(self, pf, where):
        """The daemon is up with the defaults, and says file and reason in its log and as a problem."""
        self.start(picture=False)
        self.daemon.wait_log(rf"err: {where}")
        self.assertEqual(self.client.manager_property("Enforcement"), "enforce")
        self.assert_closed(pf, *SRIOV)
        problem, = self.client.manager_property("Problems")
        self.assertRegex(problem, rf"\AFailed to read the configuration: {where}.*; the defaults are in force")

    def assert_taken_at_reload(self):
        """Once the file is right."""
        self.client.manager("Reload")
        self.assertEqual(self.client.manager_property("Problems"), [])

    def test_bad_line_at_start_means_the_defaults(self):
        self.start_polkit(configure=True)
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        for what, (text, number) in BAD.items():
            with self.subTest(what):
                self.configure(text)
                self.assert_defaults(pf, rf"{self.config_dir}/vfwarden\.conf:{number}: \S")
                self.configure("[Lock]\nEnforcement=advise\n")
                self.assert_taken_at_reload()
                self.assertEqual(self.client.manager_property("Enforcement"), "advise")
                self.assert_closed(pf)
                self.stop()

    def test_bad_drop_in_takes_the_rest_along(self):
        """Part of a configuration is none that anybody wrote."""
        self.start_polkit(configure=True)
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.configure("[Lock]\nEnforcement=advise\nUserspaceDrivers=\n")
        self.configure("[Lock]\nEnforcement=bad\n", "vfwarden.conf.d/50-x.conf")
        self.assert_defaults(pf, rf"{self.config_dir}/vfwarden\.conf\.d/50-x\.conf:2: \S")

    def test_what_is_no_file(self):
        self.start_polkit(configure=True)
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        for place in ("vfwarden.conf", "vfwarden.conf.d/50-x.conf"):
            path = os.path.join(self.config_dir, place)

            def text(content, path=path):
                with open(path, "wb") as file:
                    file.write(content)

            def large(path=path):
                with open(path, "wb") as file:
                    file.truncate(1 << 30)

            for what, make, reason in (
                    ("a directory", lambda: os.mkdir(path), "a directory"),
                    ("a FIFO", lambda: os.mkfifo(path), "not a regular file"),
                    ("a dangling link", lambda: os.symlink("/nonexistent/x", path), "leads nowhere"),
                    ("a link to itself", lambda: os.symlink(path, path), "symbolic link"),
                    ("a link without end", lambda: os.symlink("/dev/zero", path), "not a regular file"),
                    ("a link to a terminal", lambda: os.symlink("/dev/tty", path), "not a regular file"),
                    ("1 GiB", large, "too large"),
                    ("binary", lambda: text(b"[Lock]\n\x7fELF\0\0\1"), "NUL"),
                    ("not UTF-8", lambda: text(b"[Lock]\n\xff\xfe=1\n"), "UTF-8"),
                    ("a long line", lambda: text(b"[Lock]\n" + b"x" * 100000), "neither"),
                    ("a terminal's orders", lambda: text(b"[Lock]\n\x1b[2Jx=1\n"), r"\?\[2Jx")):
                with self.subTest(what, place=place):
                    make()
                    self.assert_defaults(pf, rf"{path}.*{reason}")
                    os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
                    self.assert_taken_at_reload()
                self.stop()

    def test_what_is_no_directory(self):
        self.start_polkit(configure=True)
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        path = os.path.join(self.config_dir, "vfwarden.conf.d")
        for what, make in (("a FIFO", lambda: os.mkfifo(path)), ("a file", lambda: open(path, "wb").close()),
                           ("a dangling link", lambda: os.symlink("/nonexistent/x", path))):
            with self.subTest(what):
                if os.path.isdir(path):
                    os.rmdir(path)
                make()
                self.assert_defaults(pf, path)
                os.unlink(path)
                self.assert_taken_at_reload()
                self.stop()

    def test_a_name_that_is_no_text(self):
        """It goes over the bus, in an error and as a problem."""
        self.start_polkit(configure=True)
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        with open(os.path.join(os.fsencode(self.config_dir), b"vfwarden.conf.d", b"\xff\n.conf"), "wb") as file:
            file.write(b"nonsense\n")
        self.assert_defaults(pf, self.config_dir)
        error = self.assert_bus_error(vb.FAILED, self.client.manager, "Reload")
        self.assertIn("neither", error.message)

    def test_what_is_taken_all_the_same(self):
        """A byte order mark, another system's ends of lines, a file that is masked."""
        self.sysfs.add_pf(PF, driver="vfio-pci")
        for text in ("\ufeff[Lock]\nEnforcement=advise\n", "[Lock]\r\nEnforcement=advise\r\n"):
            self.configure(text)
            self.start(picture=False)
            self.assertEqual(self.client.manager_property("Enforcement"), "advise")
            self.assertEqual(self.client.manager_property("Problems"), [])
            self.stop()
        os.symlink("/dev/null", os.path.join(self.config_dir, "vfwarden.conf.d/50-x.conf"))
        self.start(picture=False)
        self.assertEqual(self.client.manager_property("Problems"), [])

    def test_bad_reload_is_a_problem_too(self):
        self.start_polkit(configure=True)
        self.start()
        self.configure("nonsense\n")
        self.assert_bus_error(vb.FAILED, self.client.manager, "Reload")
        problem, = self.client.manager_property("Problems")
        self.assertRegex(problem, rf"{self.config_dir}/vfwarden\.conf:1: .* what was in force before stays so")
        self.configure("")
        self.assert_taken_at_reload()

    def check_config(self):
        return subprocess.run([os.environ["VFWARDEND"], f"--config-dir={self.config_dir}", "--check-config"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                              timeout=fixtures.DEADLINE)

    def test_check_config(self):
        run = self.check_config()
        self.assertEqual((run.returncode, run.stdout, run.stderr),
                         (0, f"{self.config_dir}: the configuration is valid\n", ""))
        for what, (text, number) in BAD.items():
            with self.subTest(what):
                self.configure(text)
                run = self.check_config()
                self.assertEqual((run.returncode, run.stdout), (1, ""))
                self.assertRegex(run.stderr, rf"\A{self.config_dir}/vfwarden\.conf:{number}: \S.*\n\Z")

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
