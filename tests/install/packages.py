"""The Debian packages: built as README.md prints it, looked at by lintian, and kept in the cache until a source changes.

An entry has the packages, in `next` those of a version that differs in nothing but its number, in `others` Debian's own
that a test needs, and what lintian says."""

import functools
import inspect
import pathlib
import shutil
import sys
import tempfile

from root import CLONE, SOURCE, Root, common, debian, example, source_files

OUTPUT = f"{CLONE}/build-deb"
LINTIAN = "cd build-deb && lintian --allow-root --display-info --pedantic --fail-on none *.changes"
REPACK = r"""cd build-deb && mkdir next
for package in *.deb; do
        dpkg-deb --raw-extract $package tree
        sed --in-place -E '/^Version:/s/$/+next/; s/\(= ([^)]+)\)/(= \1+next)/g' tree/DEBIAN/control
        dpkg-deb --root-owner-group -Znone --build tree next
        rm --recursive tree
done"""
# What the emulated machine installs besides.
OTHERS = "mkdir build-deb/others && cd build-deb/others && apt-get -qq download apparmor"


def build(suite, directory):
    with tempfile.TemporaryDirectory(prefix="vfwarden-packages-", dir=common.cache_dir()) as place:
        root = Root(suite, pathlib.Path(place) / suite)
        with common.locked(root.archives.name):
            # Not optimised, which takes half the time: nobody measures these. Debug symbols are not looked at.
            root.run("export DEB_BUILD_OPTIONS='noopt noautodbgsym'; " + example("readme-packages")[0])
        root.apt_get("install", "lintian")
        (directory / "lintian.txt").write_text(root.run(LINTIAN))
        root.run("rm -r build-deb/source && " + REPACK)
        root.run(OTHERS)
        for path in (root.path / OUTPUT).glob("**/*.deb"):
            copy = directory / path.relative_to(root.path / OUTPUT)
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(path, copy)


def key_of(suite):
    """Of all that the packages are made from; tests go into none."""
    sources = [path for path in source_files() if not path.startswith("tests/")]
    return common.hash_of(suite, inspect.getsource(sys.modules[__name__]), inspect.getsource(Root), inspect.getsource(debian.bootstrap),
                          *(part for path in sources for part in (path, (SOURCE / path).read_bytes())))


def built(suite):
    """The directory of the packages of this suite."""
    return common.cached(f"packages-{suite}", key_of(suite), functools.partial(build, suite))
