"""Debian packages, from the mirror that this machine's own apt is configured with.

Nothing here changes apt's configuration, lists or packages: a private apt with its own lists works in
the cache. Only the mirror's address, its key and how to reach it (proxies, certificates, passwords)
are taken over.
"""

import pathlib
import re
import shlex
import subprocess

from host.common import Failure, cache_dir, locked, run

# Where each release has a QEMU and a kernel that are new enough.
NEWER = {"bookworm": "bookworm-backports", "trixie": "trixie"}


def own_suite():
    """This machine's release: what is built here runs in a guest of the same."""
    match = re.search(r"^VERSION_CODENAME=(\w+)$", pathlib.Path("/etc/os-release").read_text(), re.MULTILINE)
    return match[1] if match and match[1] in NEWER else "bookworm"


SUITE = own_suite()
SUITES = list(dict.fromkeys([SUITE, NEWER[SUITE]]))

# What apt needs in order to reach a mirror and to trust it, on this machine.
TAKEN_OVER = re.compile(r"^(Acquire::(http|https|ftp|Check-|ForceIPv|Retries|AllowInsecure|By-Hash)"
                        r"|Dir::Etc::netrc)", re.IGNORECASE)


def mirror():
    """The address of the Debian mirror, and the options of its source line."""
    output = run(["apt-get", "indextargets", "Created-By: Packages", "--format",
                  "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(CODENAME)|$(REPO_URI)|$(SOURCESENTRY)"])
    found = {}
    for line in output.splitlines():
        fields = line.split("|")
        if len(fields) != 6:
            continue
        origin, label, component, codename, uri, entry = fields
        if (origin, label, component) == ("Debian", "Debian", "main"):
            found.setdefault(codename, (uri, entry))
    if not found:
        raise Failure("apt knows no Debian mirror. Is this Debian, and did `apt-get update` run?")
    uri, entry = found.get(SUITE) or next(iter(found.values()))
    key = signed_by(entry.rpartition(":")[0])
    return uri, f"[signed-by={key}] " if key else ""


def signed_by(sources_file):
    """The key file that a source file names, in either of apt's two formats. A key written into the
    file itself is passed over: then what apt trusts in general has to do."""
    try:
        text = pathlib.Path(sources_file).read_text()
    except OSError:
        text = ""
    match = re.search(r"^\s*Signed-By:[ \t]*(/\S+)|^\s*deb\s+\[[^]]*signed-by=(/[^\s\]]+)", text,
                      re.IGNORECASE | re.MULTILINE)
    return match and (match[1] or match[2])


def source_lines(*suites):
    uri, options = mirror()
    return "".join(f"deb {options}{uri} {suite} main\n" for suite in suites)


def options_to_reach_mirror():
    """apt's own answers, as lines of an apt.conf."""
    return [line for line in run(["apt-config", "dump"]).splitlines() if TAKEN_OVER.match(line)]


DOCUMENTATION = ("doc", "man", "info", "locale", "lintian", "bug")


def bootstrap(root, suites, packages, variant, extra=(), excluded=DOCUMENTATION):
    """Makes `root` with mmdebstrap, without the directories `excluded` of /usr/share."""
    command = ["mmdebstrap", f"--variant={variant}", "--mode=root", "--format=directory",
               "--aptopt=APT::Install-Recommends \"false\"", "--include=" + ",".join(packages)]
    command += [f"--aptopt={line}" for line in options_to_reach_mirror()]
    for path in excluded:
        command.append(f"--dpkgopt=path-exclude=/usr/share/{path}/*")
    command += [*extra, "", root, "-"]
    result = subprocess.run([str(word) for word in command], input=source_lines(*suites), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
    if result.returncode != 0:
        tail = "\n".join("    " + line for line in result.stdout.splitlines()[-25:])
        raise Failure(f"mmdebstrap failed ({shlex.join(command[:2])} ...):\n{tail}")


class PrivateApt:
    """An apt of our own: own architecture, lists and sources, no installed packages. Good for
    downloading. The last of the suites is preferred."""

    def __init__(self, *suites, architecture):
        self.dir = cache_dir() / f"apt-{architecture}"
        self.suites = suites
        self.architecture = architecture
        self.config = self.dir / "apt.conf"

    def prepare(self):
        for path in ("lists/partial", "archives/partial"):
            (self.dir / path).mkdir(parents=True, exist_ok=True)
        (self.dir / "sources.list").write_text(source_lines(*self.suites))
        (self.dir / "status").write_text("")
        self.config.write_text(
            f'Dir::Etc::sourcelist "{self.dir}/sources.list";\nDir::Etc::sourceparts "-";\n'
            f'Dir::State::lists "{self.dir}/lists";\nDir::State::status "{self.dir}/status";\n'
            f'Dir::Cache "{self.dir}";\nDir::Cache::archives "{self.dir}/archives";\n'
            f'APT::Default-Release "{self.suites[-1]}";\nAPT::Sandbox::User "root";\n'
            f'APT::Architecture "{self.architecture}";\n'
            f'#clear APT::Architectures;\nAPT::Architectures {{ "{self.architecture}"; }};\n'
            # Hooks of this machine are about this machine's packages.
            "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n"
            "#clear APT::Update::Post-Invoke-Success;\n")
        self.apt("apt-get", "-q", "update")

    def apt(self, program, *words):
        return run([program, "-c", self.config, *words], cwd=self.dir)

    def would_install(self, package, pattern):
        """The packages with names like `pattern` that installing `package` brings, as apt names them
        for a download: NAME=VERSION. `package` may be PACKAGE/SUITE."""
        output = self.apt("apt-get", "-s", "--no-install-recommends", "install", package)
        found = re.findall(rf"^Inst ({pattern}) \((\S+) ", output, re.MULTILINE)
        if not found:
            raise Failure(f"{package} brings no package like {pattern}")
        return [f"{name}={version}" for name, version in found]

    def download(self, package, directory):
        """Downloads one package and returns its path."""
        before = set(directory.glob("*.deb"))
        run(["apt-get", "-c", self.config, "-q", "download", package], cwd=directory)
        new = set(directory.glob("*.deb")) - before
        if len(new) != 1:
            raise Failure(f"apt downloaded {len(new)} files for {package}")
        return new.pop()


def with_private_apt(suites, work, architecture):
    """Calls `work(apt)` with a fresh private apt; one user at a time."""
    with locked("apt"):
        apt = PrivateApt(*suites, architecture=architecture)
        apt.prepare()
        return work(apt)
