#!/usr/bin/python3
"""Unit and integration tests in a root of another Debian release: with its compiler, libraries, D-Bus and umockdev.

Each root has the release's packages that `tests/install-dependencies list checks` names. It is made once by mmdebstrap, and
is read-only while tests run: they see these sources, and build and write in directories of their own.

    run.py RELEASE [TEST...]     trixie or sid; all tests, or those of these names

Ends with the line "N passed, N failed". Needs root.
"""

import inspect
import json
import os
import pathlib
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(SOURCE / "tests/vm")]

from host import common, debian  # noqa: E402

RELEASES = ("trixie", "sid")
# So many failed tests are run once more, as tests/parts.py does.
AGAIN_MAX = 5
# The roots of a release that changes every day are made anew in another week.
ROLLING = ("sid",)
# What a fresh system has beside the packages.
SYSTEM = ["ca-certificates", "mount", "procps", "iproute2"]
INSIDE = """
mount --make-rprivate /
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --rbind /sys "$1/sys"
for directory in tmp run var/tmp; do mount -t tmpfs tmpfs "$1/$directory"; done
mkdir -p "$1/run/source" "$1/run/build"
mount --bind "$2" "$1/run/source"
mount -o remount,bind,ro "$1/run/source"
mount --bind "$3" "$1/run/build"
exec chroot "$1" env -i LANG=C.UTF-8 HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    VFWARDEN_DEADLINE_SCALE="$VFWARDEN_DEADLINE_SCALE" sh -c "$4"
"""
BUILD = """
[ -e /run/build/build.ninja ] || meson setup -Dtests=true -Dwerror=true /run/build /run/source >/run/log || { cat /run/log; exit 1; }
ninja -C /run/build --quiet
"""


def packages():
    listing = common.run([SOURCE / "tests/install-dependencies", "list", "checks"])
    return sorted({*listing.split(), *SYSTEM})


def make_root(release, directory):
    debian.bootstrap(directory / "root", [release], packages(), "apt", ["--dpkgopt=force-unsafe-io"])


def root_of(release):
    age = int(time.time() / (7 * 86400)) if release in ROLLING else 0
    recipe = inspect.getsource(make_root) + inspect.getsource(debian.bootstrap)
    return common.cached(f"release-{release}", common.hash_of(recipe, packages(), age),
                         lambda directory: make_root(release, directory)) / "root"


def run_inside(root, build, command, **kwargs):
    environment = {"VFWARDEN_DEADLINE_SCALE": "1", **os.environ}
    return subprocess.run(["unshare", "--mount", "sh", "-ec", INSIDE, "-", root, SOURCE, build, command],
                          stdin=subprocess.DEVNULL, env=environment, check=False, **kwargs)


def build_directory(root):
    """Of this checkout with that root's compiler."""
    directory = common.cache_dir() / f"build-{common.hash_of(SOURCE, root)}"
    directory.mkdir(exist_ok=True)
    return directory


def main():
    if os.geteuid() != 0:
        sys.exit("releases: a root can only be made by root: use sudo")
    release, *names = sys.argv[1:] or sys.exit(__doc__)
    if release not in RELEASES:
        sys.exit(f"there is no release {release}; there are: {', '.join(RELEASES)}")
    try:
        root = root_of(release)
    except common.Failure as failure:
        sys.exit(f"releases: {failure}")
    build = build_directory(root)
    with common.locked(build.name):
        if run_inside(root, build, BUILD).returncode != 0:
            sys.exit(f"releases: it cannot be built on {release}")
        results = run_tests(root, build, " ".join(names) or "--suite unit --suite integration")
        failed = [name for name, result in results.items() if result != "OK"]
        if 0 < len(failed) <= AGAIN_MAX:
            print(f"== once more, one after the other: {' '.join(failed)}", flush=True)
            results |= run_tests(root, build, f"--num-processes 1 {' '.join(failed)}")
            for name in failed:
                if results[name] == "OK":
                    print(f"-- {name} failed, and passed at a second attempt: unsteady")
        return 0 if report(results) else 1


def run_tests(root, build, tests):
    """Returns the results by the tests' names."""
    log = build / "meson-logs/testlog.json"
    log.unlink(missing_ok=True)
    run_inside(root, build, f"meson test -C /run/build --no-rebuild --print-errorlogs {tests}")
    lines = log.read_text().splitlines() if log.exists() else []
    # "PROJECT:SUITE / NAME"
    return {test["name"].split(" / ")[-1]: test["result"] for test in map(json.loads, lines)}


def report(results):
    """Prints how many passed; returns whether all is well."""
    passed = list(results.values()).count("OK")
    print(f"{passed} passed, {len(results) - passed} failed", flush=True)
    return passed > 0 and passed == len(results)


if __name__ == "__main__":
    sys.exit(main())
