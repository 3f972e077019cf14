"""Runs all tests and ends with the line "N passed, N failed".

Called by tests/run, as root and with everything installed. Runs the parts that are named, or those of CI (GROUPS), or with
--all the long ones, too. They build with warnings as errors. A part that cannot be run has failed; nothing is skipped.
"""

import concurrent.futures
import itertools
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed$")
# "not ok 7 - TITLE (ID, 4.2 s)" of the emulated machine, or "(ID): WHY"
SCENARIO = re.compile(r"\((?P<id>[\w.]+)(?:, [\d.]+ s\)|\): .*)$")
# What meson's tests printed when they failed is said once more at the end, this much of each: who has only the end of the
# output sees why.
SAID_AGAIN_LINES = 40
# So many failed tests of a part are run once more, one after the other. What passes then is counted as passed, and named
# at the end as unsteady: it found a race, or has one of its own. More failures than that have a common reason.
AGAIN_MAX = 5
UNSTEADY = ", and passed at a second attempt: unsteady"
# Directory of what failed parts and tests said; a part in a process of its own finds it in its environment.
FAILURES = "VFWARDEN_TEST_FAILURES"


def build(name, *options, targets=(), **environment):
    """Configures and builds in build-NAME; returns the directory."""
    directory = ROOT / f"build-{name}"
    verb = ["--reconfigure"] if (directory / "build.ninja").exists() else []
    subprocess.run(["meson", "setup", *verb, "-Dtests=true", "-Dwerror=true", *options, directory],
                   cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, **environment})
    subprocess.run(["ninja", "-C", directory, "--quiet", *targets], check=True)
    return directory


def remember(title, output):
    """Keeps the end of what a failed test said for say_again()."""
    directory = pathlib.Path(os.environ[FAILURES])
    lines = output.splitlines()[-SAID_AGAIN_LINES:]
    (directory / f"{time.monotonic_ns()}").write_text("\n".join([f"-- {title}", *lines]) + "\n")


def say_again():
    """Prints what failed once more."""
    for file in sorted(pathlib.Path(os.environ[FAILURES]).iterdir()):
        print(file.read_text(), end="")


def total(*counts):
    """The sum of any number of (passed, failed)."""
    return sum(passed for passed, _ in counts), sum(failed for _, failed in counts)


def meson_results(directory, *arguments):
    """Runs meson's tests; returns what its log says of each."""
    for log in (directory / "meson-logs").glob("testlog*.json"):
        log.unlink()
    subprocess.run(["meson", "test", "-C", directory, "--print-errorlogs", *arguments])
    return [json.loads(line) for log in (directory / "meson-logs").glob("testlog*.json")
            for line in log.read_text().splitlines()]


def meson(directory, *arguments, again=True):
    """Runs meson's tests, with `again` those that failed once more; returns (passed, failed)."""
    results = meson_results(directory, *arguments)
    failed = {test["name"]: test for test in results if test["result"] != "OK"}
    steady = set()
    if again and 0 < len(failed) <= AGAIN_MAX:
        # "PROJECT:SUITE / NAME"
        names = [name.split(" / ")[-1] for name in failed]
        print(f"== once more, one after the other: {' '.join(names)}", flush=True)
        second = meson_results(directory, *arguments, "--no-rebuild", "--num-processes", "1", *names)
        steady = {test["name"] for test in second if test["result"] == "OK"}
    for name, test in failed.items():
        remember(f"{directory.name}: {name}: {test['result']}" + (UNSTEADY if name in steady else ""),
                 test.get("stdout", "") + test.get("stderr", ""))
    n_failed = len(failed.keys() - steady)
    return len(results) - n_failed, n_failed


def plain():
    """Unit and integration tests, layering and formatting."""
    directory = build("plain")
    return meson(directory, "--suite", "unit", "--suite", "integration", "--suite", "lint", "--no-suite", "sanitized-only")


def plain_rest():
    """The integration tests that `plain` leaves out, since they take longest, and `sanitize` has them."""
    return meson(build("plain"), "--suite", "sanitized-only")


def build_sanitize():
    return build("sanitize", "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Doptimization=1")


def sanitize():
    """Unit and integration tests under AddressSanitizer and UndefinedBehaviorSanitizer."""
    return meson(build_sanitize(), "--suite", "unit", "--suite", "integration", "--no-suite", "plain-only")


def sanitize_rest():
    """The integration tests that `sanitize` leaves out, since they take longest there, and `plain` has them."""
    return meson(build_sanitize(), "--suite", "plain-only")


def analysis():
    """clang-tidy and cppcheck."""
    return meson(build("plain"), "--suite", "analysis", again=False)


def analysis_of_tests():
    """clang-tidy of the tests."""
    return meson(build("plain"), "--suite", "analysis-of-tests", again=False)


def model():
    """The unplug state machine with its surroundings, in the full state space, by spin."""
    return meson(build("plain"), "--suite", "model")


def fuzz():
    """What clients and vfwarden-io itself can send, and the rules for requests, by libFuzzer, 20 seconds each."""
    os.environ.setdefault("VFWARDEN_FUZZ_SECONDS", "20")
    targets = [f"tests/fuzz/fuzz-{name}" for name in ("report", "request", "session")]
    directory = build("fuzz", "-Dfuzz=true", "-Db_sanitize=address,undefined", "-Db_lundef=false",
                      targets=targets, CC="clang")
    return meson(directory, "--no-rebuild", "--suite", "fuzz")


class NotOk:
    """Collects each line "not ok" with the lines "  # why" below it, as (line, why)."""

    def __init__(self):
        self.title, self.why, self.all = None, [], []

    def line(self, line):
        if self.title and line.startswith("  # "):
            self.why.append(line.rstrip())
            return
        self.end()
        if line.startswith("not ok"):
            self.title = line.strip()

    def end(self):
        if self.title:
            self.all.append((self.title, "\n".join(self.why)))
        self.title, self.why = None, []

    def scenarios(self):
        """The ids of the emulated machine's scenarios among them."""
        return [found["id"] for found in (SCENARIO.search(title) for title, _ in self.all) if found]


def counted(command, prefix="", not_ok=None):
    """Runs a program that ends with the line "N passed, N failed"; returns (passed, failed). What failed is remembered,
    or put into `not_ok` for the caller to do so."""
    passed = failed = 0
    failures = not_ok or NotOk()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT if prefix else None,
                          text=True, errors="replace") as process:
        for line in process.stdout:
            print(f"{prefix}{line}", end="", flush=True)
            counts = COUNTS.match(line)
            if counts:
                passed, failed = (int(n) for n in counts.groups())
            if not prefix:
                failures.line(line)
    failures.end()
    if not not_ok:
        for failure in failures.all:
            remember(*failure)
    # A program that did not come to its last line, or found nothing to run, has failed.
    if process.returncode != 0 and failed == 0 or passed + failed == 0:
        failed += 1
    return passed, failed


def machine_run(*words, **options):
    """Runs the scenarios whose id contains one of the words, or all, in an emulated machine with these options (True: one
    without a value); returns (passed, failed). Those that failed, or were not reached, are run in a second machine."""
    command = [ROOT / "tests/vm/machine", "run",
               *(f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items())]
    failures, again, steady = NotOk(), NotOk(), set()
    passed, failed = counted([*command, *words], not_ok=failures)
    ids = failures.scenarios()
    reached = [title for title, _ in failures.all if not title.endswith(": not run")]
    if 0 < failed == len(ids) and len(reached) <= AGAIN_MAX:
        print(f"== once more, in a second machine: {' '.join(ids)}", flush=True)
        ok, bad = counted([*command, *ids], not_ok=again)
        steady = set(ids) - set(again.scenarios()) if ok and bad == len(again.all) else set()
    for (title, why), id in itertools.zip_longest(failures.all, ids):
        remember(title + (UNSTEADY if id in steady else ""), why)
    return passed + len(steady), failed - len(steady)


# The kernel guard's, where the programs cannot be LSM programs.
WITHOUT_BPF = "lsm=landlock,lockdown,yama,apparmor"
FMOD_RET = ("kernel_guard.unbind", "kernel_guard.files", "kernel_guard_network.")
GUARD_LONG = ("kernel_guard_above.", "kernel_guard_network.", "kernel_guard_authors.", "kernel_guard_libvirt.", "uses_disk.",
              "uses_nodes.")


# Scenarios that run for each change on the kernel `iommufd`, that integration tests have nearly the same of, or that take
# longest.
REST = ("authorisation.reading_is_free", "authorisation.rule_for_a_function", "authorisation.rules_for_libvirt",
        "authorisation.silent_agents", "authorisation.without_polkit", "cli.monitor", "cli.who_and_what_to_do",
        "config.", "demo.plays_libvirt", "documentation.zpci_io", "external_removal.button_two_holders",
        "external_removal.module", "external_removal.old_descriptors", "inhibit.", "inventory.again_and_again",
        "inventory.in_one_breath", "inventory.nvme_leaves_its_vfs", "io.over_a_restart", "io.refused",
        "io.rules_for_io", "io.slot_power", "io.ten", "io.visitor_loads", "io_end.client_gone",
        "io_end.forbidden_call", "io_end.lingering", "io_end.socket_kept", "kept.", "kernel_guard.attached_again",
        "libvirt.away", "libvirt.killed", "libvirt.managed", "libvirt.network", "libvirt.unknown_holder",
        "libvirt_agent.cancelled", "libvirt_agent.ignores", "libvirt_agent.killed", "libvirt_agent.two_domains",
        "lock.warned_as_it_happens", "manuals.libvirt_hook", "open.", "operations.held",
        "operations.reattached_at_once", "overrun.", "restart.reason_gone_meanwhile", "restart.record_lost",
        "restart.started_again", "restart.stopped", "restart.tampered_meanwhile", "uninstall.readme_uninstall",
        "unit.watchdog_fed", "unplug_with_holders.deaf", "unplug_with_holders.two_vfs", "users.daemonized",
        "users.forked", "users.left_behind", "users.storm", "vf_tokens.")
# The same of s390x.
REST_S390X = ("io.behind_our_back", "io.unplug_stubborn", "mmio.by_hand", "mmio.one_instruction", "page.",
              "slot.behind_our_back_stubborn", "slot.from_outside")


def vm():
    """The scenarios on a real kernel, in the emulated machine, and those of MSIs without interrupt remapping."""
    return total(machine_run(*(f"!{word}" for word in REST)), machine_run("msi", iommu="intel-no-intremap"))


def vm_rest():
    """The scenarios there that the part vm leaves out, and those of vm-s390x; and one of races again, more often."""
    return total(machine_run(*REST, "operations.opened_after_check", append="vfwarden.rounds=100"),
                 machine_run(*REST_S390X, arch="s390x"))


def vm_msi():
    """Those of MSIs with an IOMMU that has nothing to say about interrupts."""
    return machine_run("msi", iommu="virtio")


# Those that open device nodes; the ids of scenarios contain one of these.
IOMMUFD = ("character_devices.", "open.", "vf_tokens.", "qemu.")
IOMMUFD_LONG = ("users.", "unplug_with_holders.", "external_removal.", "hotplug.", "libvirt.", "libvirt_agent.", "io.", "io_end.")


def vm_iommufd():
    """Scenarios of opens on a kernel with iommufd and character devices."""
    return machine_run(*IOMMUFD, vfio="iommufd")


def vm_iommufd_long():
    """Those of users, removals, libvirt and I/O sessions there; and on kernels without groups, and with iommufd's container."""
    return total(machine_run(*IOMMUFD_LONG, vfio="iommufd"),
                 machine_run("opened_by_node", "open_by_node", "s.in_a_socket", "io.", vfio="devices"),
                 machine_run("open.", "users.", "io.", vfio="compat"))


def vm_trixie():
    """All scenarios of a real kernel with Debian 13 in the emulated machine: systemd 257, libvirt 11.3."""
    return machine_run(base="trixie")


def vm_vmm():
    """An unmodified QEMU of Debian unstable, without privilege, with functions by I/O sessions; and a session that loses its
    function in the midst of DMA; and what a session adds to mapping memory."""
    return total(machine_run("vmm.", "dma_end.", vmm="sid"), machine_run("map_cost.", instructions=True))


def vm_packages():
    """The Debian packages in the emulated machines of Debian 12 and 13: installed, upgraded, removed and purged while guests use
    devices; and libvirt confined by AppArmor."""
    return total(machine_run("packages.", "confined.", packages="deb"),
                 machine_run("packages.", "confined.", packages="deb", base="trixie"))


def vm_guides():
    """The guides: each command as it is printed there."""
    return total(machine_run("guides.", long=True), machine_run("qemu_guide.", long=True, vfio="iommufd"),
                 machine_run("guide.", arch="s390x"))


def vm_guard_long():
    """More bridges, and the kernel guard: without `bpf` among the LSMs, on Debian unstable's kernel, beside a hundred starts
    of a libvirt domain, and what it costs."""
    return total(machine_run("bridges.", *FMOD_RET, bridges=True, append=WITHOUT_BPF, long=True),
                 machine_run("kernel_guard.", "kernel_guard_network.", "topology.", kernel="linux-image-amd64/sid", long=True),
                 machine_run(*GUARD_LONG, long=True, append="vfwarden.rounds=100"),
                 machine_run("guard_cost.", instructions=True))


def vm_s390x():
    """Those of zPCI, in the emulated s390x machine."""
    return machine_run("!guide.", *(f"!{word}" for word in REST_S390X), arch="s390x")


def install():
    """README's installations and removals, in bare roots of Debian 12, and the life of the packages."""
    return counted([ROOT / "tests/install/run.py", "bookworm:packages", "bookworm:source"])


def install_rest():
    """The same on Debian 13, and the RPM packages."""
    return counted([ROOT / "tests/install/run.py", "trixie:packages", "trixie:source", "bookworm:rpm"])


def release(name, *tests):
    """Runs the tests in a root of that Debian release; returns (passed, failed)."""
    return counted([ROOT / "tests/releases/run.py", name, *tests])


def plain_trixie():
    """Unit and integration tests on Debian 13."""
    return release("trixie")


def plain_sid():
    """The same on Debian unstable."""
    return release("sid")


def sequences():
    """500 random sequences of what clients do with a function that was opened for them."""
    os.environ["VFWARDEN_SEQUENCES"] = "500"
    return meson(build("stress"), "--timeout-multiplier", "10", "integration-open_sequences")


def stress():
    """The daemon killed at 1,000 random points of mixed operations, and again with its state on a full disk."""
    os.environ["VFWARDEN_KILLS"] = "1000"
    return meson(build("stress"), "--timeout-multiplier", "40", "integration-kill")


# Three groups run side by side, since the machines wait for hardware most of the time, and tests for each other; the next one
# begins where one has ended, so the sides end at about the same time on any computer. The longest stand first. The parts of a
# group share a directory to build in, and run one after the other.
GROUPS = [[vm], [sanitize], [install], [plain, model], [vm_s390x], [vm_iommufd], [fuzz]]
SIDES = 3
# What takes too long for each change: --all.
LONG = [[stress, sequences], [analysis, analysis_of_tests, plain_rest], [sanitize_rest], [install_rest], [plain_trixie], [plain_sid],
        [vm_iommufd_long], [vm_packages], [vm_guard_long], [vm_rest], [vm_guides], [vm_trixie], [vm_vmm], [vm_msi]]
PARTS = {part.__name__.replace("_", "-"): part for group in [*GROUPS, *LONG] for part in group}


def processor_seconds():
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def run_here(name):
    """Returns (passed, failed)."""
    print(f"== {name}: {PARTS[name].__doc__}", flush=True)
    start = time.monotonic()
    try:
        passed, failed = PARTS[name]()
    except subprocess.CalledProcessError as error:
        print(error)
        remember(f"{name}: {error}", "")
        passed, failed = 0, 1
    print(f"== {name}: {passed} ok, {failed} not, {time.monotonic() - start:.0f} s, "
          f"{processor_seconds():.0f} s of processor time", flush=True)
    return passed, failed


def run_apart(name):
    """Runs a part in a process of its own, with its name before each line. Returns (passed, failed)."""
    # What waits most of the time, and takes longest, has the processor when it wants it.
    nice = [] if name.startswith("vm") else ["nice", "-n", "10"]
    return counted([*nice, sys.executable, __file__, name], prefix=f"{name:9} | ")


def run_group(group, wanted):
    counts = [run_apart(name) for name, part in PARTS.items() if part in group and name in wanted]
    return total(*counts)


def run(wanted):
    """Runs parts, here if there is only one, else groups side by side; returns (passed, failed)."""
    if len(wanted) == 1:
        return run_here(wanted[0])
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(SIDES) as pool:
        counts = list(pool.map(lambda group: run_group(group, wanted), [*GROUPS, *LONG]))
    print(f"== {time.monotonic() - start:.0f} s")
    return total(*counts)


def main():
    os.chdir(ROOT)
    if "--all" in sys.argv:
        wanted = list(PARTS)
    else:
        wanted = sys.argv[1:] or [name for name, part in PARTS.items() if any(part in group for group in GROUPS)]
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        sys.exit(f"unknown part {unknown[0]}; there are: {', '.join(PARTS)}")

    with tempfile.TemporaryDirectory() as directory:
        outermost = FAILURES not in os.environ
        os.environ.setdefault(FAILURES, directory)
        passed, failed = run(wanted)
        if outermost:
            say_again()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


sys.exit(main())
