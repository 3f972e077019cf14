"""The verbs of `machine`. Each verb returns the exit status."""

import shutil
import sys
import time

import pace

from host import debian, vfio_modules
from host.common import SOURCE_DIR, Failure, need_programs, say
from host.session import HARDWARE_OPTIONS, OPTIONS, Lost, Parts, Session
from host.target import TARGETS

sys.path.append(str(SOURCE_DIR / "tests/install"))
import packages  # noqa: E402

PROGRAMS = {
    "mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "depmod": "kmod", "dpkg-deb": "dpkg",
    "apt-get": "apt", "meson": "meson", "ninja": "ninja-build", "cc": "gcc",
}
CROSS_PROGRAMS = {
    "s390x-linux-gnu-gcc": "gcc-s390x-linux-gnu", "pkg-config": "pkg-config",
    "systemd-sysusers": "systemd",
}
# Beyond a scenario's own deadline, which the guest keeps: only a guest that hangs gets so far.
GRACE = 60


def parts(options):
    target = TARGETS[options.arch]
    if target.foreign and options.vfio != "packaged":
        raise Failure(f"--vfio {options.vfio} is for the machine of this host's architecture")
    if target.foreign and options.vmm:
        raise Failure("--vmm is for the machine of this host's architecture")
    need_programs({**PROGRAMS, **(CROSS_PROGRAMS if target.foreign else {}),
                   **(vfio_modules.PROGRAMS if options.vfio != "packaged" else {})})
    if target.foreign and options.base:
        raise Failure("--base is for the machine of this host's architecture")
    return Parts(target, options.kernel, options.vfio, options.base or debian.SUITE, options.vmm)


def build(options):
    made = parts(options)
    say(f"machine: QEMU {'.'.join(map(str, made.qemu.version))}, kernel {made.kernel.name}")
    return 0


def boot(session, options):
    """Waits for the guest's first word."""
    say("machine: booting")
    session.receive(options.boot_deadline, "booting")
    say(f"machine: up after {time.monotonic() - options.started:.0f} s")


def new_session(options, **kwargs):
    made = parts(options)
    arguments = [*kwargs.pop("arguments", ()), *options.append.split()]
    wanted = [name for name in OPTIONS if getattr(options, name)]
    for name in wanted:
        if name in HARDWARE_OPTIONS and not hasattr(made.target.hardware, HARDWARE_OPTIONS[name]):
            raise Failure(f"the {options.arch} machine has no --{name}")
    return Session(made, iommu_of(options), wanted, with_project=not options.without_project, arguments=arguments,
                   packages=packages.built(options.base or debian.SUITE) if options.packages else None, **kwargs)


def iommu_of(options):
    """The one asked for, or the machine's usual one."""
    known = list(TARGETS[options.arch].hardware.IOMMUS)
    if options.iommu and options.iommu not in known:
        raise Failure(f"the {options.arch} machine knows --iommu {', '.join(known)}")
    return options.iommu or known[0]


def runner_arguments(options):
    """The kernel's, for a machine that works by itself."""
    return ["systemd.wants=vfwarden-vm-journal.service", "systemd.wants=vfwarden-vm-runner.service",
            f"systemd.mask=serial-getty@{TARGETS[options.arch].hardware.CONSOLE}.service"]


def run(options):
    session = new_session(options, arguments=runner_arguments(options))
    with session:
        report = Report(session)
        try:
            boot(session, options)
            session.send({"verb": "run", "scenarios": options.scenarios, "scale": pace.SCALE})
            report.follow()
        except Lost as lost:
            report.lost(str(lost))
    return report.finish(options.keep)


class Report:
    """Prints results as they come, and counts them."""

    def __init__(self, session):
        self.session = session
        self.left = {}
        self.passed = self.failed = 0
        self.current = None
        self.complaint = None

    def follow(self):
        deadline = GRACE
        while True:
            doing = f"running {self.current}" if self.current else "starting to run scenarios"
            message = self.session.receive(deadline, doing)
            kind = message["type"]
            if kind == "plan":
                self.left = {id: (title, limit) for id, title, limit in message["scenarios"]}
            elif kind == "begin":
                self.current = message["id"]
                deadline = self.left[self.current][1] + GRACE
            elif kind == "result":
                self.result(message["id"], message["ok"], message["seconds"], message["message"])
                self.current = None
            elif kind == "error":
                self.lost(message["message"])
                return
            elif kind == "done":
                self.session.wait_for_journal("end of run")
                return

    def result(self, id, ok, seconds, text):
        title, _ = self.left.pop(id)
        self.passed, self.failed = self.passed + ok, self.failed + (not ok)
        number = self.passed + self.failed
        print(f"{'ok' if ok else 'not ok'} {number} - {title} ({id}, {seconds:.1f} s)", flush=True)
        if not ok:
            print("".join(f"  # {line}\n" for line in text.splitlines()), end="", flush=True)
            self.session.wait_for_journal(f"end {id}")
            self.session.show_logs(f"begin {id}", console=False)

    def lost(self, why):
        """No more results will come: what was planned and did not run has failed."""
        self.complaint = why
        for id in list(self.left):
            title, _ = self.left.pop(id)
            self.failed += 1
            print(f"not ok {self.passed + self.failed} - {title} ({id}): "
                  + (why if id == self.current else "not run"), flush=True)

    def finish(self, keep):
        if self.complaint:
            say(f"machine: {self.complaint}")
            self.session.show_logs()
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        good = self.passed > 0 and self.failed == 0 and not self.complaint
        if good and not keep:
            self.session.drop_logs()
        else:
            self.session.split_daemon_log()
            say(f"machine: console, journal, the daemon's own log and QEMU's words are in {self.session.logs}")
        return 0 if good else 1


def need_terminal():
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failure("this needs a terminal")


def on_console(options, extra):
    size = shutil.get_terminal_size()
    session = new_session(options, console=True, arguments=[
        f"vfwarden.terminal={size.columns}x{size.lines}", *extra])
    say("machine: booting, in half a minute you are root on it; Ctrl-A X switches it off")
    with session:
        session.wait_until_left()
    session.drop_logs()
    return 0


def shell(options):
    need_terminal()
    return on_console(options, [])


def demo(options):
    if sys.stdin.isatty() and sys.stdout.isatty():
        return on_console(options, ["vfwarden.demo=libvirt" if options.libvirt else "vfwarden.demo"])
    session = new_session(options, arguments=runner_arguments(options))
    status = 1
    with session:
        try:
            boot(session, options)
            session.send({"verb": "demo", "options": ["--libvirt"] if options.libvirt else []})
            while True:
                message = session.receive(GRACE, "playing the demo")
                if message["type"] == "exit":
                    status = message["status"]
                    break
                print(message["text"], end="", flush=True)
        except Lost as lost:
            say(f"machine: {lost}")
        if status != 0:
            session.show_logs()
    if status == 0:
        session.drop_logs()
    return status
