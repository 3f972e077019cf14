"""A user without privilege on the bus: a process of their own that obeys the scenario.

Run as a program, by Person: reads requests as lines of JSON, answers each with a line of JSON.
"""

import json
import subprocess
import sys

from gi.repository import GLib

import vfwarden_bus as vb

from guest.agent import SilentAgent


class Person:
    """The other end, for a scenario. Errors of D-Bus arrive as vfwarden_bus.BusError."""

    def __init__(self, name):
        self.name = name
        self.process = subprocess.Popen(
            ["setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups", "--no-new-privs",
             sys.executable, "-B", "-m", "guest.person"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()  # it listens from here on

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise vb.BusError("local", f"the process of {self.name} ended")
        answer = json.loads(line)
        if "error" in answer:
            raise vb.BusError(*answer["error"])
        return answer["value"]

    def ask(self, verb, *arguments):
        self.process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def call(self, path, interface, method, signature="()", *arguments):
        """The reply's arguments, as a list."""
        return self.ask("call", path, interface, method, signature, arguments)

    def lock(self, address, why="test"):
        return self.call(vb.function_path(address), vb.FUNCTION, "Lock", "(s)", why)

    def unlock(self, address):
        return self.call(vb.function_path(address), vb.FUNCTION, "Unlock")

    def set_num_vfs(self, address, count, **options):
        return self.ask("set_num_vfs", address, count, options)

    def function(self, address):
        """All properties over all interfaces, as this person reads them."""
        return self.ask("function", address)

    def lock_silently(self, address, count):
        """Sends so many Locks, about which an agent of this person is asked that never answers."""
        return self.ask("lock_silently", address, count)

    def silence(self):
        """(how often the agent was asked, the names of the errors that the calls got so far)"""
        return self.ask("silence")

    def wait_signal(self, member):
        """The arguments of the first signal `member` since this person listens."""
        return self.ask("signal", member)


def serve(client, agents, verb, *arguments):
    if verb == "call":
        path, interface, method, signature, values = arguments
        return client.bus.call(path, interface, method, signature, values)
    if verb == "function":
        return client.function(*arguments)
    if verb == "set_num_vfs":
        address, count, options = arguments
        return client.start_set_num_vfs(address, count, **options).result()
    if verb == "signal":
        return client.recorder.wait_for(*arguments).args
    if verb == "set_log_level":
        return client.set(vb.LOG_CONTROL_PATH, vb.LOG_CONTROL, "LogLevel", GLib.Variant("s", *arguments))
    if verb == "lock_silently":
        agents.append(SilentAgent(client))
        return agents[-1].lock(*arguments)
    if verb == "silence":
        return agents[-1].state()
    raise ValueError(verb)


def main():
    client, agents = vb.Client(), []
    client.ping()  # after this the bus has the subscription
    print(json.dumps({"value": None}), flush=True)
    for line in sys.stdin:
        try:
            answer = {"value": serve(client, agents, *json.loads(line))}
        except vb.BusError as error:
            answer = {"error": [error.name, error.message]}
        except vb.DeadlineMissed as error:
            answer = {"error": ["local", str(error)]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
