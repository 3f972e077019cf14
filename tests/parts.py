"""Runs all tests and ends with the line "N passed, N failed".

Called by tests/run, as root and with everything installed. Builds with warnings as errors, then runs,
one after the other, what PARTS lists, or the parts that are named. A part that cannot be run has failed;
nothing is skipped.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed$")


def build(name, *options, targets=(), **environment):
    """Configures and builds in build-NAME; returns the directory."""
    directory = ROOT / f"build-{name}"
    verb = ["--reconfigure"] if (directory / "build.ninja").exists() else []
    subprocess.run(["meson", "setup", *verb, "-Dwerror=true", *options, directory],
                   cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, **environment})
    subprocess.run(["ninja", "-C", directory, "--quiet", *targets], check=True)
    return directory


def meson(directory, *arguments):
    """Runs meson's tests; returns (passed, failed)."""
    for log in (directory / "meson-logs").glob("testlog*.json"):
        log.unlink()
    subprocess.run(["meson", "test", "-C", directory, "--print-errorlogs", *arguments])
    passed = failed = 0
    for log in (directory / "meson-logs").glob("testlog*.json"):
        for line in log.read_text().splitlines():
            result = json.loads(line)["result"]
            passed += result == "OK"
            failed += result != "OK"
    return passed, failed


def plain():
    """Unit and integration tests, layering and formatting."""
    directory = build("plain")
    return meson(directory, "--suite", "unit", "--suite", "integration", "--suite", "lint",
                 "--suite", "cli")


def sanitize():
    """Unit and integration tests under AddressSanitizer and UndefinedBehaviorSanitizer."""
    directory = build("sanitize", "-Db_sanitize=address,undefined", "-Db_lundef=false")
    return meson(directory, "--suite", "unit", "--suite", "integration", "--suite", "cli")


def analysis():
    """clang-tidy and cppcheck."""
    return meson(build("plain"), "--suite", "analysis")


def model():
    """The unplug state machine with its surroundings, in the full state space, by spin."""
    return meson(build("plain"), "--suite", "model")


def fuzz():
    """What a client of vfwarden-io can send, and the rules for requests, by libFuzzer, a minute each."""
    targets = ("tests/fuzz/fuzz-request", "tests/fuzz/fuzz-session")
    directory = build("fuzz", "-Dfuzz=true", "-Db_sanitize=address,undefined", "-Db_lundef=false",
                      targets=targets, CC="clang")
    return meson(directory, "--no-rebuild", "--suite", "fuzz")


def machine_run(*arguments):
    """Runs scenarios in one of the emulated machines; returns (passed, failed)."""
    passed = failed = 0
    with subprocess.Popen([ROOT / "tests/vm/machine", "run", *arguments], stdout=subprocess.PIPE,
                          text=True) as machine:
        for line in machine.stdout:
            print(line, end="", flush=True)
            counts = COUNTS.match(line)
            if counts:
                passed, failed = (int(n) for n in counts.groups())
    # A machine that did not come to its last line, or found nothing to run, has failed.
    if machine.returncode != 0 and failed == 0 or passed + failed == 0:
        failed += 1
    return passed, failed


def vm():
    """The scenarios on a real kernel, in the emulated machine, and those of MSIs with other IOMMUs."""
    passed = failed = 0
    for arguments in ((), ("--iommu", "intel-no-intremap", "msi"), ("--iommu", "virtio", "msi")):
        ok, bad = machine_run(*arguments)
        passed, failed = passed + ok, failed + bad
    return passed, failed


def vm_s390x():
    """Those of zPCI, in the emulated s390x machine."""
    return machine_run("--arch", "s390x")


PARTS = [plain, sanitize, fuzz, vm, vm_s390x, model, analysis]


def name_of(part):
    return part.__name__.replace("_", "-")


def main():
    os.chdir(ROOT)
    names = {name_of(part): part for part in PARTS}
    unknown = [name for name in sys.argv[1:] if name not in names]
    if unknown:
        sys.exit(f"unknown part {unknown[0]}; there are: {', '.join(names)}")

    passed = failed = 0
    for part in [names[name] for name in sys.argv[1:]] or PARTS:
        print(f"== {name_of(part)}: {part.__doc__}", flush=True)
        start = time.monotonic()
        try:
            ok, bad = part()
        except subprocess.CalledProcessError as error:
            print(error)
            ok, bad = 0, 1
        print(f"== {name_of(part)}: {ok} ok, {bad} not, {time.monotonic() - start:.0f} s",
              flush=True)
        passed += ok
        failed += bad
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


sys.exit(main())
