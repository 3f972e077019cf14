#!/usr/bin/python3
"""README's installation and removal, exactly as printed there, in bare roots of Debian 12 and 13.

Packages are built in a root and installed in another one; in a third the sources are built and installed. Who installs
runs each line that README.md prints, and uses what is installed. vm/scenarios/manuals.py and uninstall.py run what needs a
systemd that runs.

    run.py [SUITE[:KIND]...]     all of them, unless they are named: "trixie", "bookworm:source"

Ends with the line "N passed, N failed". Needs root.
"""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from from_packages import FromPackages  # noqa: E402
from from_source import FromSource  # noqa: E402
from root import Failed, common  # noqa: E402
from rpm import FromSourceAndRpm  # noqa: E402

KINDS = {"bookworm": {"packages": FromPackages, "source": FromSource, "rpm": FromSourceAndRpm},
         "trixie": {"packages": FromPackages, "source": FromSource}}


def check_steps(suite, directory, kind):
    """Yields (suite, step, seconds, failure or None) of each step."""
    wrong = None
    installation = None
    for step in kind.STEPS:
        start = time.monotonic()
        if wrong:
            wrong = "not run"
        else:
            try:
                installation = installation or kind(suite, directory)
                step(installation)
            except (Failed, common.Failure, OSError, subprocess.SubprocessError) as error:
                wrong = str(error)
        yield suite, step, time.monotonic() - start, wrong


def check(suite, kinds, directory):
    return [result for kind in kinds for result in check_steps(suite, directory, kind)]


def chosen(words):
    """The kinds of installation that the words name, by suite."""
    kinds = {}
    for word in words:
        suite, _, name = word.partition(":")
        if suite not in KINDS or name and name not in KINDS[suite]:
            sys.exit(f"install: there is no {word}")
        kinds.setdefault(suite, []).extend([KINDS[suite][name]] if name else KINDS[suite].values())
    return kinds


def main():
    if os.geteuid() != 0:
        sys.exit("install: a root can only be made by root: use sudo")
    kinds = chosen(sys.argv[1:] or KINDS)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="vfwarden-install-", dir=common.cache_dir()))
    passed = failed = 0
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for results in pool.map(lambda suite: check(suite, kinds[suite], directory), kinds):
                for suite, step, seconds, wrong in results:
                    passed, failed = passed + (not wrong), failed + bool(wrong)
                    print(f"{'not ok' if wrong else 'ok'} {passed + failed} - {suite}: {step.__doc__} ({seconds:.1f} s)")
                    if wrong:
                        print("".join(f"  # {line}\n" for line in wrong.splitlines()), end="", flush=True)
    finally:
        shutil.rmtree(directory)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
