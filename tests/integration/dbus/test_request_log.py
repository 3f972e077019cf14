#!/usr/bin/python3
"""What clients ask for, in the log: which function, who, what, and how it ended."""

import os
import re

import fixtures
import vfwarden_bus as vb
from test_operations import OperationTest

PF = "0000:01:00.0"
PLAIN = "0000:02:00.0"
NO_SUCH_FUNCTION = "org.vfwarden1.Error.NoSuchFunction"
BURST = 40


def own_command():
    with open("/proc/self/comm", encoding="utf-8") as file:
        return file.read().strip()


class Requests(OperationTest):
    def test_done(self):
        self.sysfs.add_pf(PF)
        self.start()
        mark = self.daemon.log_mark()
        me = rf"by uid 0, pid {os.getpid()} \({re.escape(own_command())}\)"
        self.client.lock(PF, "maintenance")
        self.daemon.wait_log(rf"^vfwardend: info: {PF}: Lock\('maintenance'\) {me}: done$", mark)
        self.client.unlock(PF)
        self.daemon.wait_log(rf"^vfwardend: info: {PF}: Unlock\(\) {me}: done$", mark)
        self.client.manager("Reload")
        self.daemon.wait_log(rf"^vfwardend: info: Reload\(\) {me}: done$", mark)
        self.set_num_vfs(PF, 2, override=True)
        for end in ("begun", "done"):
            self.daemon.wait_log(rf"info: {PF}: SetNumVFs\(2, {{override: true}}\) {me}: {end}$", mark)

    def test_failed(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        mark = self.daemon.log_mark()
        self.assert_bus_error(vb.REFUSED, self.reset, PLAIN)
        self.daemon.wait_log(rf"notice: {PLAIN}: Reset\(\) by uid 0, pid \d+ \(.*\): Refused: .*in use", mark)
        self.assert_bus_error(vb.INVALID_ARGS, self.client.lock, PLAIN, "x" * 1000)
        self.daemon.wait_log(rf"notice: {PLAIN}: Lock\('x{{61}}\.\.\.'\) by uid 0, .*: InvalidArgs: ", mark)
        self.assert_bus_error(NO_SUCH_FUNCTION, self.client.manager, "Inhibit", "(ssss)",
                              "0000:0f:00.0", "reset", "me", "so")
        self.daemon.wait_log(r"notice: 0000:0f:00\.0: Inhibit\('0000:0f:00\.0', 'reset', 'me', 'so'\) "
                             r"by uid 0, .*: NoSuchFunction: ", mark)

    def test_failed_after_a_second_question(self):
        self.polkit.verdicts["org.vfwarden1.override"] = "later"
        pf = self.sysfs.add_pf(PF)
        self.start()
        call = self.client_of().start_set_num_vfs(PF, 2, override=True)
        vb.wait_until(lambda: self.polkit.open_questions, None, "the question")
        self.sysfs.remove(pf)
        self.wait_function(PF, there=False)
        mark = self.daemon.log_mark()
        self.polkit.open_questions[0].answer(True)
        self.assert_bus_error(vb.GONE, call.result)
        self.daemon.wait_log(rf"notice: {PF}: SetNumVFs\(2, {{override: true}}\) by uid 65534, .*: Gone: ", mark)

    def test_what_is_free_is_not_logged(self):
        self.sysfs.add_pf(PF)
        self.start()
        mark = self.daemon.log_mark()
        self.client.list_functions()
        self.client.check(PF, "reset")
        self.fence()
        vb.drain()
        self.assertEqual(self.daemon.lines(r"(Check|ListFunctions)\(", mark), [])

    def test_arguments_cannot_forge_lines(self):
        self.sysfs.add_pf(PF)
        self.start()
        mark = self.daemon.log_mark()
        self.assert_bus_error(vb.INVALID_ARGS, self.client.lock, PF,
                              "x\nvfwardend: err: 0000:01:00.0: forged\x1b[2J\u202e")
        self.daemon.wait_log(r"Lock\('x vfwardend: err: 0000:01:00\.0: forged +\[2J +'\) by uid 0", mark)
        self.assertEqual(self.daemon.lines("^vfwardend: err: ", mark), [])


class Denied(fixtures.DaemonTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=False)
        self.sysfs.add_pf(PF)
        self.start()
        self.mark = self.daemon.log_mark()

    def test_names_who_was_denied(self):
        self.assert_bus_error(vb.ACCESS_DENIED, self.as_other_user, vb.function_path(PF), vb.FUNCTION, "Lock",
                              "(s)", ("mine",))
        self.daemon.wait_log(rf"^vfwardend: notice: {PF}: Lock\('mine'\) by uid 65534, pid \d+ \(\S+\): "
                             r"AccessDenied: .*polkit", self.mark)

    def test_a_flood_leaves_room_for_others(self):
        with self.acting_as():
            for _ in range(BURST + 20):
                self.assert_bus_error(vb.ACCESS_DENIED, self.client.unlock, PF)
        self.client.lock(PF, "root's")
        self.daemon.wait_log(r"Lock\('root's'\) by uid 0", self.mark)
        n = len(self.daemon.lines("by uid 65534", self.mark))
        self.assertGreaterEqual(n, BURST)
        # On a machine so slow that an interval is over meanwhile, there is another burst.
        self.assertIn(BURST + 20 - n, range(1, 21))


class EveryLine(OperationTest):
    def test_names_the_function(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        mark = self.daemon.log_mark()
        self.client.lock(PF)
        self.sysfs.enable_vfs(pf, 2)
        self.wait_property(PF, "NumVFs", 2)
        self.sysfs.disable_vfs(pf)
        self.wait_property(PF, "NumVFs", 0)
        self.client.unlock(PF)
        self.sysfs.rebind(pf, "vfio-pci")
        self.wait_property(PF, "Locked", True)
        self.fence()
        self.daemon.wait_log(rf"{PF}: locked: userspace-driver", mark)
        self.daemon.wait_log(rf"{PF}: the number of virtual functions went", mark)
        for line in self.daemon.lines("^vfwardend: (info|notice|warning|err): ", mark):
            self.assertRegex(line, r"^vfwardend: \w+: [0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]: ")


if __name__ == "__main__":
    fixtures.main()
