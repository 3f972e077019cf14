"""Passwords: a person at a terminal is asked by pkttyagent, which ends with the command."""

import os
import pty
import select
import shutil
import subprocess
import time
import unittest

from standin import CommandTest, DEADLINE
import pictures
from pictures import IGB

NOBODY = 65534

# Says that it runs, registers after a while, and stays. Without a shell's own children to look after.
AGENT = """#!/bin/sh
echo "$$ $*" >{log}
sleep 0.2
echo registered >>{log}
eval "exec $2>&-"
exec sleep 1000
"""


class Agent(CommandTest):
    def setUp(self):
        super().setUp()
        self.stand_in = self.start_daemon(pictures.host())
        # What is needed is where a user without privileges finds it.
        os.chmod(self.directory, 0o755)
        self.log = os.path.join(self.directory, "log")
        with open(self.log, "w", encoding="utf-8"):
            os.chmod(self.log, 0o666)
        self.command = shutil.copy(shutil.which(self.vfwarden), os.path.join(self.directory, "vfwarden"))
        self.environment["PATH"] = f"{self.directory}/bin:/usr/bin:/bin"
        os.mkdir(f"{self.directory}/bin")
        self.agent = f"{self.directory}/bin/pkttyagent"
        with open(self.agent, "w", encoding="utf-8") as file:
            file.write(AGENT.format(log=self.log))
        os.chmod(self.agent, 0o755)

    def start_on_terminal(self, *arguments, stdin=None, user=NOBODY):
        """A run that is not waited for; by a user who is not root, since root is not asked."""
        leader, follower = pty.openpty()
        self.addCleanup(os.close, leader)
        options = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}
        process = subprocess.Popen([self.command, *arguments], env=self.environment, cwd="/",
                                   stdin=follower if stdin is None else stdin,
                                   stdout=subprocess.PIPE, stderr=follower, **options)
        os.close(follower)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def run_there(self, *arguments, **options):
        process = self.start_on_terminal(*arguments, **options)
        output = process.communicate(timeout=DEADLINE)[0].decode()
        self.assertEqual(process.returncode, 0)
        return output

    def logged(self):
        with open(self.log, encoding="utf-8") as file:
            return file.read().splitlines()

    def interactive(self, method):
        """Whether polkit was allowed to ask, of the one call."""
        flags = [c[3] for c in self.stand_in.calls if c[0] == method]
        self.assertEqual(len(flags), 1)
        return flags[0]

    def assert_gone(self, pid):
        """Has ended, whether or not an init reaps it, which that of a container may not do."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        self.addCleanup(os.close, descriptor)
        if not select.select([descriptor], [], [], DEADLINE)[0]:
            self.fail(f"the agent {pid} still runs")

    def test_is_there_before_the_call_and_gone_after_the_command(self):
        seen = []
        self.stand_in.answers["Lock"] = lambda *_: seen.extend(self.logged())
        self.assertIn("is locked", self.run_there("lock", IGB))
        self.assertEqual(len(seen), 2)
        self.assertEqual(seen[1], "registered")
        self.assertRegex(seen[0], r"^\d+ --notify-fd \d+ --fallback$")
        self.assertTrue(self.interactive("Lock"))
        with self.assertRaises(ProcessLookupError):
            os.kill(int(seen[0].split()[0]), 0)

    def test_not_if_forbidden(self):
        self.run_there("--no-ask-password", "lock", IGB)
        self.assertEqual(self.logged(), [])
        self.assertFalse(self.interactive("Lock"))

    def test_not_without_a_terminal(self):
        self.run_there("lock", IGB, stdin=subprocess.DEVNULL)
        self.assertEqual(self.logged(), [])
        self.assertTrue(self.interactive("Lock"))       # a desktop may have an agent

    def test_not_for_what_is_free(self):
        self.run_there("list")
        self.run_there("why", IGB, "reset")
        self.assertEqual(self.logged(), [])

    @unittest.skipUnless(os.geteuid() == 0, "only root can be root")
    def test_not_for_root(self):
        self.run_there("lock", IGB, user=0)
        self.assertEqual(self.logged(), [])

    def test_what_is_missing_is_no_error(self):
        os.unlink(self.agent)
        self.assertIn("is locked", self.run_there("lock", IGB))

    def test_is_gone_when_the_terminal_is_another_programs(self):
        self.assertEqual(self.run_there("inhibit", IGB, "--", "sh", "-c",
                                        f"read pid _ <{self.log}; kill -0 $pid 2>/dev/null || echo gone"),
                         "gone\n")

    def test_ends_with_a_command_that_is_killed(self):
        self.stand_in.answers["Lock"] = lambda *_: self.stand_in.later() and self.stand_in.NO_REPLY
        process = self.start_on_terminal("lock", IGB)
        end = time.monotonic() + DEADLINE
        while "registered" not in self.logged() and time.monotonic() < end:
            time.sleep(0.01)
        pid = int(self.logged()[0].split()[0])
        process.kill()
        process.wait()
        self.assert_gone(pid)
