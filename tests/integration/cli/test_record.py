#!/usr/bin/python3
"""A recording of the host that the daemon sees, and commands that are run with it in the daemon's place."""

import io
import json
import os
import subprocess
import tarfile
import tempfile

from fixtures import DEADLINE, main
import vfwarden_bus as vb
from test_lock import LockTest

PF = "0000:01:00.0"
PLAIN = "0000:02:00.0"
SECRET = "hunter2"
DOCUMENTS = {f"{name}.json" for name in ("about", "picture", "users", "uses", "inhibitors", "checks", "counters", "activity",
                                         "facts")}


class RecordTest(LockTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True, inhibit=True)
        self.temporary = tempfile.mkdtemp(dir=self.directory)
        self.tar = os.path.join(self.directory, "host.tar")

    def run_command(self, *arguments, **options):
        """Exit code, standard output and standard error of a run that sees what the daemon sees."""
        environment = {**self.command_environment(), "LC_ALL": "C.UTF-8", "TMPDIR": self.temporary, "SYSTEMD_PAGER": ""}
        result = subprocess.run([os.environ["VFWARDEN"], *arguments], env=environment, stdin=subprocess.DEVNULL,
                                capture_output=True, timeout=4 * DEADLINE, check=False, **options)
        return result.returncode, result.stdout, result.stderr.decode()

    def record(self):
        code, output, error = self.run_command("record")
        self.assertEqual(code, 0, error)
        with open(self.tar, "wb") as file:
            file.write(output)
        return output, error

    def replay(self, *command, path=None):
        return self.run_command("replay", path or self.tar, "--", *command)

    def replay_verb(self, *arguments):
        return self.replay(os.environ["VFWARDEN"], *arguments)

    def members(self):
        with tarfile.open(self.tar) as archive:
            return {member.name: archive.extractfile(member).read() for member in archive}

    def start_host(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        return pf


class Recordings(RecordTest):
    def test_what_is_in_it(self):
        pf = self.start_host()
        _, error = self.record()
        members = self.members()
        self.assertEqual(DOCUMENTS - set(members), set())
        self.assertEqual({name for name in set(members) - DOCUMENTS if not name.startswith("config/")}, set())
        self.assertEqual(json.loads(members["about.json"])["Format"], 1)
        facts = json.loads(members["facts.json"])
        self.assertEqual(facts[PF]["vendor"], "0x8086")
        self.assertEqual(facts[pf.vfs[0].address]["driver"], "vfio-pci")
        self.assertEqual(facts[pf.vfs[0].address]["physfn"], PF)
        self.assertEqual({function["Address"] for function in json.loads(members["picture.json"])["Functions"]}, set(facts))
        self.assertIn("It has no command lines", error)

    def test_no_secrets(self):
        self.start_host()
        self.client.lock(PLAIN, f"password {SECRET}")
        self.addCleanup(os.close, self.client.inhibit(PF, "reset", "backup", f"token {SECRET}"))
        self.assertIn(SECRET, self.client.manager("Describe"))
        self.assertTrue(json.loads(self.client.manager("Describe"))["Hostname"])
        output, _ = self.record()
        self.assertNotIn(SECRET.encode(), output)
        picture = json.loads(self.members()["picture.json"])
        self.assertEqual([picture.get(member, "") for member in ("Hostname", "MachineId")], ["", ""])

    def test_answers_are_those_of_the_daemon(self):
        pf = self.start_host()
        self.client.lock(PLAIN, "")
        self.addCleanup(os.close, self.client.inhibit(pf.vfs[0].address, "reset:bind", "backup", ""))
        self.record()
        for verb in (["list"], ["list", "--json"], ["list", "--tree"], ["show", PF], ["show", "--json", PLAIN], ["users"],
                     ["inhibitors"], ["why", PF, "unbind"],
                     ["top", "--no-legend"], ["show", "0000:77:00.0"]):
            with self.subTest(verb):
                self.assertEqual(self.replay_verb(*verb), self.run_command(*verb))
        vf = pf.vfs[0].address
        live, replayed = (json.loads(run("why", "--json", vf, "reset")[1])["Blockers"] for run in (self.run_command, self.replay_verb))
        self.assertEqual([{**one, "Reason": ""} for one in replayed], [{**one, "Reason": ""} for one in live])
        self.assertEqual([one["Subject"] for one in live], ["backup"])
        code, output, _ = self.replay_verb("metrics")
        self.assertEqual(code, 0)
        self.assertIn(b"vfwarden_inhibitors 1\n", output)

    def test_the_daemon_is_not_asked(self):
        self.start_host()
        self.record()
        expected = self.run_command("list")
        self.stop()
        self.assertEqual(self.replay_verb("list"), expected)

    def test_nothing_can_be_changed(self):
        self.start_host()
        self.record()
        for verb in (["lock", PLAIN], ["unplug", PLAIN], ["reset", PF], ["release-all"]):
            code, _, error = self.replay_verb(*verb)
            self.assertEqual((code, "This is a recording" in error), (4, True), (verb, error))
        self.assertEqual(self.client.get(vb.function_path(PLAIN), vb.FUNCTION, "LockReasons"), [])

    def test_the_commands_exit_code(self):
        self.start_host()
        self.record()
        self.assertEqual(self.replay("sh", "-c", "exit 7"), (7, b"", ""))
        self.assertEqual(self.replay("sh", "-c", "kill -KILL $$")[0], 128 + 9)
        self.assertEqual(self.replay("/nonexistent")[0], 127)
        self.assertEqual(os.listdir(self.temporary), [])


def archive(*members):
    """Of (name, data) or of tarfile.TarInfo."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as file:
        for member in members:
            info, data = (member, b"") if isinstance(member, tarfile.TarInfo) else (tarfile.TarInfo(member[0]), member[1])
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return target.getvalue()


def special(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


class Hostile(RecordTest):
    """Archives from people who mean harm."""

    def refused(self, data, words=""):
        path = os.path.join(self.directory, "hostile.tar")
        with open(path, "wb") as file:
            file.write(data)
        code, output, error = self.replay("echo", "it ran", path=path)
        self.assertEqual((code, output), (1, b""), error)
        self.assertIn(words, error)
        self.assertEqual(os.listdir(self.temporary), [])

    def test_names(self):
        for name in ("/etc/passwd", "../picture.json", "config/../../x", "config/", "config/0000:01:00.0/x", "other.json",
                     "config/1:0.0", "picture.json/"):
            self.refused(archive((name, b"{}")), "it has a file that no recording has")

    def test_kinds(self):
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE,
                     tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE):
            self.refused(archive(special("picture.json", kind, "/etc/passwd")), "it has something else than files")

    def test_links_in_a_file(self):
        info = special("picture.json", tarfile.REGTYPE, "/etc/passwd")
        self.refused(archive(info), "it has a link or a long name")

    def test_damage(self):
        good = archive(("about.json", b'{"Format": 1}'))
        self.refused(b"\0" * 1024, "about.json is missing or damaged")
        self.refused(b"x" * 2048, "it is no ustar archive")
        self.refused(good[:512] + b"", "it is cut off")
        self.refused(good[:10] + b"x" + good[11:], "it is no ustar archive")
        self.refused(good + b"x" * 512, "something follows its end")
        self.refused(archive(("about.json", b"{}"), ("about.json", b"{}")), "it has a file twice")
        self.refused(b"", "is no recording")

    def test_sizes(self):
        huge = bytearray(archive(("about.json", b"{}")))
        huge[124:136] = b"77777777777\0"
        huge[148:156] = b" " * 8
        huge[148:156] = f"{sum(huge[:512]):06o}\0 ".encode()
        self.refused(bytes(huge), "a file is too large")
        many = b"".join(archive((f"config/{n >> 8 & 0xffff:04x}:{n & 0xff:02x}:00.0", b""))[:512] for n in range(17000))
        self.refused(many + bytes(1024), "it has too many files")
        with open(self.tar, "wb") as file:
            file.truncate(1 << 40)
        self.assertEqual(self.replay("echo")[:2], (1, b""))
        os.unlink(self.tar)
        os.mkfifo(self.tar)
        self.assertEqual(self.replay("echo")[:2], (1, b""))

    def test_documents(self):
        self.start_host()
        self.record()
        good = self.members()
        for name in sorted(DOCUMENTS):
            for text in (b"", b"[" * 100000, b"null"):
                self.refused(archive(*{**good, name: text}.items()), f"{name} is missing or damaged")
        self.refused(archive(*{**good, "about.json": b'{"Format": 2}'}.items()), "of another version")
        with open(self.tar, "wb") as file:
            file.write(archive(*{**good, "users.json": b'[1, {"address": [], "pid": -1, "uid": 1e300, "x": {}}]',
                                 "checks.json": f'{{"{PF}": {{"reset": [true, 1, [2]]}}}}'.encode()}.items()))
        self.assertEqual(self.replay_verb("users")[0], 0)
        self.assertEqual(self.replay_verb("why", PF, "reset")[0], 0)
        self.assertNotEqual(self.replay_verb("why", PLAIN, "reset")[0], 0)


if __name__ == "__main__":
    main()
