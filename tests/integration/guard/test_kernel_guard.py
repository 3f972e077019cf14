#!/usr/bin/python3
"""What the daemon says of the kernel guard, and that it works without one."""

import errno
import os

import fixtures
from test_lock import LockTest, SRIOV
import vfwarden_bus as vb

PF = "0000:01:00.0"
NAMES = ("unbind", "descriptor", "chmod", "module", "network")


class KernelGuard(LockTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True)
        self.pf = self.sysfs.add_pf(PF, driver="vfio-pci")

    def guards(self):
        return list(self.client.manager_property("Guards"))

    def wait_guards(self, expected):
        vb.wait_until(lambda: self.guards() == expected, None, lambda: f"{expected}, got {self.guards()}")

    def say(self, text):
        """As vfwarden-guard does: by a rename."""
        path = os.path.join(self.guard_dir, "status")
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)

    def test_without_it_all_is_locked(self):
        self.start()
        self.wait_guards([f"{name}: not guarded: vfwarden-guard.service is not active" for name in NAMES])
        self.assert_closed(self.pf, *SRIOV)

    def test_a_driver_that_cannot_be_looked_at(self):
        """That is not taken for a driver without a file to guard, and is tried again."""
        faults = self.start_faults()
        for call, path in (("stat", "*/drivers/vfio-pci/unbind"), ("readlink", "*/drivers/vfio-pci/module")):
            faults.set((call, errno.ENOMEM, path))
            self.start()
            with self.subTest(path):
                expected = [f"Failed to look at the driver vfio-pci, which the kernel guard does not guard: "
                            f"{os.strerror(errno.ENOMEM)}"]
                vb.wait_until(lambda: list(self.client.manager_property("Problems")) == expected, None, expected)
                faults.clear()
                vb.wait_until(lambda: not self.client.manager_property("Problems"), None, "no problem")
            self.kill()

    def test_without_its_directory(self):
        os.rmdir(self.guard_dir)
        self.start()
        self.wait_guards([f"{name}: not guarded: vfwarden-guard.service is not active" for name in NAMES])
        self.assert_closed(self.pf, *SRIOV)

    def test_what_is_missing_is_said_with_the_reason(self):
        self.say("unbind missing the kernel does not load its program: Operation not permitted\n"
                 "nonsense\n"
                 "chmod missing no such hook\n")
        self.start()
        self.wait_guards(["unbind: not guarded: the kernel does not load its program: Operation not permitted",
                          "descriptor: not guarded: vfwarden-guard does not know it",
                          "chmod: not guarded: no such hook",
                          "module: not guarded: vfwarden-guard does not know it",
                          "network: not guarded: vfwarden-guard does not know it"])

    def test_what_it_says_is_read_again(self):
        """When there were no descriptors for it."""
        faults = self.start_faults()
        self.say("unbind missing no such hook\n")
        faults.set(("open", errno.EMFILE, os.path.join(self.guard_dir, "status")))
        self.start()
        self.wait_guards([f"{name}: not guarded: {os.strerror(errno.EMFILE)}" for name in NAMES])
        faults.clear()
        vb.wait_until(lambda: self.guards()[0] == "unbind: not guarded: no such hook", None, "the line of vfwarden-guard")

    def test_it_is_heard_when_it_is_loaded_later_and_unloaded(self):
        self.start()
        mark = self.client.recorder.mark()
        self.say("unbind missing no such hook\n")
        signal = self.client.recorder.wait_for("PropertiesChanged", mark=mark)
        self.assertIn("unbind: not guarded: no such hook", signal.args[1]["Guards"])
        os.unlink(os.path.join(self.guard_dir, "status"))
        self.wait_guards([f"{name}: not guarded: vfwarden-guard.service is not active" for name in NAMES])

    def test_what_is_said_to_be_loaded_is_not_believed_without_its_maps(self):
        self.say("".join(f"{name} loaded lsm\n" for name in NAMES))
        self.start()
        for line, name in zip(self.guards(), NAMES, strict=True):
            self.assertTrue(line.startswith(f"{name}: not guarded: Failed to open its maps: "), line)
        self.assert_closed(self.pf, *SRIOV)

    def test_switched_off(self):
        self.configure("[Lock]\nKernelGuard=off\n")
        self.start()
        self.wait_guards([f"{name}: not guarded: KernelGuard=off" for name in NAMES])

    def test_the_network_alone_is_switched_off(self):
        self.configure("[Lock]\nKernelGuardNetwork=off\n")
        self.start()
        self.assertEqual(self.guards()[-1], "network: not guarded: KernelGuardNetwork=off")
        self.assertIn("module: not guarded: vfwarden-guard.service is not active", self.guards())

    def test_a_word_that_is_none(self):
        for key in ("KernelGuard", "KernelGuardNetwork"):
            with self.subTest(key):
                self.configure(f"[Lock]\n{key}=on\n")
                self.start()
                problem, = self.client.manager_property("Problems")
                self.assertIn("'on' is neither 'refuse' nor 'tell' nor 'off'", problem)
                self.stop()


if __name__ == "__main__":
    fixtures.main()
