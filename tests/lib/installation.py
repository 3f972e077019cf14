"""Where the lines that README.md prints under From source are run.

A bare root (install/from_source.py) has no systemd that runs; the emulated machine (vm/scenarios/manuals.py) has no compiler.
tests/lint/examples sees to it that each line is run at least in one of them."""


def runs_in_root(line):
    return "systemctl" not in line


def runs_in_machine(line):
    return not line.startswith(("tests/install-dependencies ", "meson "))
