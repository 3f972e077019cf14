"""Runs an example of the installed manuals, and compares what it prints with what is printed there."""

import contextlib
import glob
import os
import subprocess

import examples

from guest.check import Failed, equal

PAGES = ("/usr/share/man/man*/*vfwarden*.?", "/usr/share/doc/vfwarden/README.md", "/usr/share/doc/vfwarden/guides/*.md")
SELF = "vm/scenarios/manuals.py"
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "HOME": "/root", "PATH": os.environ["PATH"]}
PEOPLE = {"$ ": ["setpriv", "--reuid=visitor", "--regid=visitor", "--clear-groups"], "# ": []}


class Session:
    """An example's commands, which are to be run one after the other, all of them: `$` as somebody without privilege,
    `#` as root."""

    def __init__(self, machine, found):
        self.machine = machine
        self.place = found.place
        self.steps = found.steps()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None and self.steps:
            raise Failed(f"{self.place}: not run: {self.steps[0][1]}")

    def next(self):
        """The words that run the next command, the command, and what it should print."""
        prompt, command, expected = self.steps.pop(0)
        print(f"| {prompt}{command}", flush=True)
        return [*PEOPLE[prompt], "sh", "-c", command], command, expected

    def check(self, command, expected, actual):
        for line in actual:
            print(f"| {line}", flush=True)  # for the manual to quote
        wrong = examples.differs(expected, examples.without_progress(actual))
        if wrong:
            raise Failed(f"{self.place}: `{command}` {wrong}")

    def run(self, status=0, one_line=False, silent_example=False, without=""):
        """Runs the next command, `without` a word that is in it. With `one_line` the page breaks one long line of output;
        with `silent_example` it does not show what is printed."""
        words, command, expected = self.next()
        words[-1] = words[-1].replace(without, "")
        result = subprocess.run(words, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, check=False)
        actual = result.stdout.splitlines()
        equal(result.returncode, status, f"{self.place}: the exit code of `{command}`, which printed {result.stdout!r}")
        if one_line:
            expected, actual = [" ".join(expected)], [" ".join(actual)]
        self.check(command, ["..."] if silent_example else expected, actual)

    def run_all(self, **kwargs):
        while self.steps:
            self.run(**kwargs)

    def skip(self, why):
        """Leaves out the next command."""
        _, command, _ = self.steps.pop(0)
        print(f"| not here, {why}: {command}", flush=True)

    @contextlib.contextmanager
    def follow(self):
        """Runs a command that goes on until it is ended, from its first line of output until it has printed all that it
        should."""
        words, command, expected = self.next()
        process = subprocess.Popen(words, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        os.set_blocking(process.stdout.fileno(), False)
        output = b""

        def printed(line=None):
            nonlocal output
            output += process.stdout.read() or b""
            got = [examples.shape(text) for text in output.decode().splitlines()]
            return got and (line is None or examples.shape(line) in got)
        try:
            self.machine.wait(printed, f"`{command}` to print something")
            yield
            for line in [line for line in expected if line != "..."]:
                self.machine.wait(lambda line=line: printed(line),
                                  lambda line=line: f"`{command}` to print {line!r}, it printed\n{output.decode()}")
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()
        self.check(command, expected or ["..."], output.decode().splitlines())


def example(machine, name, file=SELF):
    """The example that has this mark, in whichever page it is."""
    found = [one for pattern in PAGES for path in glob.glob(pattern) for one in examples.read(path)
             if one.name == name and file in one.files]
    equal(len(found), 1, f"how many examples are marked {name}")
    return Session(machine, found[0])
