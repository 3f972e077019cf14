"""The Debian packages on a host that runs: installed, upgraded, removed and purged, while guests use devices."""

import contextlib
import os
import pathlib
import pwd
import shutil

from guest import apparmor, project, service
from guest.check import contains, equal, raises, true
from guest.io_client import IoClient
from guest.libvirt import AGENT, HOOK, Libvirt, hostdev
from guest.manual import example
from guest.open_client import OpenClient
from guest.pci import IGB, NVME, SRIOV
from guest.registry import scenario
from guest.vfio import igb_vfs, wait_free
from scenarios.io import RULE as IO_RULE
from scenarios.io_dma import allow as allow_dma, check_identified, open_queue
from scenarios.io_end import io_pids
from scenarios.kernel_guard import guards, loaded, wait_guards
from scenarios.libvirt import inhibitors, unit_state, vfs, wait_inhibitors
from scenarios.open import RULE as OPEN_RULE, brokered

# Put there by host/session.py.
PACKAGES = pathlib.Path("/usr/lib/vfwarden-vm-packages")
NAMES = ("vfwarden", "vfwarden-libvirt")
GUARD = "vfwarden-guard"
# The image has no apt, and all that the packages depend on.
APT = """#!/bin/sh
[ "$1" = --yes ] && shift
action=$1
shift
exec dpkg --force-unsafe-io "--$action" "$@"
"""
PROFILE = "vfwarden-io"
PROFILE_FILE = pathlib.Path("/etc/apparmor.d", PROFILE)
IO_PROGRAM = "/usr/libexec/vfwarden-io"
# VS of NVMe 1.4.0, as QEMU's controller has it.
NVME_VERSION = bytes.fromhex("00040100")
SELF = "vm/scenarios_packages/packages.py"
REFUSED = 6
# What other programs write meanwhile.
PASSED_OVER = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/log", "/var/tmp", "/var/cache", "/var/lib/dpkg", "/var/lib/libvirt",
               "/var/lib/systemd/catalog", "/etc/libvirt", "/usr/lib/vfwarden-vm")
SCRIPTS = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}


def files():
    """All that a package could leave behind, with the users."""
    found = set()
    for directory, subdirectories, names in os.walk("/"):
        subdirectories[:] = [name for name in subdirectories if os.path.join(directory, name) not in PASSED_OVER]
        found.update(os.path.join(directory, name) for name in subdirectories + names if not name.endswith(("-", ".pyc", "__pycache__")))
    return found | {entry.pw_name for entry in pwd.getpwall()}


def dpkg(action, *words):
    # The machine lives for minutes, and its disk is slow.
    print(service.run("dpkg", "--force-unsafe-io", action, *words, env=SCRIPTS).stdout, flush=True)


def stand_in(machine, name):
    """Until the end, `name` is a command that does what apt would do."""
    path = pathlib.Path("/usr/local/bin", name)
    path.write_text(APT)
    path.chmod(0o755)
    machine.closers.append(path.unlink)


def packed(directory, *names):
    return [str(path) for name in names or NAMES for path in directory.glob(f"{name}_*.deb")]


def install(machine, directory=PACKAGES, names=NAMES):
    dpkg("--install", *packed(directory, *names))
    machine.connect()


@contextlib.contextmanager
def without_vfwarden(machine):
    """A host on which nothing of vfwarden is, until the end."""
    with project.kept():
        service.run(str(project.BUILD / "units/uninstall"), "--purge")
        machine.expected_pid = 0
        try:
            yield
        finally:
            service.run("dpkg", "--purge", *NAMES, GUARD, check=False)
            machine.expected_pid = 0
    machine.start_daemon()


def check_units_run(machine, *others):
    for unit in (service.UNIT, *others):
        equal((machine.daemon.property("ActiveState", unit), machine.daemon.property("UnitFileState", unit)),
              ("active", "enabled"), unit)


def check_removed(machine):
    for unit in (service.UNIT, service.SPAWN_UNIT, AGENT):
        equal(machine.daemon.property("LoadState", unit), "not-found", f"what systemd says of {unit}")
    equal(machine.run("pgrep", "--full", "/usr/libexec/vfwarden", check=False).stdout, "", "the processes of vfwarden")


@scenario("the package of the kernel guard: its programs are in force after the installation and an upgrade, and a removal unloads "
          "them and leaves the daemon; installed once more, they are in force", deadline=800)
def kernel_guard(machine):
    with without_vfwarden(machine):
        for directory in (PACKAGES, PACKAGES / "next"):
            install(machine, directory, ("vfwarden", GUARD))
            check_units_run(machine, service.GUARD_UNIT)
            wait_guards(machine, loaded())
        dpkg("--remove", GUARD)
        equal((service.PINS.exists(), machine.daemon.property("LoadState", service.GUARD_UNIT)), (False, "not-found"),
              "the programs and their unit")
        equal(machine.daemon.property("ActiveState"), "active", "the daemon")
        machine.wait(lambda: not any("refused" in guard for guard in guards(machine)), "the daemon to hear that they are gone")
        install(machine, PACKAGES / "next", (GUARD,))
        check_units_run(machine, service.GUARD_UNIT)
        wait_guards(machine, loaded())


def install_apparmor(machine):
    """Without any profile, until the end."""
    apparmor.log_all()
    # Debian 13's package loads what is there, and would confine libvirt.
    service.systemctl("mask", "apparmor.service")
    machine.closers.append(lambda: service.systemctl("unmask", "apparmor.service"))
    dpkg("--install", *packed(PACKAGES / "others", "apparmor"))
    machine.closers.append(lambda: dpkg("--purge", "apparmor"))
    machine.closers.append(apparmor.unload_all)
    apparmor.unload_all()


def profile_mode():
    """None if it is not loaded."""
    return apparmor.profiles().get(PROFILE)


@scenario("AppArmor: sessions with and without DMA run under the package's profile, which refuses another library; a "
          "removal unloads it, and a purge takes it away", deadline=800)
def confined_sessions(machine):
    install_apparmor(machine)
    with without_vfwarden(machine):
        equal(profile_mode(), None, "the profile before the installation")
        install(machine)
        equal(profile_mode(), "(enforce)", "the profile")
        allow_dma(machine)
        client = open_queue(machine)
        check_identified(client)
        pid, = io_pids()
        equal(apparmor.of_process(pid), f"{PROFILE} (enforce)", "the process's profile")
        client.end_session()
        wait_free(machine, NVME)
        machine.daemon.configure("[Io]\nAllowMsix=yes\n")
        service.systemctl("reload", service.UNIT)
        client.open(NVME)
        equal(client.read(0, 8, 4), NVME_VERSION, "the controller's version")
        client.reset()
        client.end_session()
        wait_free(machine, NVME)
        equal(client.load(NVME, 0, 8, 4), NVME_VERSION, "the same over D-Bus")
        wait_free(machine, NVME)
        equal(apparmor.denied(machine, PROFILE), [], "what the profile refused")

        library = shutil.copy("/usr/lib/x86_64-linux-gnu/libz.so.1", "/root")
        said = service.run(IO_PROGRAM, "--version", check=False, env={"LD_PRELOAD": library}).stdout
        contains(said, "cannot be preloaded", "what it says of another library")
        refused = apparmor.denied(machine, PROFILE)
        true(any(f'name="{library}"' in line for line in refused), f"{library} is refused: {refused}")

        machine.expected_pid = 0
        dpkg("--remove", *NAMES)
        equal((profile_mode(), PROFILE_FILE.exists()), (None, True), "the profile after the removal, and its file")
        dpkg("--purge", *NAMES)
        equal(PROFILE_FILE.exists(), False, "its file after the purge")


@scenario("the test `service` of debian/tests passes, as autopkgtest runs it", deadline=600)
def autopkgtest(machine):
    with without_vfwarden(machine):
        dpkg("--install", *packed(PACKAGES, "vfwarden"))
        stand_in(machine, "apt-get")
        print(service.run("sh", str(PACKAGES / "service")).stdout, flush=True)


@scenario("libvirt's host: the packages are installed, upgraded, removed and purged while a domain runs, starts and ends; the "
          "domain is guarded as long as they are there, and the host is as before at the end", deadline=1200)
def libvirt_host(machine):
    vf, other = vfs(machine, 2)
    with without_vfwarden(machine):
        libvirt = Libvirt(machine, options=None)
        scope = libvirt.define("web1", hostdev(vf))
        libvirt.define("web2", hostdev(other))
        libvirt.define("web3", hostdev(vf))
        libvirt.start("web1")
        pid = machine.run("pgrep", "--full", "guest=web1").stdout
        before = files()

        def check_guest():
            equal(libvirt.virsh("domstate", "web1").stdout.strip(), "running", "web1")
            equal(machine.run("pgrep", "--full", "guest=web1").stdout, pid, "the process of web1")

        install(machine)
        check_guest()
        check_units_run(machine, AGENT)
        libvirt.wait_agent()
        machine.wait_property(vf, "InUse", True)
        machine.wait_property(IGB, "Locked", True)
        wait_inhibitors(machine, [(vf.address, "domain web1")])
        true(libvirt.start("web3", check=False).returncode != 0, "a second domain cannot have the function")
        libvirt.start("web2")
        wait_inhibitors(machine, [(vf.address, "domain web1"), (other.address, "domain web2")])

        modes = machine.attributes(IGB.path("sriov_numvfs"))
        daemon = machine.daemon.pid()
        install(machine, PACKAGES / "next")
        check_guest()
        equal((machine.daemon.pid() != daemon, modes.changes), (True, []), "another process, and changes of the lock's modes")
        check_units_run(machine, AGENT)
        libvirt.wait_agent()
        wait_inhibitors(machine, [(vf.address, "domain web1"), (other.address, "domain web2")])
        libvirt.destroy("web2")
        wait_inhibitors(machine, [(vf.address, "domain web1")])
        libvirt.start("web2")
        machine.wait_property(other, "InUse", True)

        machine.expected_pid = 0
        dpkg("--remove", *NAMES)
        check_guest()
        check_removed(machine)
        IGB.check_closed()
        # With the configuration that is left.
        install(machine, PACKAGES / "next")
        check_guest()
        check_units_run(machine, AGENT)
        wait_inhibitors(machine, [(vf.address, "domain web1"), (other.address, "domain web2")])
        machine.expected_pid = 0
        dpkg("--remove", *NAMES)
        check_removed(machine)
        equal(unit_state(scope), "inactive", "the guard of web1")
        equal(HOOK.exists(), True, "whether the hook is a file that stays until the purge")
        libvirt.destroy("web2")
        libvirt.start("web2")
        service.systemctl("restart", "libvirtd.service")
        check_guest()

        dpkg("--purge", *NAMES)
        check_guest()
        equal(sorted(files() - before), [], "what is left")
        equal(sorted(before - files()), [], "what is missing")
        for path in ("/run/vfwarden", "/run/vfwarden-guard", "/run/vfwarden-spawn.socket", "/etc/vfwarden", HOOK):
            equal(os.path.lexists(path), False, f"whether {path} is there")
        raises(KeyError, lambda: pwd.getpwnam("vfwarden"), "looking for its user")
        libvirt.destroy("web1")
        libvirt.start("web1")
        libvirt.close()


@scenario("guide: a host whose libvirt guests run already", deadline=1200)
def libvirt_guide(machine):
    vf, _ = vfs(machine, 2)
    # The page goes with what is installed here now.
    installing, looking, hook, enforcing, undoing = (
        example(machine, "libvirt-install", SELF), example(machine, "libvirt-look", SELF), example(machine, "libvirt-hook", SELF),
        example(machine, "libvirt-enforce", SELF), example(machine, "libvirt-undo", SELF))
    stand_in(machine, "apt")
    with without_vfwarden(machine), contextlib.chdir(PACKAGES):
        libvirt = Libvirt(machine, options=None)
        libvirt.define("web1", hostdev(vf))
        libvirt.start("web1")
        with installing as session:
            for _ in range(3):
                session.run()
            machine.connect()
            machine.wait_property(vf, "InUse", True)
            session.run_all()
        with looking as session:
            session.run()
            session.run(status=REFUSED)
            session.run()
        with hook as session:
            session.run()
            wait_inhibitors(machine, [(vf.address, "domain web1")])
            session.run()
        with enforcing as session:
            session.run()
            session.run()
            session.run(status=2)
        machine.expected_pid = 0
        with undoing as session:
            session.run_all()
        check_removed(machine)
        equal(libvirt.virsh("domstate", "web1").stdout.strip(), "running", "web1")
        IGB.check_closed()
        libvirt.close()


@scenario("an upgrade loses no session, lease, inhibitor or lock, and leaves no gap; one of a stopped daemon does not start it",
          deadline=1200)
def upgrade_under_load(machine):
    with without_vfwarden(machine):
        install(machine)
        session_vf, lease_vf, inhibited = igb_vfs(machine, 3)
        machine.daemon.configure("[Io]\nAllowMsix=yes\n")
        service.systemctl("reload", service.UNIT)
        machine.add_polkit_rule(IO_RULE + OPEN_RULE)
        session, lease = IoClient(machine), OpenClient(machine)
        session.open(session_vf)
        session.read_for_ever(0, 0, 4)
        # Whenever nobody else wants the machine's one processor: dpkg would take minutes in competition with it.
        os.sched_setscheduler(session.pid, os.SCHED_IDLE, os.sched_param(0))
        lease.open(lease_vf)
        lease.device(lease_vf)
        register = lease.read()
        holding = machine.client.inhibit(inhibited.address, "reset", "the load")
        machine.client.lock(NVME.address, "until the audit is over")
        machine.wait_property(NVME, "LockWhy", "until the audit is over")
        machine.wait_property(IGB, "Locked", True)
        closed = {function: machine.property(function, "ClosedFiles") for function in (IGB, NVME)}
        watched = [machine.attributes(function.path(name)) for function in (IGB, NVME) for name in SRIOV]
        before, daemon = session.progress(), machine.daemon.pid()

        install(machine, PACKAGES / "next")
        equal(machine.daemon.pid() != daemon, True, "whether the daemon is another process")
        check_units_run(machine, AGENT)
        equal([watch.changes for watch in watched], [[]] * len(watched), "changes of the modes of locked files")
        for function, names in closed.items():
            equal(machine.property(function, "ClosedFiles"), names, f"the locked files of {function}")
        equal((machine.property(NVME, "LockReasons"), machine.property(NVME, "LockWhy")),
              (["administrator"], "until the audit is over"), "the administrator's lock")
        equal(inhibitors(machine), [(inhibited.address, "the load")], "the inhibitors")
        equal(brokered(machine, lease_vf), [(lease.pid, True)], "the lease")
        equal(lease.read(), register, "the register that the lease reads")
        true(session.progress() > before, "the session goes on")
        os.close(holding)
        wait_inhibitors(machine, [])

        machine.stop_daemon()
        service.systemctl("stop", AGENT)
        dpkg("--install", *packed(PACKAGES / "next"))
        equal(machine.daemon.property("ActiveState"), "inactive", "the daemon, which an administrator had stopped")
        equal(machine.daemon.property("ActiveState", AGENT), "inactive", "the agent")
        NVME.check_closed(*closed[NVME])
        dpkg("--remove", *NAMES)
        for function in (IGB, NVME):
            function.check_closed()
        check_removed(machine)
