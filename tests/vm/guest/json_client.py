"""A program without privilege, in a process of its own, that does what a scenario tells it.

Requests are lines of JSON on its standard input, [verb, argument...]; each is answered by a line of JSON.
"""

import json
import os
import subprocess
import sys

import vfwarden_bus as vb


class JsonClient:
    """The scenario's end. `module` is run as the program. Errors of D-Bus arrive as vfwarden_bus.BusError, others as
    OSError."""

    module = None
    command = "python3"

    def __init__(self, machine, name="visitor", ready=True):
        """Without `ready`, a caller that starts several calls wait_ready() of each."""
        self.process = subprocess.Popen(
            ["setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups", "--no-new-privs",
             sys.executable, "-B", "-m", self.module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        machine.closers.append(self.close)
        self.pid = self.process.pid
        if ready:
            self.wait_ready()

    def wait_ready(self):
        """It is at the bus from here on."""
        self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def answer(self):
        answer = json.loads(self.process.stdout.readline())
        if "bus" in answer:
            raise vb.BusError(*answer["bus"])
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return answer["value"]

    def ask(self, verb, *arguments):
        self.start(verb, *arguments)
        return self.answer()

    def start(self, verb, *arguments):
        self.process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self.process.stdin.flush()


def serve(server, errno_of=lambda error: error.errno, errors=(OSError,)):
    """The program's end: methods of `server` are the verbs. `errors` are those that are returned, by errno_of()."""
    print(json.dumps({"value": None}), flush=True)
    for line in iter(sys.stdin.readline, ""):
        if not line.strip():
            continue
        verb, *arguments = json.loads(line)
        try:
            answer = {"value": getattr(server, verb.replace("-", "_"))(*arguments)}
        except vb.BusError as error:
            answer = {"bus": [error.name, error.message]}
        except errors as error:     # pylint: disable=catching-non-exception
            answer = {"errno": errno_of(error)}
        print(json.dumps(answer), flush=True)
