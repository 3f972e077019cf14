#include "daemon/uses/use-helper.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

/* More questions than a socket takes. */
#define QUESTIONS 4096

/* Shared with the process: while `closed`, a look does not end. `asked`: how many questions were
 * asked when a look began. */
typedef struct Gate {
        _Atomic bool closed, entered;
        _Atomic uint64_t asked, seen;
} Gate;

static Gate *gate;

static int open_gate(UseChild *child, void **ret_state) {
        return 0;
}

static int look_through(UseChild *child, void *state) {
        atomic_store(&gate->seen, atomic_load(&gate->asked));
        while (atomic_load(&gate->closed)) {
                atomic_store(&gate->entered, true);
                use_child_go_on(child);
                (void) usleep(1000);
        }
        return 0;
}

static void on_changed(void *context, const GArray *keys) {
}

static void on_looked(void *context) {
}

static const UseSource source = {
        .name = "test", .what = "tests", .open = open_gate, .look = look_through
};
static const UseHelperHandler handler = { on_changed, on_looked };

static void run_until_answered(sd_event *event, const UseHelper *helper, uint64_t ticket) {
        while (use_helper_answered(helper) < ticket)
                cr_assert_geq(sd_event_run(event, UINT64_MAX), 0);
}

/* While a look goes on, more questions come than the process can take. No question is answered by a
 * look that began before it, and none by a failure. */
Test(use_helper, more_questions_than_the_process_takes) {
        sd_event *event = NULL;
        UseHelper *helper = NULL;
        uint64_t ticket;
        sigset_t child;

        sigemptyset(&child);
        sigaddset(&child, SIGCHLD);
        (void) sigprocmask(SIG_BLOCK, &child, NULL);

        gate = mmap(NULL, sizeof(*gate), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        cr_assert_neq(gate, MAP_FAILED);
        cr_assert_geq(sd_event_new(&event), 0);
        cr_assert_geq(use_helper_new(event, &source, "/proc", &handler, NULL, &helper), 0);
        run_until_answered(event, helper, use_helper_ask(helper));
        atomic_store(&gate->closed, true);
        ticket = use_helper_ask(helper);
        while (!atomic_load(&gate->entered))
                (void) usleep(1000);
        for (unsigned i = 0; i < QUESTIONS; i++) {
                atomic_fetch_add(&gate->asked, 1);
                ticket = use_helper_ask(helper);
        }
        cr_expect_lt(use_helper_answered(helper), ticket, "none of these looks has ended");
        atomic_store(&gate->closed, false);
        run_until_answered(event, helper, ticket);
        cr_expect_eq(use_helper_result(helper), 0);
        cr_expect_eq(atomic_load(&gate->seen), QUESTIONS, "it began after the last question");
        use_helper_free(helper);
        sd_event_unref(event);
}
