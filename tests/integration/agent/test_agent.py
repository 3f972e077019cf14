#!/usr/bin/python3
"""vfwarden-libvirt: which guests are asked, how a release or a refusal ends an unplug, and that nothing is left behind.
A directory stands in for libvirt, see support/agent-standin.c."""

import os
import subprocess
from xml.etree import ElementTree

import fixtures
from fixtures import DEADLINE, wait_until
from test_unplug import LONG, PF, PLAIN, VFS, UnplugTest
import vfwarden_bus as vb

UUID = "00000000-0000-4000-8000-000000000001"
OTHER_UUID = "00000000-0000-4000-8000-000000000002"
OTHER = "0000:03:00.0"
METADATA = "http://vfwarden.org/xmlns/libvirt/domain/1.0"
NAME = "org.vfwarden1.Libvirt"


def hostdev(address, alias="hostdev0", bus="0x01"):
    domain, number, slot = address.split(":")
    slot, function = slot.split(".")
    return (f"<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x{domain}' bus='0x{number}' "
            f"slot='0x{slot}' function='0x{function}'/></source><alias name='{alias}'/>"
            f"<address type='pci' domain='0x0000' bus='{bus}' slot='0x00' function='0x0'/></hostdev>")


class AgentTest(UnplugTest):
    def setUp(self):
        super().setUp()
        self.libvirt = os.path.join(self.directory, "libvirt")
        os.makedirs(self.libvirt)
        os.mkfifo(self.file("events"))
        self.agent = None

    def file(self, name):
        return os.path.join(self.libvirt, name)

    def define(self, *devices, name="web1", uuid=UUID, wish="", paused=False, machine="pc-q35-7.2"):
        metadata = f"<metadata><v:unplug xmlns:v='{METADATA}' action='{wish}'/></metadata>" if wish else ""
        with open(self.file(f"{name}{'.paused' if paused else ''}.xml"), "w", encoding="utf-8") as file:
            file.write(f"<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid>{metadata}"
                       f"<os><type machine='{machine}'>hvm</type></os><devices>"
                       "<controller type='pci' index='0' model='pcie-root'/>"
                       "<controller type='pci' index='1' model='pcie-root-port'/>"
                       "<controller type='pci' index='2' model='pcie-root-port'><target hotplug='off'/></controller>"
                       f"{''.join(devices)}</devices></domain>")

    def start_agent(self):
        self.agent = subprocess.Popen([os.environ["VFWARDEN_AGENT"], f"--connect={self.libvirt}"],
                                      env=self.command_environment())
        self.addCleanup(lambda: (self.agent.kill(), self.agent.wait()))
        self.tell("connected")
        wait_until(self.has_name, 4 * DEADLINE, "the agent's name on the bus")

    def has_name(self):
        return bool(self.client.bus.name_owner(NAME))

    def tell(self, *words):
        """An event of libvirt's."""
        with open(self.file("events"), "w", encoding="utf-8") as file:
            file.write(" ".join(words) + "\n")

    def tell_removed(self, uuid, alias, name="web1"):
        """A guest has released a device: libvirt takes it out of the domain's XML, and says so then."""
        path = self.file(f"{name}.xml")
        with open(path, encoding="utf-8") as file:
            xml = ElementTree.parse(file)
        devices = xml.find("devices")
        for device in devices.findall(f"hostdev/alias[@name='{alias}']/.."):
            devices.remove(device)
        xml.write(f"{path}.new")
        os.rename(f"{path}.new", path)
        self.tell("removed", uuid, alias)

    def log(self):
        if not os.path.exists(self.file("log")):
            return []
        with open(self.file("log"), encoding="utf-8") as file:
            return file.read().splitlines()

    def wait_log(self, *lines):
        wait_until(lambda: self.log() == list(lines), 4 * DEADLINE, lambda: f"{lines}, is {self.log()}")

    def holders(self):
        return [row[2] for row in self.client.manager("ListInhibitors")]

    def wait_holders(self, *names):
        wait_until(lambda: self.holders() == list(names), 4 * DEADLINE, lambda: f"{names}, are {self.holders()}")

    def given(self, *devices, **options):
        """A function that a domain has, and the agent runs."""
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.define(*(devices or (hostdev(PLAIN),)), **options)
        self.start()
        self.use(function)
        self.start_agent()
        return function


class Released(AgentTest):
    def test_a_guest_detaches(self):
        function = self.given()
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_log(f"detach {UUID} hostdev0")
        self.assertEqual(self.holders(), ["vfwarden-libvirt"])
        self.kernel.let_go(function)
        # QEMU has closed it, and libvirt is still at it.
        self.wait_property(PLAIN, "State", "draining")
        self.assertEqual(self.writes, [])
        self.tell_removed(UUID, "hostdev0")
        call.result()
        self.wait_holders()

    def test_a_long_name(self):
        self.given(name="x" * 250)
        self.client.start_unplug(PLAIN, LONG)
        self.wait_log(f"detach {UUID} hostdev0")
        self.assertEqual(self.holders(), ["vfwarden-libvirt"])

    def test_a_request_that_the_daemon_did_not_make(self):
        """Any user may send the signal to the agent alone."""
        function = self.sysfs.add(OTHER, driver="vfio-pci")
        self.given(hostdev(PLAIN), hostdev(OTHER, "hostdev1"))
        self.use(function)
        self.client.bus.forge(NAME, vb.function_path(PLAIN), vb.FUNCTION, "UnplugRequested", "(t)", 2**63)
        # What comes next is the first that is asked.
        call = self.client.start_unplug(OTHER, LONG)
        wait_until(self.log, 4 * DEADLINE, "a request to the guest")
        self.wait_log(f"detach {UUID} hostdev1")
        self.kernel.let_go(function)
        self.tell_removed(UUID, "hostdev1")
        call.result()

    def test_a_guest_shuts_down(self):
        function = self.given(wish="shut-down")
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_log(f"shut-down {UUID}")
        self.kernel.let_go(function)
        self.tell("stopped", UUID)
        call.result()

    def test_guests_of_two_vfs_are_asked_at_once(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.define(hostdev(VFS[0]))
        self.define(hostdev(VFS[1], "hostdev7"), name="web2", uuid=OTHER_UUID)
        self.start()
        self.use(*pf.vfs)
        self.start_agent()
        call = self.client.start_unplug(PF, LONG)
        wait_until(lambda: sorted(self.log()) == [f"detach {UUID} hostdev0", f"detach {OTHER_UUID} hostdev7"],
                   4 * DEADLINE, self.log)
        for vf, uuid, alias, name in zip(pf.vfs, (UUID, OTHER_UUID), ("hostdev0", "hostdev7"), ("web1", "web2")):
            self.kernel.let_go(vf)
            self.tell_removed(uuid, alias, name)
        call.result()


class Refused(AgentTest):
    def refuse(self, text, *devices, **options):
        self.given(*devices, **options)
        error = self.assert_fails(vb.REFUSED, self.client.start_unplug(PLAIN, LONG))
        self.assertIn(f"domain web1 does not release it: {text}", error.message)
        self.assertEqual((self.log(), self.writes), ([], []))
        self.wait_holders()
        self.wait_property(PLAIN, "State", "present")

    def test_by_metadata(self):
        self.refuse("its metadata says to refuse", wish="refuse")

    def test_a_name_that_acts_on_who_reads_it(self):
        """The daemon takes no such text."""
        self.given(name="web\u200f1", wish="refuse")
        error = self.assert_fails(vb.REFUSED, self.client.start_unplug(PLAIN, LONG))
        self.assertIn("domain web   1 does not release it: its metadata says to refuse", error.message)

    def test_by_an_unknown_word_of_the_metadata(self):
        self.refuse("its metadata has an unknown action", wish="maybe")

    def test_paused(self):
        self.refuse("it is paused", paused=True)

    def test_on_the_root_bus(self):
        self.refuse("its device is on the root bus", hostdev(PLAIN, bus="0x00"))

    def test_in_a_slot_without_hotplug(self):
        self.refuse("its device is in a slot without hot-plug", hostdev(PLAIN, bus="0x02"))

    def test_a_device_that_libvirt_does_not_know(self):
        """Its process has it open, by options of QEMU's own."""
        function = self.sysfs.add(PLAIN, driver="vfio-pci", group="11")
        vfio = self.start_vfio()
        vfio.add_group(function)
        with open(vfio.path("vfio/11"), "r+b", buffering=0) as group:
            process = subprocess.Popen(["sleep", "infinity"], stdin=group)
        self.addCleanup(lambda: (process.kill(), process.wait()))
        for name, uuid, pid in (("web1", UUID, process.pid), ("web2", OTHER_UUID, 1)):
            self.define(name=name, uuid=uuid)
            with open(self.file(f"{name}.xml.pid"), "w", encoding="utf-8") as file:
                file.write(f"{pid}\n")
        self.start()
        self.use(function)
        self.start_agent()
        error = self.assert_fails(vb.REFUSED, self.client.start_unplug(PLAIN, LONG))
        self.assertIn("domain web1 does not release it: its process has it open, and its XML", error.message)
        self.assertEqual(self.log(), [])

    def test_libvirt_fails(self):
        self.given()
        with open(self.file("fail"), "w", encoding="utf-8") as file:
            file.write("device is busy")
        error = self.assert_fails(vb.REFUSED, self.client.start_unplug(PLAIN, LONG))
        self.assertIn("domain web1 does not release it: device is busy", error.message)
        self.wait_holders()

    def test_the_guest_fails(self):
        self.given()
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_log(f"detach {UUID} hostdev0")
        self.tell("failed", UUID, "hostdev0")
        self.assertIn("domain web1 does not release it: its guest rejected", self.assert_fails(vb.REFUSED, call).message)
        self.wait_holders()
        self.assertEqual(self.writes, [])


    def test_the_guest_fails_and_the_request_insists(self):
        """So nothing but the agent's inhibitor is waited for: it must not end before the refusal has arrived."""
        self.given()
        first = self.client.delay(PLAIN, "unbind", "another")     # else there is nothing to wait for
        call = self.client.start_unplug(PLAIN, LONG, insist=True)
        self.wait_log(f"detach {UUID} hostdev0")
        os.close(first)
        self.wait_holders("vfwarden-libvirt")
        self.tell("failed", UUID, "hostdev0")
        self.assertIn("domain web1 does not release it: its guest rejected", self.assert_fails(vb.REFUSED, call).message)
        self.wait_holders()
        self.wait_property(PLAIN, "State", "present")
        self.assertEqual(self.writes, [])


class Missed(AgentTest):
    """The request came when no agent was there, or to one that has ended."""

    def requested(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.define(hostdev(PLAIN))
        self.start()
        self.use(function)
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        return function, call

    def test_before_the_start(self):
        function, call = self.requested()
        self.start_agent()
        self.wait_log(f"detach {UUID} hostdev0")
        self.assertEqual(self.holders(), ["vfwarden-libvirt"])
        self.kernel.let_go(function)
        self.tell_removed(UUID, "hostdev0")
        call.result()
        self.wait_holders()

    def test_the_guest_is_asked_already(self):
        function, call = self.requested()
        self.start_agent()
        self.wait_log(f"detach {UUID} hostdev0")
        self.agent.kill()
        self.agent.wait()
        self.wait_holders()
        with open(self.file("fail"), "w", encoding="utf-8") as file:
            file.write("Device hostdev0 is already in the process of unplug")
        self.start_agent()
        self.wait_log(*[f"detach {UUID} hostdev0"] * 2)
        self.wait_holders("vfwarden-libvirt")
        self.kernel.let_go(function)
        self.wait_property(PLAIN, "State", "draining")
        self.assertFalse(call.done)
        self.tell_removed(UUID, "hostdev0")
        call.result()

    def test_without_a_connection(self):
        function = self.given()
        self.tell("lost")
        wait_until(lambda: not self.has_name(), 4 * DEADLINE, "the name to be given up")
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        self.assertEqual(self.log(), [])
        self.tell("connected")
        self.wait_log(f"detach {UUID} hostdev0")
        self.kernel.let_go(function)
        self.tell_removed(UUID, "hostdev0")
        call.result()

    def ask_twice(self):
        """For a VF, and for its PF; returns the PF, a mark from before, and the calls."""
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci")
        self.define(hostdev(VFS[0]))
        self.start()
        self.use(pf.vfs[0])
        self.start_agent()
        mark = self.mark()
        calls = []
        for number, address in enumerate((VFS[0], PF), 1):
            calls.append(self.client.start_unplug(address, LONG))
            self.wait_log(*[f"detach {UUID} hostdev0"] * number)
        return pf, mark, calls

    def test_a_vf_is_asked_for_twice(self):
        _, _, calls = self.ask_twice()
        for address, call in zip((PF, VFS[0]), reversed(calls)):
            self.client.cancel_unplug(address)
            self.assert_fails(vb.FAILED, call)
        self.wait_holders()

    def test_one_inhibitor_serves_two_unplugs(self):
        """Another one in its place would look like a holder that has released the VF."""
        pf, mark, calls = self.ask_twice()
        self.wait_holders("vfwarden-libvirt")
        self.assertEqual(self.states(PF, mark), ["unplug-requested"])
        self.kernel.let_go(pf.vfs[0])
        self.wait_property(PF, "State", "draining")
        self.assertEqual(self.writes, [])
        self.tell_removed(UUID, "hostdev0")
        calls[1].result()

    def test_one_of_two_unplugs_is_cancelled(self):
        pf, _, calls = self.ask_twice()
        self.client.cancel_unplug(VFS[0])
        self.assert_fails(vb.FAILED, calls[0])
        self.kernel.let_go(pf.vfs[0])
        self.wait_property(PF, "State", "draining")
        self.assertEqual(self.holders(), ["vfwarden-libvirt"])
        self.tell_removed(UUID, "hostdev0")
        calls[1].result()
        self.assertEqual([line for line in self.log() if "attach" in line], [])

    def test_the_pf_is_cancelled(self):
        """The agent has heard of the VF alone."""
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci")
        self.define(hostdev(VFS[0]))
        self.start()
        self.use(pf.vfs[0])
        call = self.client.start_unplug(PF, LONG)
        self.wait_property(PF, "State", "unplug-requested")
        self.start_agent()
        self.wait_log(f"detach {UUID} hostdev0")
        self.client.cancel_unplug(PF)
        self.assert_fails(vb.FAILED, call)
        self.wait_holders()


class GetUnplugRequest(UnplugTest):
    def get(self, address):
        return self.client.bus.call(vb.function_path(address), vb.FUNCTION, "GetUnplugRequest")[0]

    def test_what_goes_with_the_function(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        self.use(pf.vfs[0])
        mark = self.client.recorder.mark()
        call = self.client.start_unplug(PF, LONG)
        self.wait_property(PF, "State", "unplug-requested")
        deadline, = self.client.recorder.since(mark, "UnplugRequested", vb.function_path(PF))[0].args
        self.assertEqual([self.get(address) for address in (PF, *VFS[:2])], [deadline] * 3)
        self.client.cancel_unplug(PF)
        self.assert_fails(vb.FAILED, call)
        self.assertEqual([self.get(address) for address in (PF, *VFS[:2])], [0] * 3)


class NotAsked(AgentTest):
    def test_another_user_than_a_domain(self):
        function = self.given(hostdev(PF))
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        self.kernel.let_go(function)
        call.result()
        self.assertEqual(self.log(), [])


class RefuseUnplug(UnplugTest):
    """The daemon's side of a refusal."""

    def refuse(self, address, why):
        self.client.bus.call(vb.function_path(address), vb.FUNCTION, "RefuseUnplug", "(s)", (why,))

    def test_what_goes_with_the_function(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        self.use(pf.vfs[0])
        for address in (PF, VFS[0]):
            call = self.client.start_unplug(PF, LONG)
            self.wait_property(PF, "State", "unplug-requested")
            self.refuse(address, "it is needed")
            self.assertIn("it is needed", self.assert_fails(vb.REFUSED, call).message)
            self.wait_property(PF, "State", "present")
        self.assertEqual(self.writes, [])

    def test_errors(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        for why, name in (("it is needed", vb.FAILED), ("", vb.INVALID_ARGS), ("x" * 513, vb.INVALID_ARGS),
                          ("a\x1b", vb.INVALID_ARGS)):
            with self.assertRaises(vb.BusError) as caught:
                self.refuse(PLAIN, why)
            self.assertEqual(caught.exception.name, name)


if __name__ == "__main__":
    fixtures.main()
