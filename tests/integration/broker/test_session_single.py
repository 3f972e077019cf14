#!/usr/bin/python3
"""Single requests, and the idle process that is kept for the next one."""

import contextlib
import os
import select
import signal

import fixtures
from fixtures import wait_until
from test_session import OTHER, PLAIN, SessionTest, ZPCI_IO
import vfwarden_bus as vb


class SingleTest(SessionTest):
    """At the end no idle process is left: it would change the inventory during the last look."""

    def tearDown(self):
        if self.daemon.running:
            wait_until(lambda: not any(self.users(address) for address in (PLAIN, OTHER))
                       and all(row["State"] == "present" for row in self.rows()), None, "what lingers to end")
        super().tearDown()

    def rows(self):
        return [row for row in map(self.picture.function, (PLAIN, OTHER)) if row]


class Accesses(SingleTest):
    """Load and StoreBlock over D-Bus."""

    def test_what_is_stored_is_loaded(self):
        self.start()
        self.call(PLAIN, "StoreBlock", "(ytay)", 0, 8, bytes(range(64)))
        self.assertEqual(bytes(self.call(PLAIN, "Load", "(ytq)", 0, 16, 8)[0]), bytes(range(8, 16)))
        self.assertEqual(bytes(self.call(PLAIN, "Load", "(ytq)", 0, 11, 1)[0]), b"\x03")
        self.assertEqual(bytes(self.call(OTHER, "Load", "(ytq)", 0, 16, 8)[0]), bytes(8), "another device")
        for address in (PLAIN, OTHER):
            self.wait_property(address, "InUse", False)
            self.assertEqual(self.users(address), [])

    def test_what_the_rules_refuse(self):
        self.start()
        for method, signature, arguments in (
                ("Load", "(ytq)", (0, 0, 0)), ("Load", "(ytq)", (0, 0, 9)), ("Load", "(ytq)", (0, 4, 8)),
                ("Load", "(ytq)", (6, 0, 4)), ("Load", "(ytq)", (0, 1 << 63, 8)), ("Load", "(ytq)", (0, 65536, 1)),
                ("StoreBlock", "(ytay)", (0, 0, b"")), ("StoreBlock", "(ytay)", (0, 0, bytes(4097))),
                ("StoreBlock", "(ytay)", (15, 0, bytes(4))), ("StoreBlock", "(ytay)", (0, 4, bytes(16)))):
            message = self.assert_fails(vb.INVALID_ARGS, self.call, PLAIN, method, signature, *arguments)
            self.assertGreater(len(message), 10, (method, arguments))

    def test_who_may(self):
        self.start()
        self.polkit.verdicts["org.vfwarden1.zpci-io"] = False
        with self.acting_as():
            self.assert_fails(vb.ACCESS_DENIED, self.call, PLAIN, "Load", "(ytq)", 0, 0, 8)
            self.assert_fails(vb.ACCESS_DENIED, self.start_open().result)

    def test_not_bound_to_vfio(self):
        self.sysfs.add("0000:04:00.0", driver="igb")
        self.start()
        message = self.assert_fails(vb.REFUSED, self.call, "0000:04:00.0", "Load", "(ytq)", 0, 0, 8)
        self.assertIn("vfwarden bind 0000:04:00.0 vfio-pci", message)

    def test_vfio_without_its_nodes(self):
        self.sysfs.add("0000:04:00.0", driver="vfio-pci")
        self.start()
        message = self.assert_fails(vb.FAILED, self.call, "0000:04:00.0", "Load", "(ytq)", 0, 0, 8)
        self.assertIn("cannot be opened", message)
        self.wait_property("0000:04:00.0", "InUse", False)


class Lingering(SingleTest):
    """The process of a Load stays for the next one, and is in nobody's way."""

    def load(self, address=PLAIN, client=None):
        return bytes(self.call(address, "Load", "(ytq)", 0, 0, 8, client=client)[0])

    def linger(self):
        """A descriptor of the idle process."""
        self.load()
        pidfd = os.pidfd_open(self.io_pid())
        self.addCleanup(os.close, pidfd)
        self.assertFalse(self.has_ended(pidfd))
        return pidfd

    @staticmethod
    def has_ended(pidfd):
        return bool(select.select([pidfd], [], [], 0)[0])

    def check(self, operation="open"):
        return self.client.manager("Check", "(ss)", PLAIN, operation)[:2]

    def test_one_process_and_one_question(self):
        self.start()
        mark = self.mark()
        with self.acting_as():
            pidfd = self.linger()
            for i in range(20):
                self.call(PLAIN, "StoreBlock", "(ytay)", 0, 0, bytes([i] * 8))
                self.assertEqual(self.load(), bytes([i] * 8))
        self.assertFalse(self.has_ended(pidfd))
        self.assertIn(len(self.polkit.questions), range(1, 10), "some, not one for each")
        fixtures.wait_for_end(pidfd)
        self.wait_property(PLAIN, "InUse", False)
        changes = [s.args[1]["InUse"] for s in self.client.recorder.since(
            mark, "PropertiesChanged", vb.function_path(PLAIN)) if "InUse" in s.args[1]]
        self.assertEqual(changes, [True, False])

    def test_errors_end_no_run(self):
        self.start()
        pidfd = self.linger()
        self.assert_fails(vb.INVALID_ARGS, self.call, PLAIN, "Load", "(ytq)", 0, 4, 8)
        self.load()
        self.assertFalse(self.has_ended(pidfd))

    def test_it_is_a_user_and_closes_nothing(self):
        self.start()
        self.linger()
        self.assertEqual(self.users(PLAIN), [(os.getpid(), os.getuid())])
        self.wait_property(PLAIN, "InUse", True)
        self.assertEqual(self.client.function(PLAIN, "LockReasons"), [])
        self.wait_property(PLAIN, "InUse", False)

    def test_asking_ends_nothing(self):
        """A client without permission gets the right answer, and the idle process stays."""
        self.start()
        self.linger()
        for client in (self.client, self.client_of()):
            for operation in ("open", "unbind", "reset"):
                pidfd = self.linger()
                self.assertEqual(client.manager("Check", "(ss)", PLAIN, operation)[:2], (True, []))
                self.assertFalse(self.has_ended(pidfd), operation)
            for method, *arguments in (("GetFunction", "(s)", PLAIN), ("ListFunctions",), ("ListUsers",), ("Describe",),
                                       ("DescribeUsers", "(s)", PLAIN), ("ListInhibitors",)):
                pidfd = self.linger()
                client.manager(method, *arguments)
                self.assertFalse(self.has_ended(pidfd), method)
            pidfd = self.linger()
            client.function(PLAIN)
            self.assertFalse(self.has_ended(pidfd), "properties")

    def test_whatever_else_is_wanted(self):
        self.start()
        for method, signature, arguments in (("Lock", "(s)", ("tests",)), ("Unlock", "()", ()),
                                             ("Reset", "()", ()), ("Bind", "(s)", ("vfio-pci",)),
                                             ("Unbind", "()", ())):
            pidfd = self.linger()
            self.client.start_function_call(PLAIN, method, signature, *arguments).result()
            self.assertTrue(method == "Unlock" or self.has_ended(pidfd), method)

    def test_session(self):
        self.start(io="MaxSessionsPerUser=1\n")
        pidfd = self.linger()
        session, _ = self.open()
        self.assertTrue(self.has_ended(pidfd))
        session.close()
        self.wait_property(PLAIN, "InUse", False)
        self.linger()
        session, _ = self.open(OTHER)    # counted by what is served only
        session.close()

    def test_another_user(self):
        self.start()
        pidfd = self.linger()
        data, = self.as_other_user(vb.function_path(PLAIN), ZPCI_IO, "Load", "(ytq)", [0, 0, 8])
        self.assertEqual(bytes(data), bytes(8))
        self.assertTrue(self.has_ended(pidfd))

    def test_unplug(self):
        self.start()
        self.linger()
        self.client.start_unplug(PLAIN, 0).result()
        self.assertIsNone(self.picture.function(PLAIN))

    def test_inhibited(self):
        self.start()
        self.linger()
        fd = self.client.inhibit(PLAIN, "open")
        self.assert_fails(vb.REFUSED, self.load)
        os.close(fd)

    def test_unbound_by_somebody_else(self):
        self.start()
        pidfd = self.linger()
        self.sysfs.unbind(self.sysfs[PLAIN])
        fixtures.wait_for_end(pidfd)

    def test_the_function_goes(self):
        self.start()
        pidfd = self.linger()
        self.sysfs.remove(self.sysfs[PLAIN])
        fixtures.wait_for_end(pidfd)
        self.wait_function(PLAIN, there=False)

    def test_killed(self):
        self.start()
        pidfd = self.linger()
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        fixtures.wait_for_end(pidfd)
        self.wait_property(PLAIN, "InUse", False)
        self.load()

    def test_the_daemon_ends(self):
        self.start()
        pidfd = self.linger()
        self.stop()
        fixtures.wait_for_end(pidfd)

    def test_a_rule_that_is_taken_back(self):
        self.start()
        visitor = self.client_of()
        self.load(client=visitor)
        self.polkit.verdicts["org.vfwarden1.zpci-io"] = False

        def is_refused():
            try:
                self.load(client=visitor)
            except vb.BusError as error:
                return error.name == vb.ACCESS_DENIED
            return False
        wait_until(is_refused, None, "the new rule to be asked for")
        self.assert_fails(vb.ACCESS_DENIED, self.start_open(client=visitor).result)

    def test_a_yes_is_for_the_device_that_polkit_saw(self):
        self.start()
        visitor = self.client_of()
        self.polkit.verdicts["org.vfwarden1.zpci-io"] = "later"

        def load():
            return visitor.bus.start_call(vb.function_path(PLAIN), ZPCI_IO, "Load", "(ytq)", (0, 0, 8))

        def question(number):
            wait_until(lambda: len(self.polkit.questions) == number, None, f"question {number}")
            return self.polkit.questions[-1]

        def other_driver():
            self.sysfs.rebind(self.sysfs[PLAIN], "igb")
            self.wait_property(PLAIN, "Driver", "igb")

        def other_device():
            self.sysfs.remove(self.sysfs[PLAIN])
            self.wait_function(PLAIN, there=False)
            self.sysfs.add(PLAIN, driver="igb", announce=True)
            self.wait_function(PLAIN)

        for number, change in ((1, other_driver), (3, other_device)):
            with self.subTest(change.__name__):
                call, asked = load(), question(number)
                change()
                asked.answer(True)
                with contextlib.suppress(vb.BusError):      # whatever comes of the load itself
                    call.result()
                call, asked = load(), question(number + 1)
                asked.answer(False)
                self.assert_fails(vb.ACCESS_DENIED, call.result)

    def test_what_one_may_another_may_not(self):
        self.start()
        visitor = self.client_of()
        self.load(client=visitor)
        self.polkit.verdicts["org.vfwarden1.zpci-io"] = False
        self.assert_fails(vb.ACCESS_DENIED, self.load, client=self.client_of())
        self.assert_fails(vb.ACCESS_DENIED, self.load, OTHER, client=visitor)


if __name__ == "__main__":
    fixtures.main()
