#!/usr/bin/python3
"""InhibitSleep=yes: logind keeps the machine from suspend and shutdown while a function is in use."""

from fakelogind import Logind
import fixtures
import vfwarden_bus as vb

PLAIN, OTHER = "0000:01:00.0", "0000:02:00.0"
ASKED = ("sleep:shutdown", "vfwardend", "PCI functions are in use", "block")


class Sleep(fixtures.DaemonTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True)
        self.functions = [self.sysfs.add(address, driver="vfio-pci") for address in (PLAIN, OTHER)]

    def start_logind(self, refuses=False):
        self.logind = Logind(self.bus.address, refuses)
        self.addCleanup(self.logind.close)

    def use(self, function, in_use=True):
        function.write("enable", "1" if in_use else "0")
        self.wait_property(function.address, "InUse", in_use)

    def wait_count(self, count):
        vb.wait_until(lambda: self.logind.count() == count, None,
                      lambda: f"{count} inhibitors, there are {self.logind.count()}; asked for: {self.logind.calls}")

    def test_while_a_function_is_in_use(self):
        self.start_logind()
        self.configure("[Lock]\nInhibitSleep=yes\n")
        self.functions[0].write("enable", "1")      # before the start, too
        self.start()
        self.wait_count(1)
        self.assertEqual(self.logind.calls, [ASKED])
        self.use(self.functions[1])
        self.use(self.functions[0], False)
        self.assertEqual((self.logind.count(), len(self.logind.calls)), (1, 1), "one for all functions")
        self.use(self.functions[1], False)
        self.wait_count(0)
        self.use(self.functions[0])
        self.wait_count(1)
        self.sysfs.remove(self.functions[0])
        self.wait_count(0)

    def test_a_reload_switches_it(self):
        self.start_logind()
        self.start()
        self.use(self.functions[0])
        self.assertEqual(self.logind.calls, [], "by default")
        for text, count in (("yes", 1), ("no", 0)):
            self.configure(f"[Lock]\nInhibitSleep={text}\n")
            self.client.manager("Reload")
            self.wait_count(count)

    def test_logind_starts_again(self):
        """It forgets its inhibitors; the descriptors of before mean nothing."""
        self.start_logind()
        self.configure("[Lock]\nInhibitSleep=yes\n")
        self.start()
        self.use(self.functions[0])
        self.wait_count(1)
        self.logind.close()
        self.start_logind()
        self.wait_count(1)
        self.assertEqual(self.logind.calls, [ASKED])
        self.use(self.functions[0], False)
        self.wait_count(0)
        self.logind.close()
        self.start_logind()
        self.use(self.functions[1])
        self.wait_count(1)
        self.assertEqual(self.logind.calls, [ASKED], "only while a function is in use")

    def test_somebody_says_that_logind_has_ended(self):
        """Any user may send that to the daemon alone."""
        self.start_logind()
        self.configure("[Lock]\nInhibitSleep=yes\n")
        self.start()
        self.use(self.functions[0])
        self.wait_count(1)
        calls = len(self.logind.calls)
        for owner in ("", ":1.4711"):
            self.client.bus.forge(vb.NAME, "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged",
                                  "(sss)", "org.freedesktop.login1", ":1.2", owner)
        self.client.ping()
        self.assertEqual((self.logind.count(), len(self.logind.calls)), (1, calls))

    def test_logind_is_not_there_or_refuses(self):
        self.configure("[Lock]\nInhibitSleep=yes\n")
        self.start()
        self.use(self.functions[0])
        self.daemon.wait_log("Failed to keep the machine from suspend and shutdown: .*login1")
        self.start_logind(refuses=True)
        vb.wait_until(lambda: len(self.logind.calls) >= 1, None, "another try")
        # It comes behind the refusal on the same connection.
        self.logind.bus.call("/", "org.freedesktop.DBus.Peer", "Ping", destination=vb.NAME)
        calls = len(self.logind.calls)
        self.use(self.functions[1])
        vb.wait_until(lambda: len(self.logind.calls) > calls, None, "yet another one")
        self.logind.refuses = False
        self.use(self.functions[1], False)
        self.wait_count(1)

    def test_it_is_asked_again(self):
        """Also while nothing changes: guests that just run."""
        self.configure("[Lock]\nInhibitSleep=yes\n")
        self.start_logind(refuses=True)
        self.start()
        self.use(self.functions[0])
        vb.wait_until(lambda: [text for text in self.client.manager_property("Problems")
                               if text.startswith("Failed to keep the machine from suspend and shutdown: ")],
                      None, "the problem")
        self.logind.refuses = False
        self.wait_count(1)
        vb.wait_until(lambda: self.client.manager_property("Problems") == [], None, "no problem")

    def test_no_problem_while_none_is_wanted(self):
        self.configure("[Lock]\nInhibitSleep=yes\n")
        self.start_logind(refuses=True)
        self.start()
        self.use(self.functions[0])
        vb.wait_until(lambda: self.client.manager_property("Problems"), None, "the problem")
        self.use(self.functions[0], False)
        vb.wait_until(lambda: self.client.manager_property("Problems") == [], None, "no problem")


if __name__ == "__main__":
    fixtures.main()
