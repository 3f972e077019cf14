#!/usr/bin/python3
"""What the command says of recordings that `vfwarden record` made in the emulated machines (tests/vm).

recordings/MACHINE.txt has commands as "$ vfwarden ARGUMENTS" and below each what it printed. A change of a text is made
there, too; a change of a fact is a fault, for these hosts do not change."""

import lzma
import os
import pathlib
import shlex
import subprocess
import tempfile
import unittest

from fixtures import DEADLINE, main

RECORDINGS = pathlib.Path(__file__).resolve().parents[1] / "recordings"
PROMPT = "$ vfwarden "


class Recordings(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.directory = self.enterContext(tempfile.TemporaryDirectory())

    def told(self, path, line):
        """What the command prints that is written so."""
        program = os.environ["VFWARDEN"]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC", "COLUMNS": "200", "SYSTEMD_PAGER": ""}
        result = subprocess.run([program, "replay", path, "--", program, *shlex.split(line)], env=environment,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                timeout=4 * DEADLINE, check=False)
        return f"{PROMPT}{line}\n{result.stdout}"

    def check(self, machine):
        path = os.path.join(self.directory, "host.tar")
        with open(path, "wb") as file:
            file.write(lzma.decompress((RECORDINGS / f"{machine}.tar.xz").read_bytes()))
        expected = (RECORDINGS / f"{machine}.txt").read_text()
        lines = [line.removeprefix(PROMPT) for line in expected.splitlines() if line.startswith(PROMPT)]
        self.assertGreater(len(lines), 3)
        self.assertEqual("".join(self.told(path, line) for line in lines), expected)

    def test_x86_64(self):
        self.check("x86_64")

    def test_s390x(self):
        self.check("s390x")


main()
