"""inhibit: the descriptor lives as long as the command, and the command is run as a shell would."""

import fcntl
import os
import select
import signal
import subprocess
import textwrap
import time

from standin import CommandTest, DBusError, DEADLINE
import pictures
from pictures import IGB

ALL = "set-num-vfs:set-autoprobe:bind:unbind:reset:remove:power-off:disable-pasid"
USAGE = ("vfwarden: inhibit needs an address, -- and a command: vfwarden inhibit ADDRESS -- "
         "COMMAND...; or --list alone\n")


class Inhibit(CommandTest):
    def setUp(self):
        super().setUp()
        self.stand_in = self.start_daemon(pictures.host())

    def inhibited(self):
        """The arguments of the one call of Inhibit()."""
        calls = [c for c in self.stand_in.calls if c[0] == "Inhibit"]
        self.assertEqual([c[3] for c in calls], [True])
        return calls[0][2]

    def is_held(self, wait=0.0):
        """Whether somebody has the last inhibitor's descriptor."""
        poll = select.poll()
        poll.register(self.stand_in.inhibited[-1], 0)
        return not poll.poll(wait * 1000)

    def start_sleeper(self, *options):
        """An inhibitor whose command tells its pid and waits."""
        run = self.start("inhibit", *options, IGB, "--", "sh", "-c", "echo $$; exec sleep 1000")
        return run, int(run.line())

    def test_defaults(self):
        self.check(["inhibit", "1:0.0", "--", "sh", "-c", "echo done"], "done\n")
        self.assertEqual(self.inhibited(), (IGB, ALL, "sh", "sh -c echo done"))

    def test_options(self):
        self.check(["inhibit", "--what=reset:open", "--who=backup", "--why=it runs", "1:0.0", "--",
                    "/bin/true", "--json"])
        self.assertEqual(self.inhibited(), (IGB, "reset:open", "backup", "it runs"))

    def test_modes(self):
        self.check(["inhibit", "--mode=delay", "1:0.0", "--", "/bin/true"])
        self.check(["inhibit", "--mode=block", "1:0.0", "--", "/bin/true"])
        self.assertEqual([c[2] for c in self.stand_in.calls if c[0] == "InhibitWithOptions"],
                         [(IGB, ALL, "true", "/bin/true", {"mode": "delay"})])
        self.assertEqual(self.inhibited(), (IGB, ALL, "true", "/bin/true"))
        code, _, error = self.run_command("inhibit", "--mode=later", "1:0.0", "--", "/bin/true")
        self.assertEqual((code, error), (2, "vfwarden: --mode is block or delay, not 'later'\n"
                                             'Try "vfwarden --help".\n'))

    def test_verbs_are_understood(self):
        for what, operations in (
                ("set-vfs:unplug", "set-num-vfs:remove"), ("unplug:remove", "remove"), ("io", "open"),
                ("lock", "set-num-vfs:set-autoprobe:reset:remove:power-off"),
                ("bind:unbind:reset:set-autoprobe:open", "bind:unbind:reset:set-autoprobe:open"),
                ("novel", "novel")):
            with self.subTest(what):
                self.stand_in.calls.clear()
                self.check(["inhibit", f"--what={what}", IGB, "--", "true"])
                self.assertEqual(self.inhibited()[1], operations)

    def test_verbs_that_take_nothing(self):
        for what in ("list", "reset:show", "unlock", "cancel-unplug"):
            self.check(["inhibit", f"--what={what}", IGB, "--", "echo", "ran"], code=2, error=(
                f"vfwarden: {what.split(':')[-1]} takes no function away, so it cannot be inhibited\n"))
        self.assertEqual([c for c in self.stand_in.calls if c[0] == "Inhibit"], [])

    def test_word_that_is_nearly_one(self):
        def refuse(*_):
            raise DBusError("org.freedesktop.DBus.Error.InvalidArgs", "no operations")
        self.stand_in.answers["Inhibit"] = refuse
        self.check(["inhibit", "--what=bind:rest", IGB, "--", "echo", "ran"], code=2, error=(
            f"vfwarden: Cannot inhibit anything on {IGB}: no operations\n"
            "vfwarden: 'rest': did you mean 'reset'?\n"))

    def test_texts_are_cut_and_made_valid(self):
        self.run_command("inhibit", IGB, "--", "/bin/true", b"\xff", "\u00e9" * 200)
        _, _, who, why = self.inhibited()
        self.assertEqual(who, "true")
        self.assertEqual(why, "/bin/true \ufffd " + "\u00e9" * 121)

    def test_held_as_long_as_the_command_runs(self):
        run, pid = self.start_sleeper()
        self.assertTrue(self.is_held())
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(run.end(), (128 + 9, ""))
        self.assertFalse(self.is_held())

    def test_the_daemon_may_go_meanwhile(self):
        run, pid = self.start_sleeper()
        self.stand_in.connection.close_sync(None)
        self.assertTrue(self.is_held(0.1))
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(run.end(), (128 + 15, ""))

    def test_the_command_has_no_copy(self):
        _, output, _ = self.run_command("inhibit", IGB, "--", "ls", "-l", "/proc/self/fd")
        descriptors = [line.split(" -> ")[0].split()[-1] for line in output.splitlines()[1:]]
        # 3 is the folder that ls reads.
        self.assertEqual(descriptors, ["0", "1", "2", "3"])

    def test_closed_standard_descriptors_lead_nowhere(self):
        # No descriptor of the command's own may become one of them, nor may one that what it runs opens.
        told = os.path.join(self.directory, "told")
        command = " ".join(self.argv(["inhibit", IGB]))
        script = f"seen=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2); echo $seen >{told}"
        done = subprocess.run(["/bin/sh", "-c", f"exec {command} -- sh -c '{script}' <&- >&- 2>&-"],
                              env=self.environment, timeout=DEADLINE, check=False)
        with open(told, encoding="utf-8") as file:
            self.assertEqual((done.returncode, file.read().split()), (0, ["/dev/null"] * 3))

    def test_status_is_passed_on(self):
        for code in (0, 1, 7, 127, 255):
            self.check(["inhibit", IGB, "--", "sh", "-c", f"exit {code}"], code=code)
        for number in (1, 2, 3, 6, 9, 13, 15):
            self.check(["inhibit", IGB, "--", "sh", "-c", f"ulimit -c 0; kill -{number} $$"],
                       code=128 + number)

    def test_commands_that_cannot_be_run(self):
        self.check(["inhibit", IGB, "--", "no-such-command"], code=127,
                   error="vfwarden: Cannot run 'no-such-command': No such file or directory\n")
        self.check(["inhibit", IGB, "--", "/etc/passwd"], code=126,
                   error="vfwarden: Cannot run '/etc/passwd': Permission denied\n")

    def test_signals_to_the_command_alone_are_passed_on(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            with self.subTest(number):
                self.environment["PATH"] = os.environ["PATH"]
                run = self.start("inhibit", IGB, "--", "python3", "-Ic", textwrap.dedent("""\
                    import signal, resource, sys, time
                    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                    signal.signal(signal.SIGINT, signal.SIG_DFL)
                    print(*sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), flush=True)
                    time.sleep(1000)"""))
                self.assertEqual(run.line(), "")  # it starts with no signal blocked
                run.process.send_signal(number)
                self.assertEqual(run.end(), (128 + number, ""))
                self.assertFalse(self.is_held())

    def test_the_terminals_signals_are_the_commands_own(self):
        # A command that takes interrupts for its own use goes on, and gets each once. Two that come at
        # the same time are one to the kernel, so a few are sent.
        script = textwrap.dedent("""\
            import signal
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            print("ready", flush=True)
            count = 0
            while signal.sigtimedwait([signal.SIGINT], 0.5 if count >= 20 else 60):
                count += 1
                print("interrupt", flush=True)
            print("count", count, flush=True)""")
        leader, follower = os.openpty()

        def lead():
            os.setsid()
            fcntl.ioctl(follower, 0x540E, 0)  # TIOCSCTTY
        with subprocess.Popen(
                self.argv(["inhibit", IGB, "--", "/usr/bin/python3", "-Ic", script]),
                env=self.environment, stdin=follower, stdout=follower, stderr=follower,
                preexec_fn=lead) as process:
            os.close(follower)
            text = b""
            while b"ready" not in text:
                text += os.read(leader, 1024)
            for i in range(1, 21):
                os.write(leader, b"\x03")
                while text.count(b"interrupt") < i:
                    text += os.read(leader, 1024)
            while b"count" not in text:
                text += os.read(leader, 1024)
            self.assertEqual(process.wait(DEADLINE), 0)
            self.assertIn(b"count 20", text)
        os.close(leader)

    def test_a_guard_that_is_killed_takes_the_command_along(self):
        run, pid = self.start_sleeper()
        run.process.kill()
        run.process.wait()
        self.assertFalse(self.is_held(DEADLINE))
        end = time.monotonic() + DEADLINE
        while os.path.exists(f"/proc/{pid}/exe") and time.monotonic() < end:
            time.sleep(0.01)
        with self.assertRaises(OSError):
            os.readlink(f"/proc/{pid}/exe")  # gone, or a zombie that init has not waited for yet

    def test_sigpipe_is_as_it_was(self):
        for restore, code in ((True, 128 + 13), (False, 0)):
            done = subprocess.run(
                self.argv(["inhibit", IGB, "--", "sh", "-c", "kill -13 $$"]), check=False,
                env=self.environment, restore_signals=restore)
            self.assertEqual(done.returncode, code)

    def test_refusals(self):
        def fail(*_):
            raise DBusError("org.freedesktop.DBus.Error.LimitsExceeded", "too many")
        self.stand_in.answers["Inhibit"] = fail
        self.check(["inhibit", IGB, "--", "echo", "ran"], code=7,
                   error=f"vfwarden: Cannot inhibit anything on {IGB}: too many\n")
        del self.stand_in.answers["Inhibit"]
        self.check(["inhibit", "9:0.0", "--", "echo", "ran"], code=3,
                   error="vfwarden: Cannot inhibit anything on 0000:09:00.0: There is no PCI function "
                         "0000:09:00.0; did you mean 0000:01:00.0?\n")

    def test_usage(self):
        for arguments in ([], [IGB], [IGB, "echo", "ran"], [IGB, "--"],
                          ["--list", IGB], ["--list", IGB, "--", "echo", "ran"]):
            with self.subTest(arguments):
                self.check(["inhibit", *arguments], error=USAGE, code=2)
        self.check(["-H", "far", "inhibit", IGB, "--", "echo", "ran"], code=2,
                   error="vfwarden: An inhibitor ends with its process, so it cannot be on "
                         "another host\n")
        self.check(["inhibit", "1", "--", "echo", "ran"], code=2, error="vfwarden: '1' is not a PCI "
                   "address: there is no ':' between bus and device\n")
