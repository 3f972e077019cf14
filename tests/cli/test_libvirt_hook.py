"""libvirt-hook: what libvirt runs when a domain starts and ends. systemd has a stand-in of its own."""

import json
import os
import select
import signal
import subprocess
import threading
import time

from gi.repository import GLib

import pace
from private_bus import NAME
from raw_client import RawClient
from scopes import Systemd
from standin import CommandTest, DBusError, DEADLINE, encode
import pictures
from pictures import IGB, IGB_VF0, IGB_VF1, NVME

UUID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
OTHER_UUID = "6ba7b810-9dad-41d1-80b4-00c04fd430c9"
SCOPE = f"vfwarden-domain-{UUID}.scope"
WHAT = "set-num-vfs:set-autoprobe:bind:unbind:reset:remove:power-off:disable-pasid:open"
WHY = "the function is given to it"
ALLOWED = ([], [])
RECONNECT_FAILED = "4 Failed to guard the PCI functions of the running domain web1: "


def source(address):
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    return (f"<source><address domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/>"
            "</source>")


def hostdev(address, managed="yes"):
    return f"<hostdev mode='subsystem' type='pci' managed='{managed}'>{source(address)}</hostdev>"


def domain(*devices, uuid=UUID):
    return f"<domain type='qemu'><name>web1</name><uuid>{uuid}</uuid><devices>{''.join(devices)}</devices></domain>"


class HookTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.stand_in = self.start_daemon(pictures.host())
        self.stand_in.verdicts["open"] = ALLOWED
        self.found = os.path.join(self.directory, "systemd")
        os.mkdir(self.found)
        self.environment.update(LD_PRELOAD=os.environ["VFWARDEN_SYSTEMD_LIBRARY"], VFWARDEN_SYSTEMD=self.found)
        self.systemd = Systemd(self.bus, self.found)
        self.addCleanup(self.systemd.close)

    def hook(self, operation, xml, *options, name="web1", suboperation="begin"):
        """Exit code and what it said; like libvirt, waits until nobody has its output open."""
        done = subprocess.run(self.argv(["libvirt-hook", *options, "--", name, operation, suboperation, "-"]),
                              env=self.environment, input=xml.encode(), timeout=DEADLINE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.stdout, b"")  # libvirt would take it for another XML
        return done.returncode, done.stderr.decode()

    def journal(self):
        """The messages that the journal got since it was asked last, each with its priority."""
        path = os.path.join(self.found, "journal")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        os.unlink(path)
        return lines

    def inhibited(self):
        """The arguments of each call that inhibits."""
        return [c[2] for c in self.stand_in.calls if c[0] == "InhibitMany"]

    def has_ended(self, number=-1, wait=0.0):
        """Whether the inhibitor that was the `number`th to be made has ended."""
        poll = select.poll()
        poll.register(self.stand_in.inhibited[number], 0)
        return bool(poll.poll(wait * 1000))


class Start(HookTest):
    def test_a_domain_is_guarded_until_its_release(self):
        xml = domain(hostdev(IGB_VF0), hostdev(IGB_VF1))
        self.assertEqual(self.hook("prepare", xml), (0, ""))
        self.assertEqual(self.inhibited(), [([IGB_VF0, IGB_VF1], WHAT, "domain web1", WHY,
                                             {"check": "open", "mode": "delay"})])
        self.assertEqual(list(self.systemd.scopes), [SCOPE])
        self.assertIn("web1", self.systemd.scopes[SCOPE]["Description"])
        self.assertFalse(self.has_ended(0))
        for operation, suboperation in (("started", "begin"), ("stopped", "end")):
            self.assertEqual(self.hook(operation, xml, suboperation=suboperation), (0, ""))
        self.assertFalse(self.has_ended(0))
        # What was detached meanwhile is not in the XML any more.
        self.assertEqual(self.hook("release", domain(), suboperation="end"), (0, ""))
        self.assertTrue(self.has_ended(0, DEADLINE))
        self.assertEqual(self.hook("release", xml, suboperation="end"), (0, ""))

    def test_nothing_to_guard(self):
        self.stand_in.close()
        for devices in ((), ("<hostdev mode='subsystem' type='usb'><source><vendor id='0x1'/></source></hostdev>",
                             "<interface type='network'><source network='pool'/></interface>",
                             "<disk type='file'><source file='/x'/></disk>"),
                        ("<interface type='hostdev'><source><address type='usb' bus='1' device='2'/></source></interface>",)):
            self.assertEqual(self.hook("prepare", domain(*devices)), (0, ""))
        self.assertEqual(self.hook("migrate", "nothing that is XML"), (0, ""))

    def test_shared_devices_are_not_guarded(self):
        xml = domain(hostdev(IGB_VF0), "<interface type='direct'><source dev='eth0'/></interface>",
                     "<interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/></interface>",
                     "<hostdev type='mdev'><source><address uuid='x'/></source></hostdev>")
        self.assertEqual(self.hook("prepare", xml), (0, "vfwarden: Domain web1: not guarded: mdev, vDPA, macvtap\n"))
        self.assertEqual([c[0] for c in self.inhibited()], [[IGB_VF0]])
        self.assertEqual(self.hook("reconnect", xml), (0, ""))

    def test_an_iommufd_domain(self):
        xml = domain(hostdev(IGB_VF0).replace("<source>", "<driver name='vfio' iommufd='yes'/><source>"))
        self.assertEqual(self.hook("prepare", xml), (0, ""))
        self.assertEqual([c[0] for c in self.inhibited()], [[IGB_VF0]])

    def test_ways_to_give_a_function(self):
        xml = domain(
            f"<interface type='hostdev' managed='yes'>{source(IGB_VF0).replace('<address', '<address type=%s' % repr('pci'))}</interface>",
            f"<disk type='nvme'>{source(NVME).replace('<source', '<source type=%s managed=%s namespace=%s' % (repr('pci'), repr('yes'), repr('1')))}</disk>",
            f"<disk type='nvme'>{source(NVME).replace('<source', '<source namespace=%s' % repr('2'))}</disk>",
            "<hostdev type='pci'><source><address bus='1' slot='0x10' function='2'/></source></hostdev>")
        self.assertEqual(self.hook("prepare", xml), (0, ""))
        self.assertEqual([c[0] for c in self.inhibited()], [[IGB_VF0, NVME, IGB_VF1]])

    def test_what_a_network_gives_is_guarded_at_start(self):
        self.hook("prepare", domain(hostdev(IGB_VF0)))
        first = self.systemd.pid(SCOPE)
        self.stand_in.inhibitors = [(IGB_VF0, WHAT, "domain web1", WHY, 0, first)]
        self.assertEqual(self.hook("start", domain(hostdev(IGB_VF0))), (0, ""))
        self.assertTrue(self.has_ended(1, DEADLINE))    # all are guarded already
        self.assertFalse(self.has_ended(0))
        self.assertEqual(self.systemd.pid(SCOPE), first)
        xml = domain(hostdev(IGB_VF0), f"<interface type='hostdev' managed='yes'>{source(IGB_VF1)}</interface>")
        self.assertEqual(self.hook("start", xml), (0, ""))
        self.assertEqual([c[0] for c in self.inhibited()], [[IGB_VF0], [IGB_VF0], [IGB_VF0, IGB_VF1]])
        self.assertTrue(self.has_ended(0, DEADLINE))
        self.assertFalse(self.has_ended(2))
        self.assertNotEqual(self.systemd.pid(SCOPE), first)

    def test_what_was_left_of_a_former_run_is_replaced(self):
        xml = domain(hostdev(IGB_VF0))
        self.hook("prepare", xml)
        self.assertEqual(self.hook("prepare", xml), (0, ""))
        self.assertTrue(self.has_ended(0, DEADLINE))
        self.assertFalse(self.has_ended(1))

    def test_nothing_waits_for_the_daemons_answer(self):
        """On a busy bus each round takes its time, so one call asks for all, and systemd is asked meanwhile."""
        def answer(*arguments):
            deadline = time.monotonic() + DEADLINE
            while not self.systemd.jobs and time.monotonic() < deadline:
                time.sleep(0.01)
            started.append(self.systemd.jobs)
            return self.stand_in._InhibitMany(*arguments)   # pylint: disable=protected-access
        started = []
        self.stand_in.answers["InhibitMany"] = answer
        self.assertEqual(self.hook("prepare", domain(hostdev(IGB_VF0), hostdev(IGB_VF1))), (0, ""))
        self.assertEqual(started, [1])
        self.assertEqual([c[0] for c in self.stand_in.calls], ["InhibitMany"])

    def test_names(self):
        """The daemon takes no name with characters that act on who reads it, and systemd only valid ones."""
        for name, who in (("--help", "domain --help"), ("\u00e4" * 200, "domain " + "\u00e4" * 123 + "..."),
                          ("a\tb", "domain a b"), ("a\u200fb", "domain a   b"), (b"a\xff", "domain a\ufffd")):
            self.assertEqual(self.hook("prepare", domain(hostdev(IGB_VF0)), name=name), (0, ""))
            self.assertEqual(self.inhibited()[-1][2], who)
            self.assertEqual(self.systemd.scopes[SCOPE]["Description"], f"Guard of the PCI functions of the {who}")


class Refusal(HookTest):
    def refused(self, blockers, xml=None):
        """What is said of these blockers."""
        self.stand_in.verdicts["open"] = (blockers, [])
        code, error = self.hook("prepare", xml or domain(hostdev(IGB_VF0)))
        self.assertEqual(code, 6)
        self.assertTrue(self.has_ended(-1, DEADLINE))
        self.assertEqual(self.systemd.scopes, {})
        return error

    def allowed(self, blockers, xml=None):
        self.stand_in.verdicts["open"] = (blockers, [])
        self.assertEqual(self.hook("prepare", xml or domain(hostdev(IGB_VF0))), (0, ""))
        self.assertEqual(self.hook("release", domain(), suboperation="end"), (0, ""))

    def test_by_name(self):
        cannot = f"vfwarden: Domain web1 cannot have {IGB_VF0}: "
        self.assertEqual(
            self.refused([("user", IGB_VF0, "in use by qemu (pid 7, virtual machine db9)", 7)]),
            cannot + "in use by qemu (pid 7, virtual machine db9)\n")
        self.assertEqual(
            self.refused([("inhibitor", "domain db9", "inhibits open: it has it", 7),
                          ("operation", IGB, "it is being taken away (draining)", 0)]),
            cannot + "domain db9 inhibits open: it has it\n" +
            cannot + f"{IGB}: it is being taken away (draining)\n")

    def test_the_driver_of_a_managed_function_does_not_count(self):
        self.check_driver("driver")

    def test_nor_does_it_as_an_older_daemon_says_it(self):
        self.check_driver("group")

    def check_driver(self, kind):
        bound = (kind, IGB_VF0, "bound to igbvf, not to a VFIO driver", 0)
        peer = (kind, IGB_VF1, "shares the IOMMU group and is bound to igbvf", 0)
        self.allowed([bound])
        self.assertIn("bound to igbvf, not", self.refused([bound], domain(hostdev(IGB_VF0, "no"))))
        self.assertIn("shares the IOMMU group", self.refused([bound, peer]))
        self.allowed([bound, peer], domain(hostdev(IGB_VF0), hostdev(IGB_VF1)))
        self.refused([bound, peer], domain(hostdev(IGB_VF0), hostdev(IGB_VF1, "no")))
        self.refused([("group", IGB_VF1, "shares the IOMMU group and is in use by qemu", 7)],
                     domain(hostdev(IGB_VF0), hostdev(IGB_VF1)))

    def test_the_domains_own_inhibitor_does_not_count(self):
        for kind in ("inhibitor", "delay"):
            self.stand_in.verdicts["open"] = ALLOWED
            self.hook("prepare", domain(hostdev(IGB_VF0)))
            self.allowed([(kind, "domain web1", "inhibits open: it has it", self.systemd.pid(SCOPE))])
            self.refused([(kind, "domain web", "inhibits open: it has it", 7)])

    def test_an_inhibitor_of_the_same_name_is_not_the_domains_own(self):
        """Everybody who may inhibit chooses a name."""
        self.systemd.tell_unit(8, f"vfwarden-domain-{OTHER_UUID}.scope")
        for kind in ("inhibitor", "delay"):
            for pid in (7, 8, 0):
                said = self.refused([(kind, "domain web1", "inhibits open: it has it", pid)])
                self.assertIn(f"cannot have {IGB_VF0}: domain web1 inhibits open: it has it", said)

    def test_obstacles_that_are_not_listed(self):
        self.stand_in.more = 3
        self.assertIn("there are 3 more obstacles", self.refused([]))


class Unguarded(HookTest):
    XML = domain(hostdev(IGB_VF0))

    def both_ways(self, code, *said):
        """It fails with `code`, or does not, as configured; and tells `said`. All within 2 s."""
        for words, expected in (((), code), (("--unguarded=allow",), 0)):
            begin = time.monotonic()
            got, error = self.hook("prepare", self.XML, *words)
            took = time.monotonic() - begin
            self.assertLess(took, 2 + pace.at_most(0.5))
            self.assertEqual(got, expected, error)
            for text in said:
                self.assertIn(text, error)
            self.assertIn("starts and is not guarded" if expected == 0 else "is not started", error)
            begins = "4 Domain web1 starts, and its PCI functions are not guarded: "
            self.assertEqual([line[:len(begins)] for line in self.journal()], [begins] if expected == 0 else [])
            self.assertEqual(self.systemd.scopes, {})

    def test_no_daemon(self):
        self.stand_in.close()
        self.both_ways(5, "vfwarden is not installed")

    def test_no_bus(self):
        self.environment["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=/nonexistent"
        self.both_ways(5, "Cannot reach the system bus")

    def test_a_daemon_that_hangs(self):
        self.stand_in.close()
        hanging = RawClient(self.bus.address)
        self.addCleanup(hanging.close)
        hanging.send("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName",
                     GLib.Variant("(su)", (NAME, 4)))
        hanging.read_replies([2])
        self.both_ways(8, "Cannot inhibit anything: vfwardend did not answer in time")

    def test_a_daemon_that_hangs_later(self):
        """It has answered once, so it is not away: polkit may take its time."""
        self.stand_in.answers["InhibitMany"] = lambda *_: self.stand_in.NO_REPLY
        code, error = self.hook("prepare", self.XML, "--unguarded=refuse")
        self.assertEqual(code, 8)
        self.assertIn("Cannot inhibit anything", error)

    def test_an_inhibitor_that_is_refused(self):
        def fail(*_):
            raise DBusError("org.freedesktop.DBus.Error.LimitsExceeded", "too many inhibitors")
        self.stand_in.answers["InhibitMany"] = fail
        self.both_ways(7, "vfwarden: Cannot inhibit anything: too many inhibitors\n")

    def test_a_function_that_is_not_there(self):
        self.XML = domain(hostdev("0000:09:00.0"))
        self.both_ways(3, "There is no PCI function 0000:09:00.0")

    def test_an_older_daemon(self):
        def fail(*_):
            raise DBusError("org.freedesktop.DBus.Error.UnknownMethod", "Unknown method InhibitMany")
        self.stand_in.answers["InhibitMany"] = fail
        self.both_ways(10, "vfwardend is older than this command")

    def test_errors_as_json(self):
        self.stand_in.verdicts["open"] = ([("user", IGB_VF0, "in use by qemu", 7)], [])
        code, error = self.hook("prepare", self.XML, "--json")
        self.assertEqual((code, json.loads(error)["Message"]), (6, f"Domain web1 cannot have {IGB_VF0}: in use by qemu"))

    def test_no_scope(self):
        self.systemd.result = "failed"
        self.both_ways(1, f"Cannot start {SCOPE}: systemd's job: failed")
        self.assertTrue(self.has_ended(-1, DEADLINE))

    def test_xml_that_is_not_understood(self):
        for xml, why in (("", "it is no XML of a domain"), ("<domain/>", "it has no UUID"), ("<a>", "no XML"),
                         (domain(uuid="x"), "it has no UUID"),
                         (domain("<hostdev type='pci'><source/></hostdev>"), "the <hostdev> has no address"),
                         (domain(hostdev("0000:01:1f.8")), "is not a PCI address"),
                         (domain(hostdev("0000:01:1g.0")), "the address has what is no number")):
            self.XML = xml
            self.both_ways(1, why)

    def test_a_hook_that_is_killed_leaves_nothing(self):
        self.systemd.result = None
        with subprocess.Popen(self.argv(["libvirt-hook", "web1", "prepare", "begin", "-"]),
                              env=self.environment, stdin=subprocess.PIPE) as process:
            process.stdin.write(self.XML.encode())
            process.stdin.close()
            end = time.monotonic() + DEADLINE
            while not (self.stand_in.inhibited and self.systemd.jobs) and time.monotonic() < end:
                time.sleep(0.01)
            process.kill()
        self.assertTrue(self.has_ended(-1, DEADLINE))

    def test_usage(self):
        self.check(["libvirt-hook", "web1"], code=2, error=(
            "vfwarden: libvirt-hook needs what libvirt tells its hooks: vfwarden libvirt-hook DOMAIN OPERATION "
            "SUB-OPERATION EXTRA, and XML on standard input\n"))
        self.check(["libvirt-hook", "--unguarded=no", "web1"], code=2, error=(
            "vfwarden: --unguarded takes allow or refuse, not 'no'\nTry \"vfwarden --help\".\n"))
        self.check(["-H", "far", "libvirt-hook", "web1", "prepare"], code=2, error=(
            "vfwarden: The guard of a domain is a process of the domain's host, so there is no libvirt-hook for "
            "another one\n"))


class Life(HookTest):
    """What the guard sees while the domain runs."""

    def use(self, in_use, address=IGB_VF0):
        self.stand_in.changed(address, "org.vfwarden1.Function", InUse=GLib.Variant("b", in_use))

    def test_an_unplug_without_an_agent_is_refused(self):
        refused = threading.Event()
        self.stand_in.answers["RefuseUnplug"] = lambda why: refused.set()
        path = encode(IGB_VF0)
        self.assertEqual(self.hook("prepare", domain(hostdev(IGB_VF0))), (0, ""))
        # An external removal, which the kernel tells QEMU of, and another function are not its business.
        self.stand_in.emit(path, "org.vfwarden1.Function", "UnplugRequested", "(t)", (0,))
        self.stand_in.emit(encode(IGB_VF1), "org.vfwarden1.Function", "UnplugRequested", "(t)", (1,))
        self.stand_in.emit(path, "org.vfwarden1.Function", "UnplugRequested", "(t)", (1,))
        self.assertTrue(refused.wait(DEADLINE))
        (_, called, (why,), _), = [c for c in self.stand_in.calls if c[0] == "RefuseUnplug"]
        self.assertEqual(called, path)
        self.assertIn("domain web1 has it, and vfwarden-libvirt.service", why)

    def test_reconnect_finds_the_guard_that_runs(self):
        xml = domain(hostdev(IGB_VF0))
        self.hook("prepare", xml)
        guard = self.systemd.pid(SCOPE)
        self.stand_in.close()       # and the daemon was restarted, too
        self.stand_in = self.start_daemon(pictures.host())
        self.stand_in.inhibitors = [(IGB_VF0, WHAT, "domain web1", WHY, 0, guard)]
        self.assertEqual(self.hook("reconnect", xml), (0, ""))
        self.assertTrue(self.has_ended(0, DEADLINE))
        self.assertEqual(self.systemd.pid(SCOPE), guard)

    def test_reconnect_takes_no_other_process_for_the_guard(self):
        xml = domain(hostdev(IGB_VF0))
        self.stand_in.inhibitors = [(IGB_VF0, WHAT, "domain web1", WHY, 0, 7)]
        self.assertEqual(self.hook("reconnect", xml), (0, ""))
        self.assertEqual(list(self.systemd.scopes), [SCOPE])
        self.assertFalse(self.has_ended(0))

    def test_reconnect_never_fails(self):
        xml = domain(hostdev(IGB_VF0))
        self.stand_in.verdicts["open"] = ([("user", IGB_VF0, "in use by itself", 7)], [])
        self.assertEqual(self.hook("reconnect", xml), (0, ""))
        self.assertEqual(list(self.systemd.scopes), [SCOPE])
        self.assertEqual(self.journal(), [])
        self.assertEqual(self.hook("reconnect", "no XML")[0], 0)
        self.assertEqual(self.journal(), [RECONNECT_FAILED + "failed"])
        self.stand_in.close()
        self.assertEqual(self.hook("reconnect", xml)[0], 0)
        self.assertEqual(self.journal(), [RECONNECT_FAILED + "the daemon cannot be reached: not running, not installed, no bus"])
        self.assertEqual(self.hook("reconnect", domain())[0], 0)
        self.assertEqual(self.journal(), [])

    def test_what_the_domain_lets_go_of_is_let_go_of(self):
        self.hook("prepare", domain(hostdev(IGB_VF0), hostdev(IGB_VF1)))
        guard = self.systemd.pid(SCOPE)
        self.use(False)
        self.use(True)
        self.use(True, IGB_VF1)
        self.assertFalse(self.has_ended(0, 0.2))
        self.use(False)
        self.assertTrue(self.has_ended(0, DEADLINE))
        self.assertEqual([c[0] for c in self.inhibited()], [[IGB_VF0, IGB_VF1], [IGB_VF1]])
        self.assertFalse(self.has_ended(1))
        self.use(False, IGB_VF1)
        self.assertTrue(self.has_ended(1, DEADLINE))
        self.assertFalse(os.path.exists(f"/proc/{guard}/fd/0"))

    def test_what_cannot_be_inhibited_alone_stays_inhibited(self):
        def fail(*_):
            raise DBusError("org.freedesktop.DBus.Error.LimitsExceeded", "too many inhibitors")
        self.hook("prepare", domain(hostdev(IGB_VF0), hostdev(IGB_VF1)))
        self.stand_in.answers["InhibitMany"] = fail
        self.use(True)
        self.use(False)
        self.assertFalse(self.has_ended(0, 0.2))
        del self.stand_in.answers["InhibitMany"]
        self.use(True, IGB_VF1)     # the next event is another try
        self.assertTrue(self.has_ended(0, DEADLINE))
        self.assertFalse(self.has_ended(1))

    def test_the_daemon_may_go_meanwhile(self):
        self.hook("prepare", domain(hostdev(IGB_VF0)))
        self.use(True)
        self.stand_in.connection.close_sync(None)
        self.assertFalse(self.has_ended(0, 0.2))
        self.bus.close()
        self.assertFalse(self.has_ended(0, 0.2))
        os.kill(self.systemd.pid(SCOPE), signal.SIGTERM)
        self.assertTrue(self.has_ended(0, DEADLINE))
