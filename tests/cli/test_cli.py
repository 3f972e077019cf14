#!/usr/bin/python3
"""Tests the command against a stand-in for the daemon, on a bus of their own.

    test_cli.py [--vfwarden PATH] [unittest's arguments, e.g. test_monitor.Monitor.test_json]

VFWARDEN_CLI_WRAPPER has words to put before the command, such as "valgrind -q --error-exitcode=99";
VFWARDEN_DEADLINE_SCALE multiplies every deadline. VFWARDEN_SYSTEMD_LIBRARY is the library made of systemd.c."""

import os
import signal
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]

import standin  # noqa: E402

MODULES = ("test_usage", "test_picture", "test_lock", "test_output", "test_monitor",
           "test_monitor_life", "test_completion", "test_why", "test_inhibit", "test_unplug",
           "test_operate", "test_libvirt_hook", "test_io", "test_errors", "test_names", "test_list", "test_agent",
           "test_metrics", "test_top", "test_schema", "test_alias")


def main(argv):
    if "--vfwarden" in argv:
        at = argv.index("--vfwarden")
        standin.CommandTest.vfwarden = os.path.abspath(argv[at + 1])
        del argv[at:at + 2]
    # A shell in the background, or nohup, ignores some signals; what is started here would inherit that.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    named = [argument for argument in argv[1:] if not argument.startswith("-")]
    unittest.main(module=None, argv=[*argv, *([] if named else MODULES)])


if __name__ == "__main__":
    main(sys.argv)
