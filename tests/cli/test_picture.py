"""list, show and status: the inventory as a person and as a script sees it."""

import json

from standin import CommandTest, DBusError
import pictures
from pictures import function

LIST = """\
ADDRESS         KIND         DRIVER      GROUP  LOCK                            STATE            \
NAME
0000:00:02.0    plain        virtio-pci      2  -                               -                \
Red Hat, Inc. Virtio 1.0 network device
0000:01:00.0    pf           igb            14  -                               -                \
Intel Corporation 82576 Gigabit Network Connection
├─0000:01:10.0  vf           igbvf          20  -                               -                \
Intel Corporation 82576 Virtual Function
└─0000:01:10.2  vf           vfio-pci       21  -                               in-use,draining  \
Intel Corporation 82576 Virtual Function
0000:02:00.0    pf           vfio-pci       15  userspace-driver,administrator  in-use,tainted   \
Red Hat, Inc. QEMU NVM Express Controller
└─0000:02:00.1  vf           vfio-pci       22  -                               -                \
Red Hat, Inc. QEMU NVM Express Controller
0040:00:10.0    detached-vf  ism             3  -                               -                \
IBM Internal Shared Memory (ISM) virtual PCI device
10000:e1:00.0   plain        -               -  -                               -                \
-
"""

SHOW_PF = """\
0000:02:00.0  Red Hat, Inc. QEMU NVM Express Controller
                Kind:  physical function
              Vendor:  Red Hat, Inc. [1b36]
              Device:  QEMU NVM Express Controller [0010]
           Subsystem:  1af4:1100
               Class:  010802, revision 02
       Number of VFs:  1 of 4
VF drivers autoprobe:  no
   Virtual functions:  0000:02:00.1
              Driver:  vfio-pci
     Driver override:  vfio-pci
         IOMMU group:  15
           NUMA node:  0
   Memory enable bit:  implemented
               State:  present
              In use:  yes
              Locked:  yes
        Lock reasons:  userspace-driver: a userspace driver has this function
                       administrator: an administrator locked it
  Administrator says:  guest db1 starts at noon
        Locked files:  sriov_numvfs, sriov_drivers_autoprobe, remove, reset
             Tainted:  yes, until it is plugged in anew
"""

SHOW_VF = """\
0000:01:10.2  Intel Corporation 82576 Virtual Function
             Kind:  virtual function
           Vendor:  Intel Corporation [8086]
           Device:  82576 Virtual Function [10ca]
        Subsystem:  8086:a03c
            Class:  020000, revision 01
Physical function:  0000:01:00.0
         VF index:  1
           Driver:  vfio-pci
  Driver override:  vfio-pci
      IOMMU group:  21
        NUMA node:  none
Memory enable bit:  hardwired to 0, as in every VF: a virtual machine monitor must not make access to the BARs depend on it
            State:  draining, some of its users have released it
           In use:  yes
           Locked:  no
     Locked files:  none
          Tainted:  no
"""

SHOW_DETACHED = """\
0040:00:10.0  IBM Internal Shared Memory (ISM) virtual PCI device
             Kind:  virtual function, detached: its physical function is not on this system
                    There is no PF here to lock, only the files that remove or reset it.
           Vendor:  IBM [1014]
           Device:  Internal Shared Memory (ISM) virtual PCI device [04ed]
        Subsystem:  8086:a03c
            Class:  000000, revision 00
        VF number:  4
           Driver:  ism
  Driver override:  none
      IOMMU group:  3
        NUMA node:  none
Memory enable bit:  hardwired to 0, as in every VF: a virtual machine monitor must not make access to the BARs depend on it
    zPCI function:  id 000000ff, UID 0040, channel 01c4, group ff, type 05
      zPCI handle:  ffffffff
 zPCI MIO enabled:  no
            State:  present
           In use:  no
           Locked:  no
     Locked files:  none
          Tainted:  no
"""

SHOW_UNREADABLE = """\
10000:e1:00.0
             Kind:  function without SR-IOV
           Vendor:  unreadable
           Device:  unreadable
        Subsystem:  unreadable
            Class:  unreadable
           Driver:  none
  Driver override:  none
      IOMMU group:  none
        NUMA node:  none
Memory enable bit:  implemented
            State:  present
           In use:  no
           Locked:  no
     Locked files:  none
          Tainted:  no
"""

STATUS = """\
            Daemon:  running, version 0.1.0
       Enforcement:  enforce, locks write-protect files
         Functions:  8
Physical functions:  2
 Virtual functions:  3
      Detached VFs:  1
            In use:  2
            Locked:  1
           Tainted:  1
             Users:  4
        Inhibitors:  1
"""


class List(CommandTest):
    def names(self, output):
        return [line.split()[0] for line in output.splitlines()]

    def test_tree(self):
        self.start_daemon(pictures.host())
        self.check(["list"], LIST)

    def test_no_legend(self):
        self.start_daemon([function("0000:01:00.0", "plain", Driver="e1000e")])
        self.check(["list", "--no-legend"], "0000:01:00.0  plain  e1000e  -  -  -  Intel Corporation "
                                            "82576 Gigabit Network Connection\n")

    def test_sriov(self):
        self.start_daemon(pictures.host())
        _, output, _ = self.run_command("list", "--sriov", "--no-legend")
        self.assertEqual(self.names(output), [
            "0000:01:00.0", "├─0000:01:10.0", "└─0000:01:10.2", "0000:02:00.0", "└─0000:02:00.1",
            "0040:00:10.0"])

    def test_empty_host(self):
        self.start_daemon()
        self.check(["list"], "ADDRESS  KIND  DRIVER  GROUP  LOCK  STATE  NAME\n")
        self.check(["list", "--json"], "[]\n")

    def test_names_as_far_as_known(self):
        def named(slot, vendor, device, **members):
            return function(f"0000:00:{slot:02x}.0", "plain", VendorName=vendor, DeviceName=device,
                            **members)
        self.start_daemon([named(1, "Vendor Ltd.", ""), named(2, "", ""), named(3, "", "Device"),
                           named(4, "Vendor Ltd.", "", DeviceId=0xffff)])
        _, output, _ = self.run_command("list", "--no-legend")
        self.assertEqual([line.split("  ")[-1] for line in output.splitlines()],
                         ["Vendor Ltd. Device 10c9", "Vendor 8086 Device 10c9",
                          "Vendor 8086 Device 10c9", "Vendor Ltd."])

    def test_vfs_are_never_lost(self):
        # A PF that is not there, one that is a VF itself, one that claims to be its own, and
        # functions that have none.
        self.start_daemon([
            function("0000:01:00.0", "pf"),
            function("0000:01:10.0", "vf", PhysicalFunction="0000:09:00.0"),
            function("0000:01:10.2", "vf", PhysicalFunction="0000:01:10.4"),
            function("0000:01:10.4", "vf", PhysicalFunction="0000:01:10.4"),
            function("0000:02:10.0", "vf", PhysicalFunction="0000:01:00.0"),
            function("0000:03:00.0", "pf", PhysicalFunction="0000:03:00.0"),
            function("0000:04:00.0", "detached-vf", PhysicalFunction="0000:01:00.0"),
            function("0000:05:00.0", "plain", PhysicalFunction="0000:01:00.0")])
        _, output, _ = self.run_command("list", "--no-legend")
        self.assertEqual(self.names(output), ["0000:01:00.0", "└─0000:02:10.0", "0000:01:10.0",
                                              "0000:01:10.2", "0000:01:10.4", "0000:03:00.0",
                                              "0000:04:00.0", "0000:05:00.0"])

    def test_lock_without_a_reason(self):
        self.start_daemon([function("0000:01:00.0", "plain", Locked=True, State="removing")])
        _, output, _ = self.run_command("list", "--no-legend")
        self.assertEqual(output.split()[4:6], ["yes", "removing"])

    def test_json_is_the_daemons_list(self):
        functions = pictures.host()
        self.start_daemon(functions)
        code, output, error = self.run_command("list", "--json")
        self.assertEqual((code, error), (0, ""))
        self.assertEqual(json.loads(output), functions)
        _, output, _ = self.run_command("--json", "--sriov", "list")
        self.assertEqual(json.loads(output), [f for f in functions if f["Kind"] != "plain"])

    def test_asks_once(self):
        daemon = self.start_daemon(pictures.host())
        self.run_command("list")
        self.assertEqual([c[0] for c in daemon.calls], ["Describe"])

    def test_documents_that_are_not_understood(self):
        daemon = self.start_daemon()
        for document, why in (
                ("[]", "it has no list of functions"),
                ('{"Functions":{}}', "it has no list of functions"),
                ('{"Functions":[{"Kind":"pf"}]}', "function 0 of its list has no address"),
                ('{"Functions":[7]}', "function 0 of its list has no address"),
                ("", "it has no list of functions"),
                ("{", None)):
            with self.subTest(document):
                daemon.document = document
                code, output, error = self.run_command("list")
                self.assertEqual((code, output), (1, ""))
                start = "vfwarden: Cannot list the functions: the daemon's answer is not understood: "
                self.assertTrue(error.startswith(start), error)
                if why:
                    self.assertEqual(error, f"{start}{why}\n")

    def test_members_of_other_types(self):
        self.start_daemon([{"Address": "0000:01:00.0", "Kind": 7, "LockReasons": "many",
                            "IommuGroup": "none", "InUse": 1, "Driver": None, "VendorName": [],
                            "PhysicalFunction": {}, "State": True}])
        self.check(["list", "--no-legend"], "0000:01:00.0  -  -  -  -  -  -\n")


class Show(CommandTest):
    def test_kinds(self):
        self.start_daemon(pictures.host())
        for address, text in ((pictures.NVME, SHOW_PF), (pictures.IGB_VF1, SHOW_VF),
                              (pictures.DETACHED, SHOW_DETACHED),
                              (pictures.UNREADABLE, SHOW_UNREADABLE)):
            with self.subTest(address):
                self.check(["show", address], text)

    def test_msix(self):
        members = {"Vectors": 10, "TableBar": 3, "TableOffset": 0, "PbaBar": 3, "PbaOffset": 0x2000}
        self.start_daemon([
            function("0000:01:00.0", "plain", Msix=dict(
                members, Isolation="isolated", TableMappable=True, Reason="Its own MSIs are isolated.",
                Evidence=["One (/sys/a).", "Another (/sys/b)."])),
            function("0000:02:00.0", "plain", Msix=dict(
                members, Isolation="not-isolated", TableMappable=False, Reason="Its IOMMU cannot.",
                Evidence=["One (/sys/a)."])),
            function("0000:03:00.0", "plain", Msix=dict(
                members, Isolation="unknown", TableMappable=False, Reason="Nothing shows it.", Evidence=[])),
            function("0000:04:00.0", "plain")])
        for address, text in (
                ("0000:01:00.0", "    MSI isolation:  isolated\n"
                                 "                    Its own MSIs are isolated.\n"
                                 "      MSI-X table:  may be mapped into a guest\n"
                                 "     MSI evidence:  One (/sys/a).\n"
                                 "                    Another (/sys/b).\n"),
                ("0000:02:00.0", "    MSI isolation:  not isolated\n"
                                 "                    Its IOMMU cannot.\n"
                                 "      MSI-X table:  must not be mapped into a guest\n"
                                 "     MSI evidence:  One (/sys/a).\n"),
                ("0000:03:00.0", "    MSI isolation:  unknown, which counts as no\n"
                                 "                    Nothing shows it.\n"
                                 "      MSI-X table:  must not be mapped into a guest\n"
                                 "     MSI evidence:  none\n")):
            with self.subTest(address):
                _, output, _ = self.run_command("show", address)
                self.assertIn("MSI-X:  10 vectors, table in BAR 3 at 0x0, pending bits in BAR 3 at 0x2000\n" + text,
                              output)
        _, output, _ = self.run_command("show", "0000:04:00.0")
        self.assertNotIn("MSI", output)

    def test_several_vfs(self):
        self.start_daemon(pictures.host())
        _, output, _ = self.run_command("show", pictures.IGB)
        self.assertIn("       Number of VFs:  2 of 8\n"
                      "VF drivers autoprobe:  yes\n"
                      "   Virtual functions:  0000:01:10.0\n"
                      "                       0000:01:10.2\n", output)

    def test_what_a_later_daemon_tells(self):
        self.start_daemon([function("0000:01:00.0", "plain", Flavour=16, Textures=["a", "b"],
                                    Deep={"x": [1]}, Ratio=0.5, Nothing=None)])
        _, output, _ = self.run_command("show", "01:00.0")
        self.assertTrue(output.endswith("          Flavour:  16\n"
                                        "         Textures:  a, b\n"
                                        '             Deep:  {"x":[1]}\n'
                                        "            Ratio:  0.5\n"
                                        "          Nothing:  null\n"), output)

    def test_pasid_and_what_is_under_way(self):
        pasid = {"Enabled": True, "Width": 20, "Execute": False, "Privileged": True,
                 "Provider": "0000:01:00.0", "Dependents": ["0000:01:10.0", "0000:01:10.2"]}
        self.start_daemon([
            function("0000:01:00.0", "plain", Users=[], Pasid=pasid,
                     Operation={"Name": "unbind", "Pid": 815, "Since": 1795222312_654321}),
            function("0000:02:00.0", "plain", Operation={"Name": "reset"},
                     Pasid={**pasid, "Enabled": False, "Execute": True, "Dependents": []})])
        _, output, _ = self.run_command("show", "01:00.0")
        self.assertIn("            PASID:  enabled, 20 bits, privileged\n"
                      "     Relied on by:  0000:01:10.0\n"
                      "                    0000:01:10.2\n", output)
        self.assertIn("      In progress:  unbind since 2026-11-21 00:51 (process 815)\n", output)
        _, output, _ = self.run_command("show", "02:00.0")
        self.assertIn("            PASID:  disabled, 20 bits, execute, privileged\n", output)
        self.assertIn("      In progress:  reset\n", output)
        for text in ("Relied on by", "Users:", "Operation:", "Pasid:"):
            self.assertNotIn(text, output)

    def test_what_an_earlier_daemon_does_not_tell(self):
        self.start_daemon([{"Address": "0000:01:00.0", "Kind": "pf"}])
        _, output, _ = self.run_command("show", "01:00.0")
        for line in ("       Number of VFs:  unknown of unknown", "              Driver:  unknown",
                     "   Virtual functions:  unknown", "               State:  unknown"):
            self.assertIn(line, output.splitlines())

    def test_other_kinds_reasons_and_states(self):
        self.start_daemon([function("0000:01:00.0", "novel", Locked=True,
                                    LockReasons=["whim", "in-use", "vf-in-use", "inhibitor"],
                                    State="asleep", CommandMemory="odd")])
        _, output, _ = self.run_command("show", "01:00.0")
        for line in ("             Kind:  novel", "     Lock reasons:  whim",
                     "                    in-use: the function is in use",
                     "                    vf-in-use: one of its virtual functions is in use",
                     "                    inhibitor: a client inhibits an operation on it, on a VF of it or on a function below it",
                     "            State:  asleep", "Memory enable bit:  odd"):
            self.assertIn(line, output.splitlines())

    def test_json_is_the_daemons_element(self):
        functions = pictures.host()
        self.start_daemon(functions)
        code, output, error = self.run_command("show", "--json", "02:00.0")
        self.assertEqual((code, error), (0, ""))
        self.assertEqual(json.loads(output), {**functions[4], "Users": [], "Inhibitors": []})

    def start_held(self):
        daemon = self.start_daemon(pictures.host())
        daemon.users = [
            (pictures.IGB_VF0, 7, 0, "other", ""),
            (pictures.IGB_VF1, 4711, 107, "qemu-kvm -name web1",
             r"machine-qemu\x2d1\x2dweb1.scope", "web1", 1795222312_654321),
            (pictures.IGB_VF1, 4712, 1000, "", "user@1000.service"),
            (pictures.IGB_VF1, 4713, 1000, "bar", ""), (pictures.IGB_VF1, 0, 0, "", "")]
        daemon.inhibitors = [(pictures.NVME, "reset", "x", "y", 0, 1),
                             (pictures.IGB_VF1, "reset:remove", "backup", "nightly", 0, 815),
                             (pictures.IGB_VF1, "open", "admin", "", 0, 816)]

    def test_users_and_inhibitors(self):
        self.start_held()
        self.check(["show", pictures.IGB_VF1], SHOW_VF.replace("In use:  yes\n", """\
In use:  yes
          Used by:  qemu-kvm -name web1 (pid 4711, virtual machine web1)
                    a process (pid 4712, user@1000.service)
                    bar (pid 4713, uid 1000)
                    a process that could not be found
       Inhibitors:  backup (pid 815) inhibits reset:remove: nightly
                    admin (pid 816) inhibits open
"""))

    def test_user_in_a_socket(self):
        daemon = self.start_daemon(pictures.host())
        daemon.users = [(pictures.IGB_VF1, 0, 0, "", "", "", 1795222312_654321, 815)]
        code, output, error = self.run_command("show", pictures.IGB_VF1)
        self.assertEqual((code, error), (0, ""))
        self.assertIn("          Used by:  a process that could not be found, perhaps by a descriptor in a socket of pid 815",
                      output.splitlines())

    def test_users_without_vfio(self):
        """Programs that drive a function are listed with its users; what else the host does with it is not."""
        uses = [{"Kind": kind, "Text": text} for kind, text in (("mount", "its disk is mounted"),
                                                                ("uio", "its device uio0 is open in d\x1bpdk (pid 7)"))]
        self.start_daemon([pictures.function(pictures.IGB, "pf", Uses=uses), pictures.function(pictures.NVME, "plain")])
        line = f"{pictures.IGB}: its device uio0 is open in d\\x1bpdk (pid 7)\n"
        for arguments in ([], [pictures.IGB]):
            self.assertEqual(self.run_command("users", *arguments)[:2], (0, line))
        self.assertEqual(self.run_command("users", pictures.NVME)[:2], (0, f"Nobody uses {pictures.NVME}.\n"))
        self.assertEqual(self.run_command("users", "--json")[:2], (0, "[]\n"))

    def test_json_of_users_and_inhibitors(self):
        self.start_held()
        _, output, _ = self.run_command("show", "--json", pictures.IGB_VF1)
        self.assertEqual(json.loads(output)["Users"][0], {
            "Address": pictures.IGB_VF1, "Pid": 4711, "Uid": 107, "Command": "qemu-kvm -name web1",
            "Unit": r"machine-qemu\x2d1\x2dweb1.scope", "Machine": "web1", "Brokered": False,
            "Since": 1795222312_654321})
        self.assertEqual(json.loads(output)["Inhibitors"][0], {
            "Address": pictures.IGB_VF1, "What": "reset:remove", "Who": "backup", "Why": "nightly",
            "Uid": 0, "Pid": 815})

    def test_a_userspace_driver_is_no_taint(self):
        self.start_daemon([pictures.function(pictures.IGB, "pf", UserspaceDriver=True)])
        _, output, _ = self.run_command("show", pictures.IGB)
        self.assertIn("\n    Userspace driver:  yes, now or since it was plugged in\n", output)
        self.assertIn("\n             Tainted:  no\n", output)
        _, output, _ = self.run_command("list", "--no-legend")
        self.assertNotIn("taint", output)

    def test_no_such_function(self):
        self.start_daemon(pictures.host())
        self.check(["show", "9:0.0"], code=3,
                   error="vfwarden: Cannot show 0000:09:00.0: there is no such PCI function; "
                         "did you mean 0000:01:00.0?\n")
        self.check(["show", "ffff:ff:1f.7"], code=3,
                   error="vfwarden: Cannot show ffff:ff:1f.7: there is no such PCI function\n")


class Status(CommandTest):
    def start_busy(self):
        """Three processes, one of them with two functions, and one that was not found."""
        daemon = self.start_daemon(pictures.host())
        daemon.users = [(pictures.IGB_VF0, 11, 0, "a", ""), (pictures.IGB_VF1, 11, 0, "a", ""),
                        (pictures.NVME, 12, 0, "b", ""), (pictures.NVME, 13, 0, "b", ""),
                        (pictures.NVME_VF, 0, 0, "", "")]
        daemon.inhibitors = [(pictures.NVME, "reset", "who", "why", 0, 1)]
        return daemon

    def test_running(self):
        self.start_busy()
        self.check(["status"], STATUS)

    def test_advising(self):
        self.start_daemon(enforcement="advise", version="1.2.3")
        _, output, _ = self.run_command("status")
        self.assertEqual(output.splitlines()[:3], [
            "            Daemon:  running, version 1.2.3",
            "       Enforcement:  advise, locks are reported and write-protect nothing",
            "         Functions:  0"])

    def test_json(self):
        self.start_busy()
        code, output, error = self.run_command("status", "--json")
        self.assertEqual((code, error), (0, ""))
        self.assertEqual(json.loads(output), {
            "Installed": True, "Running": True, "Version": "0.1.0", "Enforcement": "enforce",
            "FunctionCount": 8, "PhysicalFunctionCount": 2, "VirtualFunctionCount": 3,
            "DetachedVirtualFunctionCount": 1, "InUseCount": 2, "LockedCount": 1,
            "TaintedCount": 1, "UserCount": 4, "InhibitorCount": 1})

    PROBLEMS = ["0000:01:00.0: Failed to read its driver: Input/output error",
                "Failed to save the state in /run/vfwarden: No space left on device"]

    def test_problems_are_a_line_each(self):
        self.start_daemon(pictures.host(), problems=self.PROBLEMS)
        _, output, _ = self.run_command("status")
        self.assertEqual(output.splitlines()[1:5], [
            "       Enforcement:  enforce, locks write-protect files",
            f"           Problem:  {self.PROBLEMS[0]}",
            f"           Problem:  {self.PROBLEMS[1]}",
            "         Functions:  8"])
        code, output, error = self.run_command("status", "--json")
        self.assertEqual((code, json.loads(output)["Problems"], error), (0, self.PROBLEMS, ""))

    def test_no_problems(self):
        self.start_daemon(pictures.host(), problems=[])
        _, output, _ = self.run_command("status")
        self.assertNotIn("Problem", output)
        _, output, _ = self.run_command("status", "--json")
        self.assertEqual(json.loads(output)["Problems"], [])

    def test_daemon_that_knows_no_users(self):
        self.start_busy().answers.update(DescribeUsers=self.unknown, ListInhibitors=self.unknown)
        _, output, _ = self.run_command("status")
        self.assertEqual(output.splitlines()[-2:], ["             Users:  0",
                                                    "        Inhibitors:  0"])

    @staticmethod
    def unknown(*_):
        raise DBusError("org.freedesktop.DBus.Error.UnknownMethod", "no")

    def test_not_installed(self):
        self.check(["status"], "Daemon:  not installed\n", code=5)
        code, output, error = self.run_command("status", "--json")
        self.assertEqual((code, json.loads(output), error),
                         (5, {"Installed": False, "Running": False}, ""))


class StatusOfAStoppedDaemon(CommandTest):
    activation = "/bin/false"

    def test_is_told_and_does_not_start_it(self):
        self.check(["status"], 'Daemon:  not running; "systemctl start vfwardend" starts it\n',
                   code=5)
        code, output, error = self.run_command("status", "--json")
        self.assertEqual((code, json.loads(output), error),
                         (5, {"Installed": True, "Running": False}, ""))
