#include "daemon/uses/netlink.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int count_message(void *context, const struct nlmsghdr *message) {
        (*(unsigned *) context)++;
        return 0;
}

Test(netlink, the_kernel_is_heard) {
        int fd = netlink_open(0);
        unsigned n = 0;

        cr_assert_geq(fd, 0);
        cr_assert_eq(netlink_dump(fd, RTM_GETLINK, AF_UNSPEC, 65536, count_message, &n), 0);
        cr_expect_gt(n, 0, "there is at least the loopback interface");
        (void) close(fd);
}

/* All numbers that a question may have, of an interface and of the end. */
static void send_forged(int fd) {
        struct {
                struct nlmsghdr header;
                struct ifinfomsg body;
        } link = { .header = { .nlmsg_len = sizeof(link), .nlmsg_type = RTM_NEWLINK } },
          end = { .header = { .nlmsg_len = sizeof(end), .nlmsg_type = NLMSG_DONE } };

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (uint32_t sequence = 1;; sequence = sequence % 4 + 1) {
                link.header.nlmsg_seq = end.header.nlmsg_seq = sequence;
                if (send(fd, &link, sizeof(link), MSG_NOSIGNAL) < 0 ||
                    send(fd, &end, sizeof(end), MSG_NOSIGNAL) < 0)
                        _exit(EXIT_SUCCESS);
        }
}

/* The other end of a pair of sockets is not the kernel. */
Test(netlink, nobody_else_is_heard_and_no_flood_is_endless) {
        int pair[2], status;
        unsigned n = 0;
        pid_t pid;

        cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
        pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
                (void) close(pair[0]);
                send_forged(pair[1]);
        }
        (void) close(pair[1]);
        cr_expect_eq(netlink_dump(pair[0], RTM_GETLINK, AF_UNSPEC, 65536, count_message, &n),
                     -EBUSY);
        cr_expect_eq(n, 0);
        (void) close(pair[0]);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
}
