#!/usr/bin/python3
"""Nobody can use up polkit for others: how many questions may be open, and whose."""

import collections

import fixtures
from fixtures import DEADLINE
from test_lock import ALL, LockTest
import vfwarden_bus as vb

PF = "0000:01:00.0"
# Users that every system has; the bus admits nobody that has no name.
USERS = (1, 2, 3, 5, 6, 7)
EACH = 32       # questions of one user
OPEN = 64       # of all users but root
ASKED = 96      # of these and of those that polkit has not answered


class Room(LockTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure="later")
        self.pf = self.sysfs.add_pf(PF)
        self.start()
        self.names = {}     # unique name -> uid

    def visitor(self, uid):
        client = self.client_of(uid)
        self.names[client.bus.unique_name] = uid
        return client

    def ask(self, client, count, why="flood"):
        """So many Locks, for which the user's agent is to be asked, and is silent."""
        return [client.start_function_call(PF, "Lock", "(s)", why, interactive=True, timeout=600) for _ in range(count)]

    def open_by_user(self):
        return collections.Counter(self.names[q.subject[1]["name"]] for q in self.polkit.open_questions)

    def refused(self, calls):
        """The errors so far."""
        return [call.error for call in calls if call.done]

    def settle(self):
        """When this is answered, so is what the daemon answers by itself and polkit confirms."""
        self.fence()
        vb.wait_until(lambda: len(self.polkit.open_questions) <= OPEN, 2 * DEADLINE,
                      lambda: f"{OPEN} questions, are {self.open_by_user()}")

    def test_one_user_has_a_limit(self):
        visitor = self.visitor(65534)
        calls = self.ask(visitor, 100)
        vb.wait_until(lambda: len(self.refused(calls)) == 100 - EACH, 2 * DEADLINE, "refusals")
        self.assertEqual({e.name for e in self.refused(calls)}, {vb.LIMITS_EXCEEDED})
        self.assertEqual(len(self.polkit.open_questions), EACH)
        # It is theirs alone, and what has ended does not count.
        self.polkit.open_questions[0].answer(False)
        self.assert_bus_error(vb.ACCESS_DENIED, calls[0].result)
        again = self.ask(visitor, 2)
        vb.wait_until(lambda: len(self.refused(again)) == 1, 2 * DEADLINE, "one more refusal")
        self.assertEqual(self.refused(again)[0].name, vb.LIMITS_EXCEEDED)

    def test_silent_agents_of_several_users_stop_nobody(self):
        calls = []
        for uid in USERS[:5]:
            calls += self.ask(self.visitor(uid), 40)
            self.settle()
        vb.wait_until(lambda: len(self.refused(calls)) >= len(calls) - OPEN, 2 * DEADLINE, "the others to be refused")
        self.assertEqual({e.name for e in self.refused(calls)}, {vb.LIMITS_EXCEEDED})
        shares = self.open_by_user().values()
        self.assertLessEqual(sum(shares), OPEN)
        self.assertEqual(len(shares), 5)
        self.assertGreaterEqual(min(shares), 4)
        # Root is not asked about.
        questions = len(self.polkit.questions)
        self.client.lock(PF, "by root")
        self.assertEqual(self.client.function(PF, "LockWhy"), "by root")
        self.assertEqual(len(self.polkit.questions), questions)
        # One more user is, and gets what polkit says.
        late = self.visitor(USERS[5])
        call = late.start_function_call(PF, "Lock", "(s)", "by the last", timeout=600)
        vb.wait_until(lambda: self.open_by_user()[USERS[5]], 2 * DEADLINE, "polkit to be asked about the last user")
        self.polkit.questions[-1].answer(True)
        call.result()
        self.assertEqual(self.client.function(PF, "LockWhy"), "by the last")
        # The first of those that wait lost none but the youngest: the oldest is served still.
        self.polkit.questions[0].answer(True)
        calls[0].result()

    def test_who_has_left_makes_room(self):
        visitors = [self.visitor(uid) for uid in USERS[:2]]
        for visitor in visitors:
            self.ask(visitor, 40)
            self.settle()
        visitors[0].close()
        vb.wait_until(lambda: not self.open_by_user()[USERS[0]], 2 * DEADLINE, "the questions to be cancelled")
        calls = self.ask(visitors[1], 40)
        vb.wait_until(lambda: self.open_by_user()[USERS[1]] == EACH, 2 * DEADLINE, "the room to be used")
        self.assertNotIn(vb.ACCESS_DENIED, {e.name for e in self.refused(calls)})

    def test_a_question_counts_until_polkit_lets_go_of_it(self):
        # The bus counts it as long: users who ask and leave must not use that up.
        self.polkit.answers_cancelled = False
        for uid in 3 * USERS:
            visitor = self.visitor(uid)
            calls, asked = self.ask(visitor, 40), self.asked_of(uid)
            vb.wait_until(lambda: len(self.refused(calls)) + self.asked_of(uid) - asked >= 40, 2 * DEADLINE, "refusals")
            visitor.close()
            vb.wait_until(lambda: len(self.polkit.cancelled) == len(self.polkit.questions), 2 * DEADLINE,
                          "all to be cancelled")
        self.assertLessEqual(len(self.polkit.open_questions), ASKED)
        self.assertGreater(len(self.polkit.open_questions), OPEN)
        error = self.assert_bus_error(vb.LIMITS_EXCEEDED, self.visitor(USERS[0]).lock, PF)
        self.assertIn("polkit", error.message)
        self.client.lock(PF, "by root")
        self.assert_closed(self.pf, *ALL)
        for question in self.polkit.open_questions:
            question.answer(True)
        self.polkit.verdicts["org.vfwarden1.configure"] = True
        vb.wait_until(lambda: self.may_lock(), 2 * DEADLINE, "room")
        self.assertEqual(self.client.function(PF, "LockWhy"), "by a visitor")

    def asked_of(self, uid):
        return sum(self.names[q.subject[1]["name"]] == uid for q in self.polkit.questions)

    def may_lock(self):
        try:
            self.visitor(USERS[4]).lock(PF, "by a visitor")
        except vb.BusError as error:
            self.assertEqual(error.name, vb.LIMITS_EXCEEDED)
            return False
        return True


if __name__ == "__main__":
    fixtures.main()
