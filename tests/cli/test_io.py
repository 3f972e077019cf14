"""vfwarden io: what is wrong with its arguments, and what becomes of the daemon's refusals. What it loads and stores is
in tests/integration/cli/test_io_command.py."""

from standin import CommandTest, DBusError
import pictures

IGB = pictures.IGB
PREFIX = "org.vfwarden1.Error."
DBUS = "org.freedesktop.DBus.Error."
CANNOT = f"vfwarden: Cannot open an I/O session with {IGB}: "


class Usage(CommandTest):
    def check_refused(self, arguments, error):
        self.check(["io", *arguments], error=f"vfwarden: {error}\n", code=2)

    def test_what_is_done(self):
        self.check_refused(["read", "1:0.0", "0", "0", "8"], "io does load or store, not 'read'")

    def test_options_of_serve(self):
        for option in ("--dma", "--socket=x", "--memory=1", "--on-unplug=x", "--qmp=x", "--device-id=x"):
            self.check_refused(["load", "1:0.0", "0", "0", "8", option], "io load takes no option of io serve")

    def test_address(self):
        self.check_refused(["load", "1", "0", "0", "8"],
                           "'1' is not a PCI address: there is no ':' between bus and device")

    def test_space(self):
        for space in ("", "6", "15", "00", "0x0", "Config", "config "):
            self.check_refused(["load", "1:0.0", space, "0", "8"],
                               f"'{space}' is no address space: 0 to 5 are the BARs, config is the configuration space")
        self.check_refused(["store", "1:0.0", "config", "0", "00"], "The configuration space is for loads only")

    def test_numbers(self):
        for text in ("", "0x", "0X10", "1 ", "+1", "1k", "0xg", "18446744073709551616", "0x10000000000000000"):
            for name, offset, length in (("offset", text, "8"), ("length", "0", text)):
                self.check_refused(["load", "1:0.0", "0", offset, length],
                                   f"The {name} '{text}' is neither a decimal number nor one in hexadecimal, as 0x10")
        for length in ("0", "4097", "0xffffffffffffffff"):
            self.check_refused(["load", "1:0.0", "0", "0", length], f"A load has 1 to 4096 bytes, not {length}")

    def test_bytes(self):
        for text in ("0", "012", "0x01", "01 02", "0g", "é"):
            self.check_refused(["store", "1:0.0", "0", "0", text],
                               f"'{text}' is not bytes, two hexadecimal digits each")
        self.check_refused(["store", "1:0.0", "0", "0", ""], "A store has 1 to 4096 bytes, not 0")
        self.check_refused(["store", "1:0.0", "0", "0", "00" * 4097], "A store has 1 to 4096 bytes, not 4097")

    def test_other_hosts(self):
        for option in ("-Hfar", "--host=far", "-Mpod", "--machine=pod"):
            self.check([option, "io", "load", "1:0.0", "0", "0", "8"], code=2,
                       error="vfwarden: io works on this host only: a session is a socket, which no bus takes to "
                             "another host, and a container has a daemon of its own\n")


class Refusals(CommandTest):
    LOAD = ("io", "load", "1:0.0", "0", "0x10", "8")

    def test_no_daemon(self):
        code, output, error = self.run_command(*self.LOAD)
        self.assertEqual((code, output), (5, ""), error)

    def test_no_such_function(self):
        self.start_daemon(pictures.host())
        code, output, error = self.run_command("io", "load", "9:0.0", "0", "0", "8")
        self.assertEqual((code, output), (3, ""))
        self.assertIn("There is no PCI function 0000:09:00.0", error)

    def test_what_the_daemon_says(self):
        daemon = self.start_daemon(pictures.host())
        for name, code in ((PREFIX + "NoSuchFunction", 9), (PREFIX + "Gone", 9), (PREFIX + "Refused", 6),
                           (PREFIX + "Busy", 7), (PREFIX + "Timeout", 8), (PREFIX + "NotSupported", 10),
                           (PREFIX + "Failed", 1), (DBUS + "AccessDenied", 4), (DBUS + "LimitsExceeded", 7)):
            with self.subTest(name):
                def refuse(*_, name=name):
                    raise DBusError(name, "because\x1b")
                daemon.answers["OpenSession"] = refuse
                daemon.calls.clear()
                self.check(self.LOAD, error=CANNOT + "because\\x1b\n", code=code)
                self.assertEqual([c[2:] for c in daemon.calls if c[0] == "OpenSession"], [(({},), True)])

    def test_a_daemon_without_sessions(self):
        """An older one: the interface is not there."""
        self.start_daemon(pictures.host(), sessions=False)
        code, output, error = self.run_command(*self.LOAD)
        self.assertEqual((code, output), (10, ""))
        self.assertTrue(error.startswith(CANNOT), error)
