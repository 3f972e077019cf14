#!/usr/bin/python3
"""Asking takes nothing away, and shows nothing that the caller may not see: command lines of others' processes."""

import json
import os
import subprocess

import fixtures
from fixtures import wait_until
from test_open import ONE, OpenTest
import vfwarden_bus as vb

NAME = "secret-word"        # what the holder calls itself; its program is sleep(1)
OWNER = 2                   # whose the holder is
VISITOR = fixtures.OtherUser.UID


class HeldTest(OpenTest):
    """ONE is open in a process that calls itself `name`."""
    name = NAME

    def setUp(self):
        super().setUp()
        self.polkit.verdicts["org.vfwarden1.configure"] = True
        self.start()
        fd, _ = self.open()
        self.process = subprocess.Popen([self.name, "infinity"], executable="/usr/bin/sleep", pass_fds=[fd], user=OWNER,
                                        group=OWNER, extra_groups=[], cwd="/", env={})
        self.addCleanup(lambda: (self.process.kill(), self.process.wait()))
        os.close(fd)
        self.wait_users([(self.process.pid, True)])
        self.command = wait_until(self.command_line, None, "the command")

    def command_line(self):
        """None as long as its name alone is known."""
        commands = [user["command"] for user in self.client.manager("DescribeUsers", "(s)", ONE)]
        return commands[0] if len(commands) == 1 and NAME in commands[0] else None

    def described(self, client):
        user, = client.manager("DescribeUsers", "(s)", ONE)
        return user

    def texts(self, client):
        """What anybody can read of the holder: name -> text."""
        with self.assertRaises(vb.BusError) as caught:
            client.bus.call(vb.function_path(ONE), vb.FUNCTION, "Unbind")
        return {
            "ListUsers": json.dumps(client.manager("ListUsers")),
            "DescribeUsers": json.dumps([self.described(client), client.manager("DescribeUsers", "(s)", "")]),
            "Describe": client.manager("Describe"),
            "Check": json.dumps(client.check(ONE, "unbind")),
            "Refused": caught.exception.message,
            "objects": json.dumps(client.managed_objects()),
        }


class OddNameTest(HeldTest):
    """sd-bus neither writes nor reads a string with a noncharacter, which is valid for GLib and for the bus."""
    name = b"a\xef\xbf\xbe\xef\xb7\x90\xf4\x8f\xbf\xbf\xff\x02\x1b-" + NAME.encode()

    def test_no_name_breaks_an_answer(self):
        texts = self.texts(self.client)
        for name, text in texts.items():
            with self.subTest(name):
                self.assertRegex(text, ONE if name == "objects" else NAME)
        shown = subprocess.run([os.environ["VFWARDEN"], "why", ONE], env=self.command_environment(),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertIn(NAME, shown.stdout.decode())


class Private(HeldTest):
    def test_root_sees_commands(self):
        for name, text in self.texts(self.client).items():
            with self.subTest(name):
                if name != "objects":
                    self.assertIn(self.command, text)
                self.assertNotRegex(text, r"[\x02\x03]|\\u000[23]")

    def test_check_as_the_first_call_of_a_client(self):
        """The daemon does not know this client's user yet, and the answer depends on it."""
        client = vb.Client(self.bus.address)
        self.addCleanup(client.close)
        self.assertIn(self.command, json.dumps(client.check(ONE, "unbind")))

    def test_others_see_who_without_the_command(self):
        visitor = self.client_of(VISITOR)
        user = self.described(visitor)
        self.assertEqual((user["pid"], user["uid"], user["command"]), (self.process.pid, OWNER, ""))
        for name, text in self.texts(visitor).items():
            with self.subTest(name):
                if name != "objects":
                    self.assertIn(str(self.process.pid), text)
                for word in (NAME, "sleep", "infinity"):
                    self.assertNotIn(word, text)
                self.assertNotRegex(text, r"[\x02\x03]|\\u000[23]")

    def test_the_owner_sees_their_own(self):
        owner = self.client_of(OWNER)
        self.assertEqual(self.described(owner)["command"], self.command)
        self.assertIn(self.command, json.dumps(owner.manager("ListUsers")))

    def test_no_signal_has_a_command(self):
        visitor = self.client_of(VISITOR)
        self.client.lock(ONE, "a reason")
        self.client.unlock(ONE)
        call = self.client.start_unplug(ONE, 600)
        wait_until(lambda: self.picture.function(ONE)["State"] != "present", None, "the request")
        self.client.cancel_unplug(ONE)
        with self.assertRaises(vb.BusError):
            call.result()
        self.process.kill()
        self.wait_free()
        visitor.ping()
        self.assertTrue(visitor.recorder.signals)
        for signal in visitor.recorder.signals:
            self.assertNotIn(NAME, repr(signal))
            self.assertNotIn(self.command, repr(signal))


if __name__ == "__main__":
    fixtures.main()
