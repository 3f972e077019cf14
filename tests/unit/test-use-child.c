#include "daemon/uses/use-child.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>
#include <sys/socket.h>
#include <unistd.h>

/* So many functions with as many uses as are kept of one fill the list; two more come after them.
 */
#define N_FULL         (USES_MAX / USES_OF_FUNCTION_MAX)
#define USED           ((PciKey) N_FULL)
#define WARNED         ((PciKey) N_FULL + 1)
#define SOCKET_TIMEOUT 60 /* seconds, for a machine that is busy */

static void add_uses(UseChild *child, PciKey key, UseKind kind, unsigned n) {
        for (uint32_t pid = 1; pid <= n; pid++)
                use_child_add(child, key, kind, "resource0", "flash", pid);
}

static int open_nothing(UseChild *child, void **ret_state) {
        return 0;
}

static int look_at_many(UseChild *child, void *state) {
        for (PciKey key = 0; key < N_FULL; key++)
                add_uses(child, key, USE_PROGRAM_RESOURCE, USES_OF_FUNCTION_MAX + 1);
        add_uses(child, USED, USE_PROGRAM_RESOURCE, 3);
        add_uses(child, WARNED, USE_PROGRAM_DISPLAY, 3);
        return 0;
}

static int look_at_full(UseChild *child, void *state) {
        for (PciKey key = 0; key < N_FULL; key++)
                add_uses(child, key, USE_PROGRAM_RESOURCE, USES_OF_FUNCTION_MAX + 1);
        return 0;
}

/* The number of uses that the first look at it reports of each function. */
static void hear(int (*look)(UseChild *, void *), unsigned counts[static WARNED + 1],
                 char note[static USE_BY_MAX]) {
        const UseSource source = { .name = "test", .open = open_nothing, .look = look };
        UseTask task = { &source, "/proc" };
        struct timeval timeout = { .tv_sec = SOCKET_TIMEOUT };
        UseReport report;
        int channel[2];

        cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel), 0);
        if (fork() == 0) {
                close(channel[0]);
                use_child_run(&task, channel[1]);
        }
        close(channel[1]);
        (void) setsockopt(channel[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        for (;;) {
                cr_assert_eq(recv(channel[0], &report, sizeof(report), 0), sizeof(report));
                if (report.report == USE_REPORT_END)
                        break;
                if (report.report == USE_REPORT_NOTE)
                        g_strlcpy(note, report.by, USE_BY_MAX);
                else if (report.report == USE_REPORT_USE && report.key <= WARNED)
                        counts[report.key]++;
        }
        cr_assert_eq(report.result, 0);
        close(channel[0]);
}

Test(use_child, beyond_the_most_one_that_stands_is_told_of_each_function) {
        unsigned counts[WARNED + 1] = { 0 };
        char note[USE_BY_MAX] = "";

        hear(look_at_many, counts, note);
        for (unsigned key = 0; key < N_FULL; key++)
                cr_assert_eq(counts[key], USES_OF_FUNCTION_MAX, "%u", key);
        cr_assert_eq(counts[USED], 1);
        cr_assert_eq(counts[WARNED], 0);
        cr_assert(strstr(note, "too many uses"));
}

Test(use_child, more_of_one_function_than_are_kept_is_no_matter) {
        unsigned counts[WARNED + 1] = { 0 };
        char note[USE_BY_MAX] = "";

        hear(look_at_full, counts, note);
        cr_assert_eq(counts[0], USES_OF_FUNCTION_MAX);
        cr_assert_str_eq(note, "");
}

/* What hides more counts. */
Test(use_child, results_are_joined) {
        static const struct {
                int a, b, joined;
        } rows[] = {
                { 0, 0, 0 },
                { 0, USE_PARTLY_SEEN, USE_PARTLY_SEEN },
                { USE_PARTLY_SEEN, 0, USE_PARTLY_SEEN },
                { USE_PARTLY_SEEN, -EMFILE, -EMFILE },
                { -EMFILE, USE_PARTLY_SEEN, -EMFILE },
                { -EMFILE, 0, -EMFILE },
                { 0, -EMFILE, -EMFILE },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
                cr_expect_eq(use_result_join(rows[i].a, rows[i].b), rows[i].joined, "row %zu", i);
}
