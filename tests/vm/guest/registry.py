"""Which scenarios there are. A scenario is a function in scenarios/*.py that takes a Machine:

    @scenario("igb: enabling 2 VFs appears over D-Bus", deadline=60)
    def two_vfs(machine):
        ...

Its id is FILE.FUNCTION. It passes if it returns; whatever it raises is its failure.
"""

import dataclasses
import importlib
import pathlib
import re
import typing

SCENARIOS = []
DIRECTORY = pathlib.Path(__file__).parent.parent / "scenarios"


@dataclasses.dataclass
class Scenario:
    id: str
    title: str
    deadline: float
    function: typing.Callable


def scenario(title, deadline=90):
    """`deadline`: seconds, with the cleaning before it; a multiple of what it takes on a slow machine."""
    def register(function):
        module = function.__module__.rpartition(".")[2]
        SCENARIOS.append(Scenario(f"{module}.{function.__name__}", title, deadline, function))
        return function
    return register


def rounds(default):
    """How often a scenario repeats what it does: `vfwarden.rounds=` on the kernel's command line, which a longer run has."""
    found = re.search(r"\bvfwarden\.rounds=(\d+)", pathlib.Path("/proc/cmdline").read_text(encoding="utf-8"))
    return int(found[1]) if found else default


def load():
    """All scenarios, in the order of file names and of the files' lines."""
    for path in sorted(DIRECTORY.glob("*.py")):
        if path.name != "__init__.py":
            importlib.import_module(f"scenarios.{path.stem}")
    return SCENARIOS


def select(patterns):
    """The scenarios whose id contains one of `patterns`; all without patterns. Those with a "!" before them leave out what
    matches them. Raises LookupError for a pattern that no scenario matches: a misspelt name must not pass as a success."""
    everything = load()
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    omitted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    for pattern in wanted + omitted:
        if not any(pattern in one.id for one in everything):
            raise LookupError(f"no scenario matches '{pattern}'; there are: "
                              + ", ".join(one.id for one in everything))
    return [one for one in everything if (not wanted or matches(one, wanted)) and not matches(one, omitted)]


def matches(one, patterns):
    return any(pattern in one.id for pattern in patterns)
