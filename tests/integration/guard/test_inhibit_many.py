#!/usr/bin/python3
"""InhibitMany: one inhibitor on several functions, on all of them or on none, and what stands against them."""

import json
import os

import fixtures
from fixtures import wait_until
from smalldisk import SmallDisk
from test_inhibit import InhibitTest
import pace
import vfwarden_bus as vb
from gi.repository import GLib

# In seconds, by the processor's time.
LONGEST_TURN = 0.02

# So many functions are judged in one turn (APPLY_ROUND_FUNCTIONS).
SLICE = 32

PF = "0000:01:00.0"
OTHER = "0000:02:00.0"
PLAIN = "0000:03:00.0"
ABSENT = "0000:44:00.0"


class ManyTest(InhibitTest):
    def setUp(self):
        super().setUp()
        self.pf = self.sysfs.add_pf(PF)
        self.other = self.sysfs.add_pf(OTHER)
        self.plain = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.all = [PF, OTHER, PLAIN]

    def inhibit_many(self, addresses, *args, client=None, **options):
        """The blockers and the number of others; the descriptor is the last of `_fds`."""
        fd, blockers, more = (client or self.client).inhibit_many(addresses, *args, **options)
        self._fds.append(fd)
        return blockers, more

    def rows(self):
        return [(row[0], row[2]) for row in self.listed()]

    def assert_nothing(self):
        self.assertEqual(self.listed(), [])
        self.assert_closed(self.pf)
        self.assert_closed(self.other)


class Life(ManyTest):
    def test_all_at_once_and_until_the_descriptor_is_closed(self):
        self.start()
        self.assertEqual(self.inhibit_many(self.all, "reset:remove", "web1", "its own"), ([], 0))
        # When the call returns the files are closed.
        for function in (self.pf, self.other, self.plain):
            self.assertEqual(function.mode("reset"), 0o0)
        self.assertEqual(self.listed(), [(address, "reset:remove", "web1", "its own", 0, os.getpid())
                                         for address in self.all])
        self.assertEqual(len(self.notify.store), 1)
        for address in self.all:
            self.wait_property(address, "LockReasons", ["inhibitor"])
        self.release(self._fds[-1])
        self.wait_listed()
        for address in self.all:
            self.wait_property(address, "Locked", False)
        self.assert_nothing()
        wait_until(lambda: not self.notify.store, None, "systemd to forget the descriptor")

    def test_some_are_released_by_another_call(self):
        self.start()
        self.inhibit_many(self.all, "reset", "web1")
        first = self._fds[-1]
        self.inhibit_many([PF, PLAIN], "reset", "web1")
        self.release(first)
        wait_until(lambda: self.rows() == [(PF, "web1"), (PLAIN, "web1")], None, self.rows)
        self.wait_property(OTHER, "Locked", False)
        self.assert_closed(self.pf, "reset", "reset_method")

    def test_a_device_that_goes_and_comes_back(self):
        self.start()
        self.inhibit_many(self.all, "reset", "web1")
        self.sysfs.remove(self.plain)
        self.wait_function(PLAIN, there=False)
        self.assertEqual(len(self.listed()), 3)
        plain = self.sysfs.add(PLAIN, announce=True)
        self.wait_function(PLAIN)
        self.wait_property(PLAIN, "LockReasons", ["inhibitor"])
        self.assert_closed(plain, "reset", "reset_method")

    def test_the_log_names_every_function(self):
        self.start()
        mark = self.daemon.log_mark()
        self.inhibit_many(self.all, "reset", "web1", "its own", check="open")
        self.daemon.wait_log(rf"info: InhibitMany\(\['{PF}', '{OTHER}', '{PLAIN}'\], 'reset', 'web1', 'its own', "
                             r"{check: 'open'}\) by uid 0, pid \d+ \(.*\): done$", mark)
        self.release(self._fds[-1])
        for address in self.all:
            self.daemon.wait_log(rf"info: {address}: web1 no longer inhibits anything$", mark)


class Blockers(ManyTest):
    def test_what_stands_against_it_before(self):
        self.plain.write("enable", "1")
        self.start()
        self.wait_property(PLAIN, "InUse", True)
        self.inhibit(OTHER, "open", "db9", "it has it")
        blockers, more = self.inhibit_many([PLAIN, OTHER], "open", "web1", check="open")
        self.assertEqual(more, 0)
        for address in (PLAIN, OTHER):
            _, alone, _ = self.client.check(address, "open")
            # Check comes later and sees web1, too.
            self.assertEqual([b[1:] for b in blockers if b[0] == address], [b for b in alone if b[1] != "web1"])
        self.assertIn(("user", PLAIN), [b[1:3] for b in blockers])
        self.assertIn((OTHER, "inhibitor", "db9"), [b[:3] for b in blockers])
        # Blockers are the caller's to mind.
        self.assertEqual(self.rows(), [(OTHER, "db9"), (PLAIN, "web1"), (OTHER, "web1")])

    def test_the_second_sees_the_first(self):
        self.start()
        first, _ = self.inhibit_many([PLAIN], "open", "web1", check="open")
        second, _ = self.inhibit_many([PLAIN, PF], "open", "db9", check="open")
        self.assertEqual(first, [])
        self.assertIn((PLAIN, "inhibitor", "web1"), [b[:3] for b in second])

    def test_no_question_no_answer(self):
        self.start()
        self.inhibit(PF, "open", "db9")
        self.assertEqual(self.inhibit_many([PF], "open", "web1"), ([], 0))

    def test_there_may_be_too_many(self):
        functions = [self.sysfs.add(f"0000:05:00.{n}", driver="igb", slot="5" if n == 0 else None).address
                     for n in range(8)]
        self.start()
        for number in range(66):
            self.inhibit_many(functions, "power-off", f"n{number}")
        # The power of the slot is that of all: 66 inhibitors of each function stand against each.
        blockers, more = self.inhibit_many(functions, "reset", "web1", check="power-off")
        self.assertEqual(len(blockers), 4096)
        self.assertEqual(len(blockers) + more, 8 * 8 * 66)


class Refusal(ManyTest):
    """Each of them changes nothing, and says which function is the reason."""

    def refused(self, name, text, *args, **options):
        error = self.assert_bus_error(name, self.client.inhibit_many, *args, **options)
        self.assertIn(text, error.message)
        self.assert_nothing()
        self.assertEqual(self.notify.store, [])

    def test_arguments(self):
        self.start()
        what = "reset"
        self.refused(vb.NO_SUCH_FUNCTION, ABSENT, [PF, ABSENT, OTHER], what)
        self.refused(vb.INVALID_ARGS, "'0000:01'", [PF, "0000:01"], what)
        self.refused(vb.INVALID_ARGS, f"{OTHER} is named twice", [OTHER, PF, OTHER], what)
        self.refused(vb.INVALID_ARGS, "no function is named", [], what)
        self.refused(vb.INVALID_ARGS, "'sleep'", [PF, OTHER], "sleep")
        self.refused(vb.INVALID_ARGS, "'who' must be given", [PF, OTHER], what, "")
        self.refused(vb.INVALID_ARGS, "there is no option 'colour'", [PF], what, colour="red")
        self.refused(vb.INVALID_ARGS, "'sleep' is no operation", [PF], what, check="sleep")
        self.refused(vb.NOT_SUPPORTED, PLAIN, [PF, PLAIN], what, check="set-num-vfs")
        self.refused(vb.NO_SUCH_FUNCTION, ABSENT, [PF] + [ABSENT] * 5000, what)

    def test_polkit_is_asked_about_each(self):
        vf = self.sysfs.add_pf("0000:06:00.0", vfs=1, vf_driver="igbvf").vfs[0].address
        self.start()
        client = self.client_of()
        self.inhibit_many([PF, vf], "reset", client=client)
        self.assertEqual([(q.details["address"], q.details["kind"], q.details["pf"]) for q in self.polkit.questions],
                         [(PF, "pf", ""), (vf, "vf", "0000:06:00.0")])
        self.release(self._fds[-1])
        self.wait_listed()
        self.polkit.questions.clear()
        self.polkit.verdicts = {"org.vfwarden1.inhibit": "later"}
        call = client.bus.start_call(vb.ROOT, vb.MANAGER, "InhibitMany", "(assssa{sv})",
                                     ([PF, vf, OTHER], "reset", "me", "", {}), with_fds=True)
        wait_until(lambda: len(self.polkit.questions) == 1, None, "the first question")
        self.polkit.questions[0].answer(True)
        wait_until(lambda: len(self.polkit.questions) == 2, None, "the second question")
        self.assertFalse(call.done)
        self.polkit.questions[1].answer(False)
        self.assert_bus_error(vb.ACCESS_DENIED, call.result)
        self.assertEqual(len(self.polkit.questions), 2)
        self.assert_nothing()

    def test_each_function_counts(self):
        functions = [self.sysfs.add(f"0000:05:{n // 8:02x}.{n % 8}").address for n in range(65)]
        self.start()
        client = self.client_of()
        self.assert_bus_error(vb.LIMITS_EXCEEDED, client.inhibit_many, functions, "reset")
        self.assertEqual(self.polkit.questions, [], "for what is refused anyway")
        self.assert_nothing()
        self.inhibit_many(functions[:60], "reset", client=client)
        self.assert_bus_error(vb.LIMITS_EXCEEDED, client.inhibit_many, functions[60:], "reset")
        self.inhibit_many(functions[60:64], "reset", client=client)
        self.assertEqual(len(self.listed()), 64)

    def test_a_full_store_of_descriptors(self):
        self.notify.max = 1
        self.environment["FDSTORE"] = "1"
        self.start()
        self.inhibit_many([PF, OTHER], "reset", "first")      # takes one, however many functions
        error = self.assert_bus_error(vb.FAILED, self.client.inhibit_many, [PLAIN, PF], "remove", "second")
        self.assertIn("FileDescriptorStoreMax=", error.message)
        self.assertEqual(self.rows(), [(PF, "first"), (OTHER, "first")])
        self.assert_closed(self.pf, "reset", "reset_method")

    def test_a_full_disk(self):
        disk = SmallDisk(self.state_dir)
        self.addCleanup(disk.close)
        self.start()
        disk.fill()
        error = self.assert_bus_error(vb.FAILED, self.client.inhibit_many, self.all, "reset")
        self.assertIn(self.state_dir, error.message)
        self.assert_nothing()
        wait_until(lambda: not self.notify.store, None, "systemd to forget the descriptor")
        disk.free()
        self.inhibit_many(self.all, "reset", "web1")
        self.assertEqual(len(self.listed()), 3)


class Restart(ManyTest):
    def test_it_outlives_the_daemon(self):
        self.start()
        self.inhibit_many(self.all, "reset:bind", "web1", "its own")
        self.inhibit(PF, "open", "other")
        before = self.listed()
        for _ in range(2):
            self.kill()     # right after the reply
            self.start()
            self.assertEqual(self.listed(), before)
            self.assert_closed(self.other, "reset", "reset_method")
        self.release(self._fds[0])
        self.wait_listed("other")
        self.wait_property(OTHER, "Locked", False)
        self.kill()
        self.start()
        self.wait_listed("other")

    def test_released_while_no_daemon_runs(self):
        self.start()
        self.inhibit_many(self.all, "reset", "web1")
        self.kill()
        self.release(self._fds[0])
        self.start()
        self.assertEqual(self.listed(), [])
        self.assert_nothing()


class Thousand(ManyTest):
    def test_a_thousand_functions(self):
        functions = [self.sysfs.add(f"0000:{0x10 + n // 256:02x}:{n // 8 % 32:02x}.{n % 8}", driver="vfio-pci")
                     for n in range(1000)]
        addresses = [function.address for function in functions]
        self.start()
        blockers, more = self.inhibit_many(addresses, "reset:remove:open", "web1", check="open")
        self.assertEqual((blockers, more), ([], 0))
        self.assertEqual([row[0] for row in self.listed()], addresses)
        self.assertEqual({function.mode("reset") for function in functions}, {0})
        # Its own inhibitors are the blockers of the next one, all of them.
        self.assert_bus_error(vb.LIMITS_EXCEEDED, self.client.inhibit_many, addresses[:25], "reset", "db9")
        blockers, more = self.inhibit_many(addresses[:24], "reset", "db9", check="open")
        self.assertEqual([b[:3] for b in blockers], [(address, "inhibitor", "web1") for address in addresses[:24]])
        self.kill()
        self.start()
        self.assertEqual([row[0] for row in self.listed()], addresses + addresses[:24])
        self.release(self._fds[0])
        wait_until(lambda: len(self.listed()) == 24, None, "the end of web1's")
        self.wait_property(addresses[-1], "Locked", False)
        vb.wait_until(lambda: {function.mode("reset") for function in functions[24:]} == {0o200}, None, "all to be unlocked")

    def assert_turns(self, mark, start):
        """`start`: the longest turn until the functions were known, which is another matter."""
        self.assertLessEqual(max(self.daemon.judged(mark)), SLICE)
        self.assertLessEqual(self.longest_turn(), max(start, pace.at_most(LONGEST_TURN)))

    def longest_turn(self):
        return json.loads(self.client.manager("Describe"))["LongestTurnCpu"] / 1e6

    def test_no_turn_of_the_loop_is_long(self):
        functions = [self.sysfs.add(f"0000:{0x10 + n // 256:02x}:{n // 8 % 32:02x}.{n % 8}", driver="e1000e")
                     for n in range(1000)]
        addresses = [function.address for function in functions]
        self.start()
        mark, longest = self.daemon.log_mark(), self.longest_turn()
        # Others are served in between.
        call = self.client.bus.start_call(vb.ROOT, vb.MANAGER, "InhibitMany", "(assssa{sv})",
                                          (addresses, "reset:remove:open", "web1", "", {"check": GLib.Variant("s", "reset")}),
                                          with_fds=True)
        blockers = self.client.check(addresses[-1], "reset")[1]
        self.assertEqual([blocker[:2] for blocker in blockers], [("inhibitor", "web1")])
        self.assertEqual(call.result(4 * fixtures.DEADLINE)[1:], ([], 0))
        self._fds.extend(call.fds)
        self.assertEqual({function.mode("reset") for function in functions}, {0})
        self.assert_turns(mark, longest)
        self.release(self._fds[-1])
        self.wait_listed()
        vb.wait_until(lambda: {function.mode("reset") for function in functions} == {0o200}, None, "all to be unlocked")
        self.assert_turns(mark, longest)

    def test_a_disk_that_is_full_in_the_middle(self):
        """Nothing of it stays, also where files are locked by then."""
        functions = [self.sysfs.add(f"0000:{0x10 + n // 256:02x}:{n // 8 % 32:02x}.{n % 8}", driver="vfio-pci")
                     for n in range(200)]
        disk = SmallDisk(self.state_dir, "48k")
        self.addCleanup(disk.close)
        self.start()
        addresses = [function.address for function in functions]
        self.inhibit_many(addresses[:40], "reset")
        self.release(self._fds[-1])
        self.wait_listed()
        error = self.assert_bus_error(vb.FAILED, self.client.inhibit_many, addresses, "reset")
        self.assertIn(self.state_dir, error.message)
        self.assertEqual(self.listed(), [])
        vb.wait_until(lambda: {function.mode("reset") for function in functions} == {0o200}, None, "all to be unlocked")


if __name__ == "__main__":
    fixtures.main()
