"""metrics: what a monitoring system reads."""

import json

from gi.repository import GLib
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from standin import CommandTest
import pictures


def statistics(**others):
    values = {
        "StartedUsec": GLib.Variant("t", 1795222312_250000),
        "Violations": GLib.Variant("a{st}", {"remove": 3, "set-num-vfs": 0}),
        "Operations": GLib.Variant("a(sstt)", [("bind", "done", 2, 1_500_000), ("bind", "refused", 1, 7)]),
        "Unplugs": GLib.Variant("a(stt)", [("done", 4, 2_000_000), ("timed-out", 1, 60_000_000)]),
        "Sessions": GLib.Variant("u", 5),
        "LoopBusyUsec": GLib.Variant("t", 10**13),
    }
    return {**values, **others}


def samples(families):
    return {(sample.name, *sorted(sample.labels.values())): sample.value for family in families for sample in family.samples}


class Metrics(CommandTest):
    EXPECTED = {
        ("vfwarden_start_time_seconds",): 1795222312.25,
        ("vfwarden_violations_total", "remove"): 3, ("vfwarden_violations_total", "set-num-vfs"): 0,
        ("vfwarden_operation_duration_seconds_count", "bind", "done"): 2,
        ("vfwarden_operation_duration_seconds_sum", "bind", "done"): 1.5,
        ("vfwarden_operation_duration_seconds_count", "bind", "refused"): 1,
        ("vfwarden_operation_duration_seconds_sum", "bind", "refused"): 0.000007,
        ("vfwarden_unplug_duration_seconds_count", "done"): 4, ("vfwarden_unplug_duration_seconds_sum", "done"): 2,
        ("vfwarden_unplug_duration_seconds_count", "timed-out"): 1,
        ("vfwarden_unplug_duration_seconds_sum", "timed-out"): 60,
        ("vfwarden_sessions",): 5, ("vfwarden_loop_busy_seconds_total",): 10**7,
    }

    def printed(self, *options):
        code, output, error = self.run_command("metrics", *options)
        self.assertEqual((code, error), (0, ""))
        return output

    def test_openmetrics(self):
        """The parser is strict: it refuses what the specification does not allow."""
        self.start_daemon(pictures.host(), statistics=statistics())
        output = self.printed()
        self.assertTrue(output.endswith("\n# EOF\n"))
        families = list(read_openmetrics(output))
        self.assertEqual(samples(families), self.EXPECTED)
        self.assertEqual({family.name: family.type for family in families}["vfwarden_violations"], "counter")
        self.assertEqual([family.name for family in families if not family.documentation], [])

    def test_prometheus(self):
        """Each metric has a type under the very name of its samples."""
        self.start_daemon(pictures.host(), statistics=statistics())
        output = self.printed("--format=prometheus")
        self.assertNotIn("# EOF", output)
        self.assertEqual(samples(read_prometheus(output)), self.EXPECTED)
        types = {line.split()[2]: line.split()[3] for line in output.splitlines() if line.startswith("# TYPE ")}
        self.assertEqual(types["vfwarden_violations_total"], "counter")
        for line in output.splitlines():
            if not line.startswith("#"):
                name = line.split("{")[0].split(" ")[0]
                self.assertTrue(name in types or types.get(name.rsplit("_", 1)[0]) == "summary", line)

    def test_json(self):
        self.start_daemon(pictures.host(), statistics=statistics())
        answer = json.loads(self.printed("--json"))
        self.assertEqual(answer["Violations"], {"remove": 3, "set-num-vfs": 0})
        self.assertEqual(answer["Unplugs"][1], ["timed-out", 1, 60_000_000])

    def test_what_a_daemon_makes_up_is_no_label(self):
        """The words are the contract's, so their number is bounded."""
        hostile = 'x"} 1\nvfwarden_sessions 99\n# \x1b[31m'
        self.start_daemon(pictures.host(), statistics=statistics(
            Violations=GLib.Variant("a{st}", {hostile: 1, "": 2, "remove": 3}),
            Unplugs=GLib.Variant("a(stt)", [(hostile, 1, 1)])))
        output = self.printed()
        self.assertNotIn("99", output)
        self.assertEqual({key: value for key, value in samples(read_openmetrics(output)).items()
                          if "violations" in key[0] or "unplug" in key[0]}, {("vfwarden_violations_total", "remove"): 3})

    def test_failures(self):
        self.check(["metrics", "--format=xml"], code=2,
                   error="vfwarden: --format takes openmetrics or prometheus, not 'xml'\nTry \"vfwarden --help\".\n")
        self.assertEqual(self.run_command("metrics")[:2], (5, ""))

    def test_an_older_daemon(self):
        self.start_daemon(pictures.host())
        code, output, error = self.run_command("metrics")
        self.assertEqual((code, output), (10, ""))
        self.assertIn("Cannot read the counters", error)
