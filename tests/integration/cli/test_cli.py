#!/usr/bin/python3
"""The command and the daemon together. What the command makes of every other answer there can be is
tested in tests/cli, against a stand-in."""

import errno
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile

import gi
gi.require_version("Gio", "2.0")
from gi.repository import GLib  # noqa: E402

from fixtures import DEADLINE, main, wait_until  # noqa: E402
from test_lock import ALL, LockTest, SRIOV  # noqa: E402

PF = "0000:01:00.0"
PLAIN = "0000:02:00.0"


class Command:
    """A run of the command; polkit answers meanwhile, from this process."""

    def __init__(self, test, arguments, user=None):
        environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": test.bus.address,
                       "LC_ALL": "C.UTF-8", "G_DEBUG": "fatal-criticals"}
        wrapper = shlex.split(os.environ.get("VFWARDEN_CLI_WRAPPER", ""))
        self._test = test
        program = os.environ["VFWARDEN"] if user is None else self._public_copy()
        self._process = subprocess.Popen(
            [*wrapper, program, *arguments], env=environment, text=True, user=user, cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.set_blocking(self._process.stdout.fileno(), False)
        self._output = ""
        self._source = GLib.unix_fd_add_full(
            GLib.PRIORITY_DEFAULT, self._process.stdout.fileno(),
            GLib.IOCondition.IN | GLib.IOCondition.HUP, self._on_output)
        test.addCleanup(self.close)

    def _public_copy(self):
        """The command where other users can run it, which a build below somebody's home is not."""
        directory = tempfile.mkdtemp(prefix="vfw")
        self._test.addCleanup(shutil.rmtree, directory)
        os.chmod(directory, 0o755)
        return shutil.copy(os.environ["VFWARDEN"], directory)

    def _on_output(self, *_):
        data = self._process.stdout.read()
        if data == "":
            self._source = 0
            return GLib.SOURCE_REMOVE
        self._output += data or ""
        return GLib.SOURCE_CONTINUE

    def lines(self):
        """The complete lines so far, without their time."""
        return [line[25:] for line in self._output.split("\n")[:-1]]

    def wait_line(self, line):
        wait_until(lambda: line in self.lines(), None,
                   lambda: f"the line {line!r}, there are {self.lines()}")

    def children(self):
        """Pids of the processes that it started and that have not ended."""
        pid = self._process.pid
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()

    def result(self):
        """Exit code, standard output and standard error, once it ended."""
        wait_until(lambda: not self._source, 2 * DEADLINE, "the command's end")
        error = self._process.stderr.read()
        return self._process.wait(), self._output, error

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._source:
            GLib.source_remove(self._source)
            self._source = 0
        self._process.stdout.close()
        self._process.stderr.close()


class Cli(LockTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True)

    def run_command(self, *arguments, user=None):
        return Command(self, arguments, user).result()

    def check(self, arguments, output="", error="", code=0):
        self.assertEqual(self.run_command(*arguments), (code, output, error))

    def json(self, *arguments):
        code, output, error = self.run_command("--json", *arguments)
        self.assertEqual((code, error), (0, ""))
        return json.loads(output)

    def test_list(self):
        self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.sysfs.add(PLAIN, driver="e1000e")
        self.start()
        code, output, error = self.run_command("list", "--no-legend")
        self.assertEqual((code, error), (0, ""))
        vfs = [self.sysfs.vf_address(self.sysfs[PF], index) for index in range(2)]
        self.assertEqual([line.split()[:3] for line in output.splitlines()], [
            [PF, "pf", "igb"], [f"├─{vfs[0]}", "vf", "vfio-pci"],
            [f"└─{vfs[1]}", "vf", "vfio-pci"], [PLAIN, "plain", "e1000e"],
            [self.SENTINEL, "plain", "fence-0"]])
        self.assertEqual(self.json("list"), json.loads(self.client.manager("Describe"))["Functions"])

    def test_everything_has_a_label(self):
        pf = self.sysfs.add_pf(PF, vfs=1, driver="vfio-pci")
        self.start()
        for address in (PF, pf.vfs[0].address, self.SENTINEL):
            code, output, error = self.run_command("show", address)
            self.assertEqual((code, error), (0, ""))
            self.assertTrue(output.startswith(address))
            for member in self.json("show", address):
                if member not in ("Driver", "State", "Locked", "Tainted", "Kind", "Class"):
                    self.assertNotIn(f"{member}:", output)

    def test_status(self):
        self.sysfs.add_pf(PF, vfs=2, driver="igb")
        self.start()
        self.client.lock(PF)
        status = self.json("status")
        self.assertEqual(status.pop("Version"), self.client.manager_property("Version"))
        self.assertEqual(status.pop("Guards"), self.client.manager_property("Guards"))
        self.assertEqual(status, {
            "Installed": True, "Running": True, "Enforcement": "enforce", "Problems": [], "FunctionCount": 4,
            "PhysicalFunctionCount": 1, "VirtualFunctionCount": 2,
            "DetachedVirtualFunctionCount": 0, "InUseCount": 0, "LockedCount": 1,
            "TaintedCount": 0, "UserCount": 0, "InhibitorCount": 0})
        self.stop()
        self.assertEqual(self.run_command("status")[0], 5)

    def test_lock_and_unlock(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.check(["lock", "01:00.0", "noon"],
                   f"{PF} is locked, write-protected files: {', '.join(ALL)}\n")
        self.assert_closed(pf, *ALL)
        self.assertEqual(self.json("show", PF)["LockWhy"], "noon")
        self.check(["unlock", PF], f"{PF} is unlocked\n")
        self.assert_closed(pf)

    def test_unlock_with_another_reason(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.client.lock(PF)
        self.check(["unlock", PF], f"{PF} is no longer locked by the administrator, but still by\n"
                   "  userspace-driver: a userspace driver has this function\n")
        self.assert_closed(pf, *SRIOV)

    def test_errors(self):
        self.sysfs.add_pf(PF)
        self.start()
        self.assertEqual(self.run_command("lock", "9:0.0")[0], 3)
        self.assertEqual(self.run_command("lock", PF, "x" * 4096)[0], 2)
        self.polkit.verdicts["org.vfwarden1.configure"] = False
        for arguments in (["lock", PF], ["unlock", PF], ["release-all"], ["reload"]):
            code, output, error = self.run_command(*arguments, user=65534)
            self.assertEqual((code, output), (4, ""), error)
            self.assertTrue(error.startswith("vfwarden: Cannot "), error)

    def test_release_all(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.client.lock(PF)
        self.assert_closed(pf, *ALL)
        code, output, error = self.run_command("release-all")
        self.assertEqual((code, error), (0, ""))
        self.assertEqual(sorted(os.path.basename(line) for line in output.splitlines()),
                         sorted(ALL))
        self.assert_closed(pf)
        self.check(["release-all"], "No file was write-protected.\n")
        self.check(["lock", PF], f"{PF} is locked, but vfwardend only advises: no file is write-protected\n")
        self.check(["reload"])
        self.assert_closed(pf, *ALL)

    def test_release_all_that_leaves_a_file_locked(self):
        faults = self.start_faults()
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.client.lock(PF)
        self.assert_closed(pf, *ALL)
        faults.set(("chmod", errno.EROFS, f"*/{PF}/remove"))
        self.check(["release-all"], code=1,
                   error=f"vfwarden: Cannot unlock the files: /sys/bus/pci/devices/{PF}/remove stays locked: "
                         f"{os.strerror(errno.EROFS)}\n")
        self.assert_closed(pf, "remove")

    def test_reload(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.configure("[Lock]\nEnforcement=maybe\n")
        code, output, error = self.run_command("reload")
        self.assertEqual((code, output), (1, ""))
        path = os.path.join(self.config_dir, "vfwarden.conf")
        self.assertTrue(error.startswith(f"vfwarden: Cannot reload the configuration: {path}:2: "),
                        error)
        self.configure("[Lock]\nEnforcement=advise\n")
        self.check(["reload"])
        self.assert_closed(pf)

    def test_monitor(self):
        self.start()
        run = Command(self, ["monitor"])
        wait_until(run.lines, None, "its first line")
        pf = self.sysfs.add_pf(PF, driver=None, announce=True)
        self.wait_function(PF)
        self.sysfs.bind(pf, "vfio-pci")
        run.wait_line(f"{PF}  Driver: none -> vfio-pci")
        run.wait_line(f"{PF}  LockReasons: none -> userspace-driver")
        pf.chmod("sriov_numvfs", 0o644)
        run.wait_line(f"{PF}  violation: set-num-vfs, sriov_numvfs was found open, mode 0644, locked "
                      "by userspace-driver")
        self.sysfs.unbind(pf)
        run.wait_line(f"{PF}  Driver: vfio-pci -> none")
        self.sysfs.remove(pf)
        run.wait_line(f"{PF}  removed")
        self.restart()
        run.wait_line("vfwardend     started")
        wait_until(lambda: "functions" in run.lines()[-1], None, "the picture")
        added = [line for line in run.lines() if line.startswith(f"{PF}  added: pf")]
        self.assertEqual(len(added), 1)
        # What the daemon says when it starts has been known before.
        after = run.lines()[run.lines().index("vfwardend     started"):]
        self.assertEqual(len(after), 2, after)


if __name__ == "__main__":
    main()
