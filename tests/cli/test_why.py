"""why, users and inhibitors: what stands against an operation, and who is behind it."""

import json
import re
import textwrap

from standin import CommandTest, DBusError
import pictures
from pictures import IGB, IGB_VF0, IGB_VF1, NVME, NVME_VF, function

# No process has such a pid: the highest is 4194304.
WEB1, WORKER, BACKUP = 4200001, 4200002, 4200003
SINCE = 1795222312_654321     # 2026-11-21 00:51:52 UTC
UNIT = r"machine-qemu\x2d12\x2dweb\x2d1.scope"
QEMU = "qemu-system-x86_64 -name guest=web1"

REFUSED = f"""\
0000:01:00.0: unbind is refused, because of these 3:

0000:01:10.2: is a VF of it and in use by {QEMU} (pid 4200001, virtual machine web1)
          Kind:  user
       Process:  pid 4200001, uid 107, unit machine-qemu\\x2d1\\x2dweb1.scope
Holds it since:  2026-11-21 00:51
    What to do:  shut the virtual machine web1 down, or detach 0000:01:10.2 from it
            or:  "vfwarden unplug 0000:01:10.2" asks to release it

backup: inhibits unbind: saving the configuration
          Kind:  inhibitor
       Process:  pid 4200003
    What to do:  wait for backup, or ask the user 42 who started it: it ends with the process 4200003

0000:01:00.0: a novel thing
          Kind:  novel

Warning: 2 virtual functions are enabled
Warning: the moon is full
"""

TABLE = """\
OPERATION      POSSIBLE  KIND       SUBJECT       REASON
set-num-vfs    no        user       0000:01:10.2  is a VF of it and in use by qemu (pid 4200001, uid 0)
set-num-vfs    no        inhibitor  backup        inhibits remove: no
set-autoprobe  yes       -          -             -
bind           yes       -          -             -
unbind         yes       -          -             -
reset          yes       -          -             -
remove         yes       -          -             -
power-off      yes       -          -             -
disable-pasid  yes       -          -             -
open           yes       -          -             -
"""


class Why(CommandTest):
    def start(self, functions=None, users=(), inhibitors=(), **verdicts):
        daemon = self.start_daemon(functions or pictures.host())
        daemon.users = list(users)
        daemon.inhibitors = list(inhibitors)
        daemon.verdicts = {k.replace("_", "-"): v for k, v in verdicts.items()}
        return daemon

    def to_do(self, blocker, operation="reset", address=IGB, **options):
        """What is said that can be done about one blocker."""
        daemon = self.start(**options)
        daemon.verdicts[operation] = ([blocker], [])
        code, output, error = self.run_command("why", address, operation)
        self.assertEqual((code, error), (6, ""))
        daemon.close()
        return re.findall(r"^ +(?:What to do|or):  (.*)$", output, re.M)

    def test_allowed(self):
        self.start()
        self.check(["why", "01:00.0", "unbind"],
                   "0000:01:00.0: unbind is possible, nothing stands against it\n")

    def test_allowed_with_a_warning(self):
        self.start(remove=([], ["2 virtual functions go with it"]))
        self.check(["why", "01:00.0", "remove"], textwrap.dedent("""\
            0000:01:00.0: remove is possible, nothing stands against it

            Warning: 2 virtual functions go with it
            """))

    def test_refused(self):
        self.start(
            users=[(IGB_VF1, WEB1, 107, QEMU, r"machine-qemu\x2d1\x2dweb1.scope", "web1", SINCE)],
            inhibitors=[(IGB, "reset", "backup", "x", 1, 1),
                        (IGB, "unbind", "backup", "saving the configuration", 42, BACKUP)],
            unbind=([("user", IGB_VF1, f"is a VF of it and in use by {QEMU} (pid {WEB1}, virtual "
                                       "machine web1)", WEB1),
                     ("inhibitor", "backup", "inhibits unbind: saving the configuration", BACKUP),
                     ("novel", IGB, "a novel thing", 0)],
                    ["2 virtual functions are enabled", "the moon is full"]))
        self.check(["why", "01:00.0", "unbind"], REFUSED, code=6)

    def test_one_reason(self):
        self.start(reset=([("novel", IGB, "x", 0)], []))
        _, output, _ = self.run_command("why", IGB, "reset")
        self.assertEqual(output.splitlines()[0], f"{IGB}: reset is refused, because of this:")

    def test_since_when(self):
        daemon = self.start(reset=([("user", IGB, "in use", WORKER)], []))
        for since in ((0,), (2**63 - 1,), ()):   # not told, or what no calendar has
            daemon.users = [(IGB, WORKER, 0, "dpdk", "", "", *since)]
            _, output, _ = self.run_command("why", IGB, "reset")
            self.assertIn("Process:  pid 4200002, uid 0\n", output)
            self.assertNotIn("since", output)
        daemon.users = [(IGB, WORKER, 0, "dpdk", "", "", SINCE)]
        _, output, _ = self.run_command("why", IGB, "reset")
        self.assertIn("\nHolds it since:  2026-11-21 00:51\n", output)

    def test_what_to_do_about_users(self):
        machine = [(IGB_VF1, WEB1, 107, QEMU, "machine-box.scope", "box")]
        service = [(IGB, WORKER, 0, "dpdk", "dpdk.service")]
        scope = [(IGB, WORKER, 0, "dpdk", "session-4.scope")]
        vf, pf = ("user", IGB_VF1, "in use", WEB1), ("user", IGB, "in use", WORKER)
        shut = f"shut the virtual machine box down, or detach {IGB_VF1} from it"
        unplug = f'"vfwarden unplug {IGB}" asks its users and removes it in order'
        self.assertEqual(self.to_do(vf, users=machine),
                         [shut, f'"vfwarden unplug {IGB_VF1}" asks to release it'])
        self.assertEqual(self.to_do(vf, users=machine, address=IGB_VF1), [shut])
        self.assertEqual(self.to_do(vf, "remove", users=machine), [shut, unplug])
        self.assertEqual(self.to_do(vf, "power-off", users=machine), [shut, unplug])
        self.assertEqual(self.to_do(("pasid", *vf[1:]), users=machine)[0], shut)
        self.assertEqual(self.to_do(("group", *vf[1:]), users=machine)[0], shut)
        self.assertEqual(self.to_do(pf, users=service),
                         ['"systemctl stop dpdk.service", if it can be missed'])
        self.assertEqual(self.to_do(pf, users=scope),
                         [f"end the process {WORKER}, or make it release {IGB}"])
        # It may have gone between two questions.
        self.assertEqual(self.to_do(pf), [f"end the process {WORKER}, or make it release {IGB}"])
        self.assertEqual(self.to_do(("user", IGB, "in use", 0), users=[(IGB, 0, 0, "", "")]),
                         ["ask again: it may be passing from one process to another"])

    def test_what_to_do_about_the_group(self):
        self.assertEqual(self.to_do(("driver", IGB_VF0, "is bound to igbvf", 0), "open"),
                         [f'"vfwarden bind {IGB_VF0} vfio-pci" takes it from the host'])
        self.assertEqual(self.to_do(("driver", IGB_VF0, "bound to no driver", 0), "open",
                                    functions=[function(IGB, "pf"), function(IGB_VF0, "vf")]),
                         [f'"vfwarden bind {IGB_VF0} vfio-pci" gives it to VFIO'])
        self.assertEqual(self.to_do(("group", IGB_VF0, "in use", 0), "open",
                                    users=[(IGB_VF0, 0, 0, "", "")]),
                         ["ask again: it may be passing from one process to another"])

    def test_what_to_do_about_who_delays(self):
        wait = "wait for x, or ask its owner: it ends with the process 5"
        unplug = f'"vfwarden unplug {IGB}" asks x to release it, and waits for that'
        self.assertEqual(self.to_do(("delay", "x", "inhibits remove: y", 5), "remove"), [unplug, wait])
        self.assertEqual(self.to_do(("delay", "x", "inhibits reset: y", 5)), [wait])

    def test_what_to_do_about_what_the_host_uses(self):
        """How to end the use; never to take the function away in spite of it."""
        def used(kind, text, **members):
            return [function(IGB, "pf"), function(IGB_VF0, "vf", Uses=[
                {"Kind": "network-up", "Text": "its network interface eth3 is up and has a link", "Object": "eth3"},
                {"Kind": kind, "Text": text, **members}])]
        pod = "its network interface eth3 is in the network namespace pod1"
        functions = used("network-namespace", pod, Object="eth3", By="pod1")
        self.assertEqual(self.to_do(("host", IGB_VF0, f"is a VF of it and used by the host: {pod}", 0), "set-num-vfs",
                                    functions=functions),
                         ['end the container that has the interface, or move it back: "ip -n pod1 link set dev '
                          'INTERFACE netns 1"'])
        root = "its block device vda1 is mounted on /srv"
        functions = used("mount", root, Object="vda1", By="/srv")
        self.assertEqual(self.to_do(("host", IGB_VF0, root, 0), functions=functions),
                         ['"umount /srv", if it can be missed'])
        self.assertEqual(self.to_do(("driver", IGB_VF0, "is bound to igbvf", 0), "open", functions=functions),
                         [f'leave {IGB_VF0} to the host, which uses it: see "vfwarden show {IGB_VF0}"'])
        self.assertEqual(self.to_do(("host", IGB_VF0, "may be used by the host", 0)), [])

    def test_what_to_do_about_inhibitors(self):
        self.assertEqual(self.to_do(("inhibitor", "x", "inhibits reset: y", 5)),
                         ["wait for x, or ask its owner: it ends with the process 5"])

    def test_what_to_do_about_locks(self):
        lock = ("lock", NVME, "locked", 0)
        unlock = f'"vfwarden unlock {NVME}" removes the administrator\'s lock'
        override = f'"vfwarden set-vfs --override {NVME} COUNT" ignores it'
        bind = f'"vfwarden bind {NVME}" gives it back to its driver on the host'
        self.assertEqual(self.to_do(lock, "reset", NVME), [unlock])
        self.assertEqual(self.to_do(lock, "set-num-vfs", NVME), [unlock, override, bind])
        self.assertEqual(self.to_do(lock, "set-autoprobe", NVME), [unlock, bind])
        functions = [function(NVME, "pf", LockReasons=["userspace-driver"])]
        self.assertEqual(self.to_do(lock, "set-num-vfs", NVME, functions=functions),
                         [override, bind])
        functions = [function(NVME, "pf", LockReasons=["administrator"])]
        self.assertEqual(self.to_do(lock, "set-num-vfs", NVME, functions=functions),
                         [unlock])
        self.assertEqual(self.to_do(("lock", "gone", "locked", 0)), [])

    def test_what_to_do_about_operations(self):
        busy = ("operation", IGB, "reset is in progress", 7)
        wait = 'wait until it has ended; "vfwarden monitor" shows it'
        cancel = f'wait, or "vfwarden cancel-unplug {IGB}"'
        for state, words in (("present", wait), ("unplug-requested", cancel),
                             ("draining", cancel), ("removing", wait)):
            functions = [function(IGB, "pf", State=state)]
            self.assertEqual(self.to_do(busy, functions=functions), [words])

    def test_what_to_do_about_sessions(self):
        self.assertEqual(self.to_do(("session", IGB, "an I/O session serves it", 7)),
                         ["end the process 7 that has the session"])
        self.assertEqual(self.to_do(("session", IGB_VF1, "is a VF of it and in use", 7)),
                         ["end the process 7 that has the session", f'"vfwarden unplug {IGB_VF1}" asks to release it'])

    def test_json(self):
        daemon = self.start(reset=([("user", IGB, "in use", 7)], ["careful"]))
        code, output, error = self.run_command("--json", "why", IGB, "reset")
        self.assertEqual((code, error), (6, ""))
        self.assertEqual(json.loads(output), {
            "Address": IGB, "Operation": "reset", "Allowed": False, "Warnings": ["careful"],
            "Blockers": [{"Kind": "user", "Subject": IGB, "Reason": "in use", "Pid": 7}]})
        self.assertEqual([c[0] for c in daemon.calls], ["Check"])
        code, output, _ = self.run_command("--json", "why", IGB, "bind")
        self.assertEqual((code, json.loads(output)), (0, {
            "Address": IGB, "Operation": "bind", "Allowed": True, "Warnings": [],
            "Blockers": []}))

    def test_all_operations(self):
        daemon = self.start(
            set_num_vfs=([("user", IGB_VF1, f"is a VF of it and in use by qemu (pid {WEB1}, "
                                                   "uid 0)", WEB1),
                                 ("inhibitor", "backup", "inhibits remove: no", 8)], ["careful"]))
        next(f for f in daemon.document["Functions"] if f["Address"] == IGB)["Pasid"] = {"Enabled": True}
        self.check(["why", "01:00.0"], TABLE)
        _, output, _ = self.run_command("why", "01:00.0", "--no-legend")
        self.assertEqual([line.split() for line in output.splitlines()],
                         [line.split() for line in TABLE.splitlines()[1:]])

    def test_operations_that_this_kind_has_not(self):
        self.start(set_num_vfs=None, set_autoprobe=None, open=([("user", NVME_VF, "x", 7)], []))
        code, output, error = self.run_command("why", NVME_VF, "--json")
        self.assertEqual((code, error), (0, ""))
        answers = json.loads(output)
        self.assertEqual([a["Operation"] for a in answers], [
            "bind", "unbind", "reset", "remove", "power-off", "open"])
        self.assertEqual([a["Allowed"] for a in answers], [True] * 5 + [False])
        self.check(["why", NVME_VF, "set-num-vfs"], code=10,
                   error=f"vfwarden: Cannot ask about set-num-vfs of {NVME_VF}: not for this kind\n")

    def test_what_does_not_exist_is_not_asked_for(self):
        daemon = self.start()
        for address, expected in (
                (pictures.NETWORK, ["bind", "unbind", "reset", "remove", "power-off", "open"]),
                (IGB, ["set-num-vfs", "set-autoprobe", "bind", "unbind", "reset", "remove", "power-off",
                       "open"])):
            daemon.calls.clear()
            code, _, error = self.run_command("why", address)
            self.assertEqual((code, error), (0, ""))
            self.assertEqual([c[2][1] for c in daemon.calls if c[0] == "Check"], expected)

    def test_every_verb_is_understood(self):
        daemon = self.start()
        _, output, _ = self.run_command("--help")
        verbs = re.findall(r"^  ([a-z-]+)", output.split("Verbs:\n")[1].split("\nOptions:\n")[0], re.M)
        self.assertIn("set-vfs", verbs)
        for verb in verbs:
            with self.subTest(verb):
                daemon.calls.clear()
                code, output, error = self.run_command("why", IGB, verb)
                self.assertEqual((code, error), (0, ""))
                asked = [c[2][1] for c in daemon.calls if c[0] == "Check"]
                expected = {
                    "set-vfs": ["set-num-vfs"], "unplug": ["remove"], "io": ["open"],
                    "lock": ["set-num-vfs", "set-autoprobe", "reset", "remove", "power-off"]}.get(
                        verb, [verb] if verb in ("set-autoprobe", "bind", "unbind", "reset", "open")
                        else [])
                self.assertEqual(asked, expected)
                if not expected:
                    self.assertEqual(output, f"{IGB}: {verb} is possible, it takes no function away\n")
                    _, output, _ = self.run_command("why", "--json", IGB, verb)
                    self.assertEqual(json.loads(output), {"Address": IGB, "Operation": verb,
                                                          "Allowed": True, "Blockers": [], "Warnings": []})
        self.assertEqual(self.run_command("why", "9:0.0", "unlock")[0], 3)

    def test_verb_of_several_operations_that_is_refused(self):
        self.start(remove=([("user", IGB, "in use", WORKER)], []))
        code, output, _ = self.run_command("why", IGB, "lock")
        self.assertEqual(code, 6)
        self.assertRegex(output, rf"(?m)^remove +no +user +{IGB} +in use$")

    def test_word_that_is_nearly_one(self):
        daemon = self.start()

        def refuse(_, word):
            raise DBusError("org.freedesktop.DBus.Error.InvalidArgs", f"'{word}' is no operation")
        daemon.answers["Check"] = refuse
        self.check(["why", IGB, "unplgu"], code=2, error=(
            f"vfwarden: Cannot ask about unplgu of {IGB}: 'unplgu' is no operation\n"
            "vfwarden: 'unplgu': did you mean 'unplug'?\n"))
        self.check(["why", IGB, "frobnicate"], code=2, error=(
            f"vfwarden: Cannot ask about frobnicate of {IGB}: 'frobnicate' is no operation\n"))

    def test_no_such_function(self):
        self.start()
        self.check(["why", "9:0.0"], code=3, error="vfwarden: Cannot ask about 0000:09:00.0: There "
                                                   "is no PCI function 0000:09:00.0; did you mean 0000:01:00.0?\n")
        self.check(["why", "9:0.0", "reset"], code=3,
                   error="vfwarden: Cannot ask about reset of 0000:09:00.0: There is no PCI function "
                         "0000:09:00.0; did you mean 0000:01:00.0?\n")

    def test_answer_of_another_kind(self):
        daemon = self.start()

        def misshapen(*_):
            from gi.repository import GLib
            daemon.reply_raw(GLib.Variant("(bas)", (True, [])))
            return daemon.NO_REPLY
        daemon.answers["Check"] = misshapen
        self.check(["why", IGB, "reset"], code=1,
                   error=f"vfwarden: Cannot ask about reset of {IGB}: Bad message\n")




class Users(CommandTest):
    def start(self):
        return self.start_daemon(pictures.host())

    def test_table(self):
        daemon = self.start()
        daemon.users = [(IGB_VF0, 815, 0, "", "irqbalance.service"),
                        (IGB_VF1, WEB1, 107, QEMU, UNIT, "web-1", SINCE),
                        (NVME, 0, 0, "", "", "", SINCE)]
        lines = [
            ("ADDRESS     ", "    PID", "UID", "SINCE           ", "MACHINE", "UNIT".ljust(len(UNIT)),
             "BROKERED", "COMMAND"),
            (IGB_VF0, "    815", "  0", "-               ", "-      ", "irqbalance.service".ljust(len(UNIT)),
             "-       ", "-"),
            (IGB_VF1, "4200001", "107", "2026-11-21 00:51", "web-1  ", UNIT, "-       ", QEMU),
            (NVME, "      -", "  0", "2026-11-21 00:51", "-      ", "-".ljust(len(UNIT)), "-       ", "-")]
        rows = ["  ".join(line) + "\n" for line in lines]
        self.check(["users"], "".join(rows))
        _, output, _ = self.run_command("users", "--no-legend")
        self.assertEqual([line.split() for line in output.splitlines()],
                         [row.split() for row in rows[1:]])
        self.check(["users", "--no-legend", "1:10.2"],
                   re.sub("  +", "  ", rows[2]))

    def test_json(self):
        daemon = self.start()
        daemon.users = [(NVME, 7, 0, "x", "u.service"), (IGB, 8, 1, "y", "", "web", SINCE)]
        _, output, _ = self.run_command("users", "--json", IGB)
        self.assertEqual(json.loads(output), [{"Address": IGB, "Pid": 8, "Uid": 1, "Command": "y",
                                               "Unit": "", "Machine": "web", "Since": SINCE,
                                               "Brokered": False}])
        _, output, _ = self.run_command("users", "--json")
        self.assertEqual([user["Address"] for user in json.loads(output)], [NVME, IGB])

    def test_what_is_not_told_or_of_another_type(self):
        daemon = self.start()

        def odd(*_):
            from gi.repository import GLib
            return GLib.Variant("(aa{sv})", ([{"address": GLib.Variant("s", IGB), "pid": GLib.Variant("s", "x"),
                                               "since": GLib.Variant("d", 1.5), "novel": GLib.Variant("as", [])}],))
        daemon.answers["DescribeUsers"] = odd
        self.check(["users", "--no-legend"], f"{IGB}  -  0  -  -  -  -  -\n")

    def test_answer_of_another_kind(self):
        daemon = self.start()

        def misshapen(*_):
            from gi.repository import GLib
            daemon.reply_raw(GLib.Variant("(as)", ([],)))
            return daemon.NO_REPLY
        daemon.answers["DescribeUsers"] = misshapen
        self.check(["users"], code=1, error="vfwarden: Cannot list the users: Bad message\n")

    def test_nobody(self):
        self.start()
        self.check(["users"], "No function is in use.\n")
        self.check(["users", "1:0.0"], "Nobody uses 0000:01:00.0.\n")
        self.check(["users", "--no-legend"])
        self.check(["users", "--json"], "[]\n")

    def test_no_such_function(self):
        self.start()
        self.check(["users", "9:0.0"], code=3, error="vfwarden: Cannot tell who uses 0000:09:00.0: "
                                                     "There is no PCI function 0000:09:00.0; did you mean 0000:01:00.0?\n")

    def test_hostile_texts(self):
        daemon = self.start()
        daemon.users = [(IGB, 7, 0, "a\x1b[2J", "b\n")]
        self.check(["users", "--no-legend"], f"{IGB}  7  0  -  -  b\\n  -  a\\x1b[2J\n")
        daemon.verdicts["reset"] = ([("user", IGB, "in use\x1b", 7)], ["w\x1b"])
        _, output, _ = self.run_command("why", IGB, "reset")
        self.assertNotIn("\x1b", output)
        self.assertIn("uid 0, unit b\\n\n", output)


class Inhibitors(CommandTest):
    def test_table(self):
        daemon = self.start_daemon()
        self.check(["inhibitors"], "There are no inhibitors.\n")
        self.check(["inhibitors", "--no-legend"])
        daemon.inhibitors = [(IGB, "reset:remove", "backup", "nightly", 0, 815),
                             (NVME_VF, "open", "me", "", 1000, 4711)]
        text = textwrap.dedent("""\
            ADDRESS       WHAT          WHO      PID   UID  WHY
            0000:01:00.0  reset:remove  backup   815     0  nightly
            0000:02:00.1  open          me      4711  1000  -
            """)
        self.check(["inhibitors"], text)
        self.check(["inhibit", "--list"], text)
        _, output, _ = self.run_command("inhibitors", "--json")
        self.assertEqual(json.loads(output)[1], {
            "Address": NVME_VF, "What": "open", "Who": "me", "Why": "", "Uid": 1000, "Pid": 4711})
        self.check(["inhibit", "--list", "--json"], output)

    def test_modes(self):
        daemon = self.start_daemon(pictures.host())
        daemon.inhibitors = [(IGB, "reset", "backup", "nightly", 0, 815), (NVME_VF, "open", "me", "", 1000, 4711)]
        daemon.modes = ["block", "delay"]
        self.check(["inhibitors"], textwrap.dedent("""\
            ADDRESS       WHAT   WHO      PID   UID  MODE   WHY
            0000:01:00.0  reset  backup   815     0  block  nightly
            0000:02:00.1  open   me      4711  1000  delay  -
            """))
        _, output, _ = self.run_command("inhibitors", "--json")
        self.assertEqual([inhibitor["Mode"] for inhibitor in json.loads(output)], ["block", "delay"])
        _, output, _ = self.run_command("show", NVME_VF)
        self.assertIn("Inhibitors:  me (pid 4711) delays open\n", output)


