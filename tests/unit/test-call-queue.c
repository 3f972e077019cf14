#include "policy/call-queue.h"

#include <criterion/criterion.h>
#include <errno.h>

/* A call is a text; its first letter says whether it is ready ('-': it is not). */
static bool is_ready(void *userdata, void *call) {
        return ((const char *) call)[0] != '-';
}

static void add(CallQueue *queue, uint32_t uid, const char *client, const char *call) {
        cr_assert_eq(call_queue_add(queue, uid, client, (void *) call), 0, "%s", call);
}

static void expect(CallQueue *queue, const char *expected) {
        void *call = call_queue_next(queue, is_ready, NULL);

        cr_assert_not_null(call, "%s", expected);
        cr_assert_str_eq(call, expected);
        call_queue_remove(queue, call);
}

static void expect_none(CallQueue *queue) {
        cr_assert_null(call_queue_next(queue, is_ready, NULL));
}

Test(call_queue, users_take_turns_and_root_is_first) {
        g_autoptr(CallQueue) queue = call_queue_new();

        expect_none(queue);
        for (unsigned i = 0; i < 3; i++)
                add(queue, 1000, ":1.1", "a");
        add(queue, 1000, ":1.2", "a2");
        add(queue, 1001, ":1.3", "b");
        add(queue, 1001, ":1.3", "b2");
        add(queue, 1002, ":1.4", "c");
        add(queue, 0, ":1.5", "root");
        add(queue, 0, ":1.5", "root2");
        cr_assert_eq(call_queue_count(queue), 9);

        expect(queue, "root");
        expect(queue, "root2");
        expect(queue, "a");
        expect(queue, "b");
        expect(queue, "c");
        add(queue, 0, ":1.5", "root3");
        expect(queue, "root3");
        expect(queue, "a");
        expect(queue, "b2");
        expect(queue, "a");
        expect(queue, "a2");
        expect_none(queue);
        cr_assert_eq(call_queue_count(queue), 0);
}

/* The answer in progress stays the next; only root's come before it. */
Test(call_queue, a_call_is_the_next_until_it_is_removed) {
        g_autoptr(CallQueue) queue = call_queue_new();

        add(queue, 1000, ":1.1", "a");
        cr_assert_str_eq(call_queue_next(queue, is_ready, NULL), "a");
        add(queue, 1001, ":1.2", "b");
        cr_assert_str_eq(call_queue_next(queue, is_ready, NULL), "a");
        add(queue, 0, ":1.3", "root");
        expect(queue, "root");
        expect(queue, "a");
        expect(queue, "b");
}

Test(call_queue, one_that_is_not_ready_holds_up_nobody) {
        g_autoptr(CallQueue) queue = call_queue_new();

        add(queue, 0, ":1.1", "-root");
        add(queue, 1000, ":1.2", "-a");
        add(queue, 1000, ":1.3", "a2");
        add(queue, 1001, ":1.4", "b");
        expect(queue, "a2");
        expect(queue, "b");
        expect_none(queue);
        cr_assert_eq(call_queue_count(queue), 2);
}

Test(call_queue, clients_and_users_have_bounds) {
        g_autoptr(CallQueue) queue = call_queue_new();

        for (unsigned i = 0; i < CALL_QUEUE_CLIENT_MAX; i++)
                add(queue, 1000, ":1.1", "a");
        cr_assert_eq(call_queue_add(queue, 1000, ":1.1", (void *) "a"), -EDQUOT);
        for (unsigned i = CALL_QUEUE_CLIENT_MAX; i < CALL_QUEUE_UID_MAX; i++)
                add(queue, 1000, ":1.2", "a");
        cr_assert_eq(call_queue_add(queue, 1000, ":1.3", (void *) "a"), -EDQUOT);
        /* Others have theirs, and root has more. */
        add(queue, 1001, ":1.4", "b");
        for (unsigned i = 0; i < CALL_QUEUE_ROOT_MAX; i++)
                add(queue, 0, ":1.5", "root");
        cr_assert_eq(call_queue_add(queue, 0, ":1.6", (void *) "root"), -EDQUOT);
        expect(queue, "root");
        add(queue, 0, ":1.6", "root");
}

static void count(gpointer call, gpointer n) {
        (*(unsigned *) n)++;
}

Test(call_queue, calls_are_found) {
        g_autoptr(CallQueue) queue = call_queue_new();
        unsigned n = 0;

        add(queue, 1000, ":1.1", "a");
        add(queue, 1001, ":1.2", "b");
        add(queue, 1001, ":1.3", "c");
        cr_assert_str_eq(call_queue_find(queue, ":1.3"), "c");
        cr_assert_null(call_queue_find(queue, ":1.4"));
        call_queue_foreach(queue, count, &n);
        cr_assert_eq(n, 3);
        call_queue_remove(queue, call_queue_find(queue, ":1.1"));
        cr_assert_null(call_queue_find(queue, ":1.1"));
        call_queue_remove(queue, (void *) "not there");
        cr_assert_eq(call_queue_count(queue), 2);
        cr_assert_null(call_queue_free(NULL));
}
