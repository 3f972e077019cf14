"""top: functions in use, and their I/O rates."""

import json
import re
import signal

from standin import CommandTest, DBusError
import pictures
from pictures import IGB, IGB_VF1, NVME
import schema
from test_metrics import statistics

SUMMARY = ("vfwardend 0.1.0, enforcement enforce: 8 functions, 0 in use, 0 locked\n"
           "5 I/O sessions, 0 leases, 0 inhibitors; 3 violations since the daemon started\n\n")
SESSION = {"address": NVME, "users": 1, "violations": 0, "session-pid": 815, "session-uid": 7}
USED = {"address": IGB_VF1, "users": 2, "violations": 0}


def counts(usec, loads, stores, loaded, stored):
    return {**SESSION, "counted": usec, "loads": loads, "stores": stores, "bytes-loaded": loaded, "bytes-stored": stored,
            "refused": 0}


class Top(CommandTest):
    def setUp(self):
        super().setUp()
        self.stand_in = self.start_daemon(pictures.host(), statistics=statistics())
        self.stand_in.activity = [USED]

    def tell(self, *readings):
        """The answers to calls, one after the other, and the last one from then on."""
        left = list(readings)

        def answer():
            self.stand_in.activity = left.pop(0) if len(left) > 1 else left[0]
            return self.stand_in._DescribeFunctions()
        self.stand_in.answers["DescribeFunctions"] = answer

    def rows(self, *options):
        code, output, error = self.run_command("top", "--no-legend", *options)
        self.assertEqual((code, error), (0, ""))
        return [line.split() for line in output.splitlines()]

    def rates(self):
        """Loads, stores and bytes of the first row."""
        return self.rows()[0][5:8]

    def test_a_table(self):
        self.check(["top"], SUMMARY +
                   "ADDRESS       DRIVER    STATE            HOLDER  USERS  LOADS/S  STORES/S  BYTES/S  VIOLATIONS  NAME\n"
                   f"{IGB_VF1}  vfio-pci  in-use,draining  -           2        -         -        -           0  "
                   "Intel Corporation 82576 Virtual Function\n")
        self.assertEqual(len(self.calls("DescribeFunctions")), 1)   # there is no rate to wait for

    def calls(self, method):
        return [call for call in self.stand_in.calls if call[0] == method]

    def test_nothing_is_used(self):
        self.stand_in.activity = []
        self.check(["top", "--no-legend"], "")

    def test_rates_are_those_of_two_reports(self):
        self.tell([SESSION], [counts(1_000_000, 100, 10, 400, 640)], [counts(1_500_000, 1100, 11, 1400, 656)])
        self.assertEqual(self.rates(), ["2.0k", "2", "2.0k"])
        self.assertEqual(len(self.calls("Describe")), 1)    # nothing has changed since

    def test_the_busiest_and_the_violated_are_first(self):
        busy = [{**USED, "address": IGB, "violations": 4}, USED]
        self.tell([*busy, counts(1_000_000, 0, 0, 0, 0)], [*busy, counts(2_000_000, 9, 0, 9, 0)])
        self.assertEqual([row[0] for row in self.rows()], [NVME, IGB, IGB_VF1])

    def test_counts_that_cannot_be(self):
        """vfwarden-io is not trusted."""
        full = 2**64 - 1
        for first, second in ((counts(1_000_000, 5, 5, 5, 5), counts(2_000_000, 4, 5, 5, 5)),
                              (counts(2_000_000, 5, 5, 5, 5), counts(1_000_000, 6, 6, 6, 6)),
                              (counts(1_000_000, 0, 0, 1, 1), counts(2_000_000, 0, 0, full, full)),
                              (counts(1_000_000, 5, 5, 5, 5), {**counts(2_000_000, 6, 6, 6, 6), "session-pid": 816})):
            with self.subTest(second=second):
                self.tell([first], [second])
                self.assertEqual(self.rates(), ["-", "-", "-"])

    def test_a_session_whose_counts_are_for_others(self):
        self.tell([SESSION])
        self.assertEqual(self.rates(), ["-", "-", "-"])

    def test_a_function_that_is_not_known(self):
        self.stand_in.activity = [{"address": "0000:77:00.0", "users": 1, "violations": 0}]
        self.assertEqual(self.rows(), [["0000:77:00.0", "-", "-", "-", "1", "-", "-", "-", "0", "-"]])

    def test_functions_that_are_left_out(self):
        self.stand_in.activity = [USED, {"address": "", "more": 7}]
        self.assertEqual(self.rows()[-1], ["7", "more"])

    def test_json(self):
        self.tell([USED, counts(1_000_000, 0, 0, 0, 0)], [USED, counts(2_000_000, 3, 4, 5, 6)])
        code, output, error = self.run_command("top", "--json")
        self.assertEqual((code, error), (0, ""))
        schema.check("top", output)
        told = json.loads(output)
        self.assertEqual(told["Violations"], 3)
        self.assertEqual(told["Functions"][0]["Session"],
                         {"Pid": 815, "Uid": 7, "LoadsPerSecond": 3, "StoresPerSecond": 4, "BytesPerSecond": 11})
        self.assertEqual(told["Functions"][1], {"Address": IGB_VF1, "Driver": "vfio-pci", "State": "draining", "Users": 2,
                                                "Violations": 0})

    def test_an_older_daemon(self):
        def fail(*_):
            raise DBusError("org.freedesktop.DBus.Error.UnknownMethod", "no such method")
        self.stand_in.answers["DescribeFunctions"] = fail
        self.check(["top"], error="vfwarden: Cannot read what functions do: this vfwardend is too old\n", code=10)

    def test_no_daemon(self):
        self.stand_in.close()
        self.assertEqual(self.run_command("top")[:2], (5, ""))


class Live(CommandTest):
    """On a terminal."""

    def setUp(self):
        super().setUp()
        self.stand_in = self.start_daemon(pictures.host(), statistics=statistics())
        self.stand_in.activity = [USED]

    def test_drawn_again_until_q(self):
        with self.terminal("top", keys=True) as terminal:
            terminal.read_until(b"\x1b[?1049h")
            terminal.read_until(b"Virtual Function\r\n")
            self.assertEqual(terminal.modes(), (False, False))
            self.stand_in.activity = [USED, {"address": NVME, "users": 7, "violations": 9}]
            terminal.read_until(b"\x1b[H\x1b[J")
            terminal.read_until(NVME.encode())
            terminal.type(b"xq")
            terminal.read_until(b"\x1b[?1049l")
            self.assertEqual(terminal.process.wait(), 0)
            self.assertEqual(terminal.modes(), (True, True))

    def test_a_signal_leaves_the_terminal_as_it_was(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.terminal("top", keys=True) as terminal:
                terminal.read_until(b"Virtual Function\r\n")
                terminal.process.send_signal(number)
                terminal.read_until(b"\x1b[?1049l")
                terminal.process.wait()
                self.assertEqual(terminal.modes(), (True, True))

    def test_changes_are_read(self):
        with self.terminal("top", keys=True) as terminal:
            terminal.read_until(b"vfio-pci")
            self.stand_in.function(IGB_VF1)["Driver"] = "mlx5_vfio_pci"
            self.stand_in.changed(IGB_VF1, "org.vfwarden1.Function")
            terminal.read_until(b"mlx5_vfio_pci")
            terminal.type(b"q")
            self.assertEqual(terminal.end(), 0)

    def test_a_daemon_that_restarts(self):
        with self.terminal("top", keys=True) as terminal:
            terminal.read_until(b"Virtual Function\r\n")
            self.stand_in.close()
            terminal.read_until(b"vfwardend is not running")
            self.start_daemon(pictures.host(), statistics=statistics()).activity = [USED]
            terminal.read_until(b"Virtual Function\r\n")
            terminal.type(b"q")
            self.assertEqual(terminal.end(), 0)

    def test_a_narrow_terminal(self):
        self.environment["COLUMNS"] = "80"
        with self.terminal("top", keys=True) as terminal:
            terminal.read_until(b"\x1b[J")
            terminal.type(b"q")
            self.assertEqual(terminal.end(), 0)
            picture = re.sub(r"\x1b\[\d*m", "", terminal.plain().split("\x1b[J")[1].split("\x1b[?7h")[0])
            self.assertLessEqual(max(map(len, picture.splitlines())), 80)
            self.assertIn("\u2026", picture)

    def test_once(self):
        output = self.run_on_terminal("top", "--once")
        self.assertNotIn("\x1b[?1049h", output)
        self.assertIn("Virtual Function", output)
