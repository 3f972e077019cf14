#!/usr/bin/python3
"""Who may do what: reading is free, the rest is polkit's to say, and asking it holds up nobody."""

import unittest

import fixtures
import vfwarden_bus as vb
from test_lock import ALL, LockTest

PF = "0000:01:00.0"
CONFIGURE = "org.vfwarden1.configure"
NO_SUCH_OBJECT = "org.freedesktop.DBus.Error.UnknownObject"


class Authorisation(LockTest):
    def guarded(self):
        """Every method that needs a permission: name -> call by somebody who is not root."""
        path = vb.function_path(PF)
        return {
            "Lock": (path, vb.FUNCTION, "Lock", "(s)", ("mine",)),
            "Unlock": (path, vb.FUNCTION, "Unlock"),
            "Reload": (vb.ROOT, vb.MANAGER, "Reload"),
            "ReleaseAll": (vb.ROOT, vb.MANAGER, "ReleaseAll"),
        }

    def test_reading_is_free_without_polkit(self):
        self.sysfs.add_pf(PF, vfs=1)
        self.start()
        path = vb.function_path(PF)
        free = [
            (vb.ROOT, vb.MANAGER, "ListFunctions"),
            (vb.ROOT, vb.MANAGER, "GetFunction", "(s)", (PF,)),
            (vb.ROOT, vb.MANAGER, "Describe"),
            (vb.ROOT, vb.OBJECT_MANAGER, "GetManagedObjects"),
            (vb.ROOT, vb.PROPERTIES, "GetAll", "(s)", (vb.MANAGER,)),
            (path, vb.PROPERTIES, "GetAll", "(s)", (vb.FUNCTION,)),
            (path, vb.PROPERTIES, "Get", "(ss)", (vb.PHYSICAL, "NumVFs")),
            (path, vb.INTROSPECTABLE, "Introspect"),
            (vb.ROOT, vb.PEER, "Ping"),
        ]
        for call in free:
            with self.subTest(call[2]):
                self.as_other_user(*call)

    def test_denied(self):
        polkit = self.start_polkit(configure=False)
        pf = self.sysfs.add_pf(PF)
        self.start()
        for name, call in self.guarded().items():
            with self.subTest(name):
                before = len(polkit.questions)
                self.assert_bus_error(vb.ACCESS_DENIED, self.as_other_user, *call)
                self.assertEqual([q.action for q in polkit.questions[before:]], [CONFIGURE])
        self.assert_closed(pf)
        self.assertIs(self.client.function(PF, "Locked"), False)

    def test_allowed(self):
        polkit = self.start_polkit(configure=True)
        pf = self.sysfs.add_pf(PF)
        self.start()
        for name, call in self.guarded().items():
            with self.subTest(name):
                self.as_other_user(*call)
                self.assertEqual(polkit.questions[-1].action, CONFIGURE)
        self.assert_closed(pf)

    def test_what_polkit_is_told(self):
        polkit = self.start_polkit(configure=True)
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="igbvf")
        self.start()
        vf = pf.vfs[0]
        self.as_other_user(vb.function_path(vf.address), vb.FUNCTION, "Lock", "(s)", ("mine",))
        question = polkit.questions[-1]
        kind, subject = question.subject
        self.assertEqual(kind, "system-bus-name")
        self.assertRegex(subject["name"], r"^:")
        self.assertEqual(question.flags & 1, 0, "no question to a person unless the caller said so")
        self.assertEqual(question.details.get("address"), vf.address)
        self.assertEqual(question.details.get("kind"), "vf")
        self.assertEqual(question.details.get("driver"), "igbvf")
        self.assertIn(PF, question.details.values())

    def test_what_polkit_is_told_of_an_inhibitor(self):
        polkit = self.start_polkit(inhibit=False)
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="igbvf")
        self.start()
        for address, details in (
                (pf.vfs[0].address, {"address": pf.vfs[0].address, "kind": "vf", "driver": "igbvf", "pf": PF}),
                (PF, {"address": PF, "kind": "pf", "driver": "igb", "pf": ""}),
                ("0000:09:00.0", {}), ("web1", {})):
            with self.subTest(address):
                self.assert_bus_error(vb.ACCESS_DENIED, self.as_other_user, vb.ROOT, vb.MANAGER, "Inhibit", "(ssss)",
                                      (address, "reset", "me", ""))
                self.assertEqual(polkit.questions[-1].details, details)
        polkit.verdicts["org.vfwarden1.inhibit"] = True
        self.assert_bus_error(vb.INVALID_ARGS, self.client.manager, "Inhibit", "(ssss)", "web1", "reset", "me", "")

    def test_interactive_if_the_caller_says_so(self):
        polkit = self.start_polkit(configure=True)
        self.sysfs.add_pf(PF)
        self.start()
        self.client_of().lock(PF, interactive=True)
        self.assertEqual(polkit.questions[-1].flags & 1, 1)

    def test_a_caller_who_leaves_takes_the_question_back(self):
        polkit = self.start_polkit(configure="later")
        pf = self.sysfs.add_pf(PF)
        polkit.answers_cancelled = False
        self.start()
        callers = [self.client_of() for _ in range(2)]
        for caller in callers:
            before = len(polkit.questions)
            caller.start_function_call(PF, "Lock", "(s)", caller.bus.connection.get_unique_name(), interactive=True)
            vb.wait_until(lambda n=before: len(polkit.questions) > n, None, "polkit to be asked")
        leaves, stays = polkit.questions
        self.assertTrue(leaves.cancellation and stays.cancellation)
        self.assertNotEqual(leaves.cancellation, stays.cancellation)
        callers[0].close()
        vb.wait_until(lambda: polkit.cancelled, None, "the question to be cancelled")
        # What is said to it all the same has no effect.
        leaves.answer(True)
        self.fence()
        self.assert_closed(pf)
        stays.answer(True)
        self.wait_property(PF, "Locked", True)
        self.assertEqual(self.picture.function(PF)["LockWhy"], callers[1].bus.connection.get_unique_name())
        callers[1].close()
        self.fence()
        self.assertEqual(polkit.cancelled, [leaves.cancellation])

    def test_without_polkit_root_alone(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        for name, call in self.guarded().items():
            with self.subTest(name):
                self.assert_bus_error(vb.ACCESS_DENIED, self.as_other_user, *call)
        self.client.lock(PF)
        self.assert_closed(pf, *ALL)
        self.client.unlock(PF)
        self.assert_closed(pf)

    def start_other(self, *call):
        """The pending call of another user; polkit has been asked when it returns."""
        import json
        path, interface, method, *rest = call
        signature, arguments = rest if rest else ("()", ())
        before = len(self.polkit.questions)
        process = fixtures.OtherUser(self.bus.address).start(
            path, interface, method, signature, json.dumps(list(arguments)))
        self.addCleanup(process.stdout.close)
        vb.wait_until(lambda: len(self.polkit.questions) > before, 2 * fixtures.DEADLINE,
                      "polkit to be asked")
        return process

    def test_late_answer_holds_up_nobody(self):
        self.start_polkit(configure="later")
        pf = self.sysfs.add_pf(PF)
        self.start()
        process = self.start_other(*self.guarded()["Lock"])
        # Meanwhile: properties, methods, events, and other questions.
        self.assertIs(self.client.function(PF, "Locked"), False)
        self.client.list_functions()
        self.sysfs.add("0000:02:00.0", announce=True)
        self.wait_function("0000:02:00.0")
        self.assert_closed(pf)
        self.polkit.open_questions[0].answer(True)
        self.finish_other_user(process)
        self.assert_closed(pf, *ALL)

    def test_late_no(self):
        self.start_polkit(configure="later")
        pf = self.sysfs.add_pf(PF)
        self.start()
        process = self.start_other(*self.guarded()["Lock"])
        self.polkit.open_questions[0].answer(False)
        self.assert_bus_error(vb.ACCESS_DENIED, self.finish_other_user, process)
        self.assert_closed(pf)

    def test_polkit_dies_over_the_question(self):
        self.start_polkit(configure="later")
        pf = self.sysfs.add_pf(PF)
        self.start()
        process = self.start_other(*self.guarded()["Lock"])
        self.polkit.close()
        self.assert_bus_error(vb.ACCESS_DENIED, self.finish_other_user, process)
        self.assert_closed(pf)

    def test_polkit_fails(self):
        self.start_polkit(configure="later")
        pf = self.sysfs.add_pf(PF)
        self.start()
        process = self.start_other(*self.guarded()["Lock"])
        self.polkit.open_questions[0].fail()
        self.assert_bus_error(vb.ACCESS_DENIED, self.finish_other_user, process)
        self.assert_closed(pf)

    def test_polkit_that_fails_lets_nobody_in(self):
        # A site that has a polkit has rules in it: an error is no yes.
        self.start_polkit(configure="later")
        pf = self.sysfs.add_pf(PF)
        self.start()
        visitor = self.client_of()
        for how in ("fails", "dies"):
            with self.subTest(how):
                call = visitor.start_function_call(PF, "Lock", "(s)", "mine")
                vb.wait_until(lambda: self.polkit.open_questions, None, "polkit to be asked")
                if how == "fails":
                    self.polkit.open_questions[0].fail()
                else:
                    self.polkit.close()
                self.assert_bus_error(vb.ACCESS_DENIED, call.result)
                self.assert_closed(pf)

    def test_polkit_that_never_answers_is_not_waited_for(self):
        # For 25 seconds, which no scale of deadlines changes.
        polkit = self.start_polkit(configure="later")
        pf = self.sysfs.add_pf(PF)
        self.start()
        call = self.client_of().start_function_call(PF, "Lock", "(s)", "mine")
        error = self.assert_bus_error(vb.ACCESS_DENIED, call.result, 30 + fixtures.DEADLINE)
        self.assertIn("in time", error.message)
        vb.wait_until(lambda: polkit.cancelled, None, "the question to be cancelled")
        self.assertEqual(polkit.cancelled, [polkit.questions[0].cancellation])
        self.assert_closed(pf)

    def test_lock_and_unlock_under_way_together(self):
        # Answered in the other order: each answer is for its own question.
        polkit = self.start_polkit(configure="later")
        pf = self.sysfs.add_pf(PF)
        self.start()
        visitor = self.client_of()
        lock = visitor.start_function_call(PF, "Lock", "(s)", "mine")
        unlock = visitor.start_function_call(PF, "Unlock")
        vb.wait_until(lambda: len(polkit.open_questions) == 2, None, "both to be asked")
        polkit.questions[1].answer(True)
        unlock.result()
        self.assert_closed(pf)
        polkit.questions[0].answer(True)
        lock.result()
        self.assert_closed(pf, *ALL)

    def test_function_goes_while_polkit_thinks(self):
        self.start_polkit(configure="later")
        pf = self.sysfs.add_pf(PF)
        self.start()
        process = self.start_other(*self.guarded()["Lock"])
        self.sysfs.remove(pf)
        self.wait_function(PF, there=False)
        self.polkit.open_questions[0].answer(True)
        error = self.assert_bus_error(vb.GONE, self.finish_other_user, process)
        self.assertIn(PF, error.message)

    def test_another_device_in_its_place_gets_no_lock(self):
        # What was allowed was the lock of the old one.
        self.start_polkit(configure="later")
        pf = self.sysfs.add_pf(PF)
        self.start()
        process = self.start_other(*self.guarded()["Lock"])
        self.sysfs.remove(pf)
        self.wait_function(PF, there=False)
        pf = self.sysfs.add_pf(PF, announce=True)
        self.wait_function(PF)
        self.polkit.open_questions[0].answer(True)
        self.assert_bus_error(vb.GONE, self.finish_other_user, process)
        self.fence()
        self.assert_closed(pf)

    def test_caller_leaves_while_polkit_thinks(self):
        self.start_polkit(configure="later")
        self.sysfs.add_pf(PF)
        self.start()
        process = self.start_other(*self.guarded()["Lock"])
        process.kill()
        process.wait()
        self.polkit.open_questions[0].answer(True)
        self.fence()
        self.assertTrue(self.daemon.running)

    def test_daemon_stops_while_polkit_thinks(self):
        self.start_polkit(configure="later")
        self.sysfs.add_pf(PF)
        self.start()
        process = self.start_other(*self.guarded()["Lock"])
        self.stop()
        with self.assertRaises(vb.BusError):
            self.finish_other_user(process)

    def test_limit_is_given_back(self):
        self.start_polkit(configure=False)
        self.sysfs.add_pf(PF)
        self.start()
        for _ in range(40):
            self.assert_bus_error(vb.ACCESS_DENIED, self.as_other_user, *self.guarded()["Unlock"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
