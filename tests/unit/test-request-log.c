#include "dbus/request-log.h"

#include <criterion/criterion.h>
#include <glib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define UID   1000U
#define OTHER 1001U
#define START (UINT64_C(1) << 40)

/* How many of `n` lines of `uid` may be printed at `now`. */
static unsigned take(RequestLog *log, uint32_t uid, unsigned n, uint64_t now) {
        unsigned taken = 0, left_out;

        for (unsigned i = 0; i < n; i++)
                taken += request_log_take(log, uid, now, &left_out);
        return taken;
}

Test(request_log, a_user_is_bounded) {
        RequestLog *log = request_log_new();
        unsigned left_out;

        cr_assert_eq(take(log, UID, 1000, START), REQUEST_LOG_BURST);
        cr_assert_eq(take(log, UID, 1, START + REQUEST_LOG_INTERVAL_USEC - 1), 0);
        cr_assert_eq(take(log, OTHER, 3, START), 3, "others are not affected");
        cr_assert_eq(take(log, 0, 10000, START), 10000, "root has no bound");
        /* The first line of the next interval says how many were left out. */
        cr_assert(request_log_take(log, UID, START + REQUEST_LOG_INTERVAL_USEC, &left_out));
        cr_assert_eq(left_out, 1001 - REQUEST_LOG_BURST);
        cr_assert(request_log_take(log, UID, START + REQUEST_LOG_INTERVAL_USEC, &left_out));
        cr_assert_eq(left_out, 0);
        request_log_unref(log);
}

/* Who has very many users cannot have very many lines, nor the daemon's memory. */
Test(request_log, many_users_share) {
        RequestLog *log = request_log_new();
        unsigned taken = 0;

        for (uint32_t uid = 1; uid <= 5000; uid++)
                taken += take(log, uid, 1, START);
        cr_assert_eq(taken, 1024 + REQUEST_LOG_BURST);
        /* Later there is room again. */
        cr_assert_eq(take(log, 9000, 1, START + REQUEST_LOG_INTERVAL_USEC), 1);
        request_log_unref(log);
}

Test(request_log, command) {
        char command[METHOD_COMMAND_MAX];

        cr_assert_eq(prctl(PR_SET_NAME, "a\nb\x1b[1mc"), 0);
        request_log_read_command((uint32_t) getpid(), command);
        cr_assert_str_eq(command, "a b [1mc");
        cr_assert_eq(
                prctl(PR_SET_NAME, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
                0);
        request_log_read_command((uint32_t) getpid(), command);
        cr_assert(g_utf8_validate(command, -1, NULL));
        cr_assert_eq(g_utf8_strlen(command, -1), 15);
        request_log_read_command(0, command);
        cr_assert_str_eq(command, "?");
        request_log_read_command(0x7fffffff, command); /* above any pid_max */
        cr_assert_str_eq(command, "?");
}
