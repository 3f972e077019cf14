#!/usr/bin/python3
"""org.freedesktop.LogControl1: the level can be turned while it runs."""

import fixtures
import fakebus
import vfwarden_bus as vb
from gi.repository import GLib

PLAIN = "0000:02:00.0"


class LogControl(fixtures.DaemonTest):
    def level(self, name=None):
        if name is None:
            return self.client.get(vb.LOG_CONTROL_PATH, vb.LOG_CONTROL, "LogLevel")
        return self.client.set(vb.LOG_CONTROL_PATH, vb.LOG_CONTROL, "LogLevel",
                               GLib.Variant("s", name))

    def test_what_the_command_line_said(self):
        self.start()
        self.assertEqual(self.client.get_all(vb.LOG_CONTROL_PATH, vb.LOG_CONTROL), {
            "LogLevel": "debug", "LogTarget": "console", "SyslogIdentifier": "vfwardend"})

    def test_level_changes_what_is_said(self):
        function = self.sysfs.add(PLAIN)
        self.start()

        def said():
            mark = self.daemon.log_mark()
            self.sysfs.bind(function, "e1000e")
            self.sysfs.unbind(function)
            self.fence()
            # The pipe is read by the main loop, so an answer to a later call may overtake it.
            vb.drain()
            return len(self.daemon.lines(".", mark))
        self.assertGreater(said(), 0)
        self.level("err")
        self.assertEqual(self.level(), "err")
        vb.drain()
        self.assertEqual(said(), 0)
        self.level("debug")
        self.assertGreater(said(), 0)

    def test_nonsense_is_refused(self):
        self.start()
        for value in ("", "loud", "7 "):
            with self.assertRaises(vb.BusError):
                self.level(value)
        self.assertEqual(self.level(), "debug")
        with self.assertRaises(vb.BusError):
            self.client.set(vb.LOG_CONTROL_PATH, vb.LOG_CONTROL, "LogTarget",
                            GLib.Variant("s", "printer"))

    def test_only_the_privileged_may_turn_it(self):
        self.start()
        with self.assertRaises(vb.BusError):
            self.as_other_user_set("err")
        self.assertEqual(self.level(), "debug")

    def as_other_user_set(self, value):
        # A variant does not go through JSON; busctl has the words for it.
        import subprocess
        process = subprocess.Popen(
            ["busctl", f"--address={self.bus.address}", "set-property", vb.NAME,
             vb.LOG_CONTROL_PATH, vb.LOG_CONTROL, "LogLevel", "s", value],
            user=65534, group=65534, extra_groups=[], cwd="/", stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin"})
        if process.wait() != 0:
            raise vb.BusError("busctl", "refused")


class OpenBus(LogControl):
    """The same with a bus that lets everything through: the daemon does not rely on the policy."""

    BUS_POLICY = fakebus.OPEN_POLICY


if __name__ == "__main__":
    fixtures.main()
