#include "daemon/base/notify.h"

#include "daemon/base/util.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

/* systemd's end, in the abstract namespace. */
static int make_receiver(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        size_t length;
        char name[64];

        cr_assert_geq(fd, 0);
        snprintf(name, sizeof(name), "@vfwarden-test-%d", (int) getpid());
        length = strlen(name);
        memcpy(address.sun_path, name, length);
        address.sun_path[0] = '\0';
        cr_assert_eq(bind(fd, (struct sockaddr *) &address,
                          (socklen_t) (offsetof(struct sockaddr_un, sun_path) + length)),
                     0);
        cr_assert_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
        return fd;
}

static void expect(int receiver, const char *wanted) {
        char text[256];
        ssize_t n = recv(receiver, text, sizeof(text) - 1, MSG_DONTWAIT);

        cr_assert_geq(n, 0, "%s", strerror(errno));
        text[n] = '\0';
        cr_assert_str_eq(text, wanted);
}

Test(notify, needs_no_descriptor) {
        _cleanup_(closep) int receiver = make_receiver();
        struct rlimit limit = { 64, 64 };
        Notify *notify = NULL;

        cr_assert_eq(notify_new(&notify), 0);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        while (dup(receiver) >= 0)
                ;
        cr_assert_eq(errno, EMFILE);
        cr_assert_eq(notify_send(notify, "STATUS=%u functions", 7), 0);
        expect(receiver, "STATUS=7 functions");
        cr_assert_null(notify_free(notify));
        cr_assert_null(notify_free(NULL));
}

Test(notify, passes_a_descriptor) {
        _cleanup_(closep) int receiver = make_receiver();
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int))];
        } control;
        char text[64] = "";
        struct iovec iov = { text, sizeof(text) - 1 };
        struct msghdr message = { .msg_iov = &iov,
                                  .msg_iovlen = 1,
                                  .msg_control = &control,
                                  .msg_controllen = sizeof(control) };
        Notify *notify = NULL;
        int ends[2], passed;

        cr_assert_eq(pipe(ends), 0);
        cr_assert_eq(notify_new(&notify), 0);
        cr_assert_eq(notify_send_fd(notify, ends[1], "FDSTORE=1\nFDNAME=%s", "x"), 0);
        cr_assert_gt(recvmsg(receiver, &message, MSG_DONTWAIT), 0);
        cr_assert_str_eq(text, "FDSTORE=1\nFDNAME=x");
        cr_assert_eq(control.header.cmsg_type, SCM_RIGHTS);
        memcpy(&passed, CMSG_DATA(&control.header), sizeof(passed));
        cr_assert_eq(write(passed, "y", 1), 1);
        cr_assert_eq(read(ends[0], text, 1), 1);
        cr_assert_eq(text[0], 'y');
        notify_free(notify);
}

Test(notify, watchdog_goes_on) {
        _cleanup_(closep) int receiver = make_receiver();
        Notify *notify = NULL;
        sd_event *event = NULL;

        cr_assert_eq(setenv("WATCHDOG_USEC", "40000", 1), 0);
        cr_assert_eq(sd_event_new(&event), 0);
        cr_assert_eq(notify_new(&notify), 0);
        cr_assert_eq(notify_start_watchdog(notify, event), 0);
        for (unsigned i = 0; i < 3; i++) {
                cr_assert_gt(sd_event_run(event, UINT64_MAX), 0);
                expect(receiver, "WATCHDOG=1");
        }
        notify_free(notify);
        sd_event_unref(event);
}

Test(notify, nobody_listens) {
        Notify *notify = NULL;

        cr_assert_eq(unsetenv("NOTIFY_SOCKET"), 0);
        cr_assert_eq(notify_new(&notify), 0);
        cr_assert_eq(notify_send(notify, "READY=1"), 0);
        notify_free(notify);

        cr_assert_eq(setenv("NOTIFY_SOCKET", "/nonexistent/vfwarden", 1), 0);
        cr_assert_eq(notify_new(&notify), 0);
        cr_assert_eq(notify_send(notify, "READY=1"), -ENOENT);
        notify_free(notify);
}

Test(notify, odd_addresses) {
        static const char *const odd[] = { "", "@", "vsock:2:1234", "relative" };
        Notify *notify = NULL;
        char longest[200] = "/";

        for (unsigned i = 0; i < G_N_ELEMENTS(odd); i++) {
                cr_assert_eq(setenv("NOTIFY_SOCKET", odd[i], 1), 0);
                cr_assert_eq(notify_new(&notify), -EAFNOSUPPORT, "%s", odd[i]);
        }
        memset(longest + 1, 'x', sizeof(longest) - 2);
        cr_assert_eq(setenv("NOTIFY_SOCKET", longest, 1), 0);
        cr_assert_eq(notify_new(&notify), -E2BIG);
}
