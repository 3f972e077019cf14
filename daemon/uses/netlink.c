#include "daemon/uses/netlink.h"

#include "daemon/base/util.h"

#include <glib.h>
#include <linux/net_namespace.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* As rtnetlink(7) wants it: a message of a dump is no longer than 32 KiB (netlink_dump() in
 * net/netlink/af_netlink.c). */
#define BUFFER_SIZE (32 * 1024)
/* Events are only a reason to look; more of them are lost. */
#define RECEIVE_BUFFER (256 * 1024)
/* Messages of others than the kernel, which are dropped while one answer is awaited. */
#define STRANGERS_MAX 4096

int netlink_enter_host(const char *proc) {
        g_autofree char *path = g_strconcat(proc, "/1/ns/net", NULL);
        _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat host, own;

        if (fd < 0 || fstat(fd, &host) < 0 || stat("/proc/self/ns/net", &own) < 0)
                return -errno;
        if ((host.st_dev != own.st_dev || host.st_ino != own.st_ino) && setns(fd, CLONE_NEWNET) < 0)
                return -errno;
        return take_fd(&fd);
}

int netlink_open(uint32_t groups) {
        struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = groups };
        int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
        int size = RECEIVE_BUFFER;

        if (fd < 0)
                return -errno;
        (void) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
        if (bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0) {
                int r = -errno;

                closep(&fd);
                return r;
        }
        return fd;
}

static int send_dump(int fd, uint16_t type, uint8_t family, uint32_t sequence) {
        struct {
                struct nlmsghdr header;
                struct ifinfomsg body; /* the longest of the three; family comes first in each */
                struct rtattr attribute;
                uint32_t mask;
        } request = {
                .header = { .nlmsg_len = sizeof(request),
                            .nlmsg_type = type,
                            .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                            .nlmsg_seq = sequence },
                .body = { .ifi_family = family },
                .attribute = { .rta_len = RTA_LENGTH(sizeof(uint32_t)), .rta_type = IFLA_EXT_MASK },
                .mask = RTEXT_FILTER_SKIP_STATS,
        };

        if (type != RTM_GETLINK)
                request.header.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtgenmsg));
        return send(fd, &request, request.header.nlmsg_len, 0) < 0 ? -errno : 0;
}

typedef struct Dump {
        uint32_t sequence;
        unsigned left, n_strangers;
        NetlinkVisit *visit;
        void *context;
        bool ended, interrupted;
} Dump;

static int netlink_take_message(Dump *dump, const struct nlmsghdr *message) {
        const struct nlmsgerr *error = NLMSG_DATA(message);

        if (message->nlmsg_seq != dump->sequence)
                return 0;
        /* The list has changed between two of its parts (nl_dump_check_consistent()). */
        if (message->nlmsg_flags & NLM_F_DUMP_INTR)
                dump->interrupted = true;
        if (message->nlmsg_type == NLMSG_DONE) {
                dump->ended = true;
                return 0;
        }
        if (message->nlmsg_type == NLMSG_ERROR) {
                dump->ended = true;
                return message->nlmsg_len < NLMSG_LENGTH(sizeof(*error)) ? -EBADMSG : error->error;
        }
        if (dump->left-- == 0)
                return -E2BIG;
        return dump->visit(dump->context, message);
}

/* Who has CAP_NET_ADMIN in the network namespace, such as a container's root, can send to any
 * socket of it (netlink_sendmsg() in net/netlink/af_netlink.c). The kernel's own messages are of
 * port 0. */
static ssize_t receive_message(int fd, char buffer[static BUFFER_SIZE], bool *ret_is_kernels) {
        struct sockaddr_nl sender = { 0 };
        socklen_t size = sizeof(sender);
        ssize_t n;

        do
                n = recvfrom(fd, buffer, BUFFER_SIZE, 0, (struct sockaddr *) &sender, &size);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        *ret_is_kernels = size == sizeof(sender) && sender.nl_pid == 0;
        return n;
}

static int receive_part(int fd, Dump *dump) {
        _Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];
        bool is_kernels = false;
        ssize_t n = receive_message(fd, buffer, &is_kernels);
        int r = 0;

        if (n < 0)
                return (int) n;
        if (!is_kernels)
                return ++dump->n_strangers > STRANGERS_MAX ? -EBUSY : 0;
        for (struct nlmsghdr *message = (struct nlmsghdr *) (void *) buffer;
             r >= 0 && !dump->ended && NLMSG_OK(message, (size_t) n);
             message = NLMSG_NEXT(message, n))
                r = netlink_take_message(dump, message);
        return r;
}

int netlink_dump(int fd, uint16_t type, uint8_t family, unsigned max, NetlinkVisit *visit,
                 void *context) {
        static uint32_t sequence;
        Dump dump = { .left = max, .visit = visit, .context = context };
        int r;

        sequence++;
        dump.sequence = sequence;
        r = send_dump(fd, type, family, sequence);
        while (r >= 0 && !dump.ended)
                r = receive_part(fd, &dump);
        if (r < 0)
                return r;
        return dump.interrupted ? -EINTR : 0;
}

static int send_nsid_question(int fd, int namespace, uint32_t sequence) {
        struct {
                struct nlmsghdr header;
                struct rtgenmsg body;
                _Alignas(NLMSG_ALIGNTO) struct rtattr attribute;
                int32_t namespace;
        } request = {
                .header = { .nlmsg_len = sizeof(request),
                            .nlmsg_type = RTM_GETNSID,
                            .nlmsg_flags = NLM_F_REQUEST,
                            .nlmsg_seq = sequence },
                .attribute = { .rta_len = RTA_LENGTH(sizeof(int32_t)), .rta_type = NETNSA_FD },
                .namespace = namespace,
        };

        return send(fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

typedef struct NsidAnswer {
        int32_t nsid;
        bool is_there;
} NsidAnswer;

static int take_nsid(void *context, const struct nlmsghdr *message) {
        NsidAnswer *answer = context;

        answer->is_there = message->nlmsg_type == RTM_NEWNSID;
        answer->nsid = (int32_t) netlink_number(message, sizeof(struct rtgenmsg), NETNSA_NSID,
                                                (uint32_t) NETNSA_NSID_NOT_ASSIGNED);
        return 0;
}

int netlink_find_nsid(int fd, int namespace, int32_t *ret) {
        NsidAnswer answer = { 0 };
        Dump question = {
                .sequence = UINT32_MAX, .left = 1, .visit = take_nsid, .context = &answer
        };
        int r = send_nsid_question(fd, namespace, question.sequence);

        while (r >= 0 && !question.ended && question.left > 0)
                r = receive_part(fd, &question);
        if (r < 0 || !answer.is_there || answer.nsid < 0)
                return r < 0 ? r : 0;
        *ret = answer.nsid;
        return 1;
}

void netlink_receive_events(int fd, NetlinkVisit *visit, void *context) {
        _Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];
        ssize_t n;

        while ((n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) != 0) {
                if (n < 0 && errno == ENOBUFS) {
                        (void) visit(context, NULL);
                        continue;
                }
                if (n < 0)
                        return;
                for (struct nlmsghdr *message = (struct nlmsghdr *) (void *) buffer;
                     NLMSG_OK(message, (size_t) n); message = NLMSG_NEXT(message, n))
                        (void) visit(context, message);
        }
}

const void *netlink_attribute(const struct nlmsghdr *message, size_t header, uint16_t type,
                              size_t *ret_size) {
        size_t begin = NLMSG_SPACE(header);
        const struct rtattr *attribute;
        size_t left;

        if (message->nlmsg_len < begin)
                return NULL;
        left = message->nlmsg_len - begin;
        for (attribute = (const struct rtattr *) (const void *) ((const char *) message + begin);
             RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
                if ((attribute->rta_type & NLA_TYPE_MASK) == type) {
                        *ret_size = RTA_PAYLOAD(attribute);
                        return RTA_DATA(attribute);
                }
        return NULL;
}

uint32_t netlink_number(const struct nlmsghdr *message, size_t header, uint16_t type,
                        uint32_t otherwise) {
        size_t size = 0;
        const void *data = netlink_attribute(message, header, type, &size);
        uint32_t number;

        if (!data || size < sizeof(number))
                return otherwise;
        memcpy(&number, data, sizeof(number));
        return number;
}

const char *netlink_text(const struct nlmsghdr *message, size_t header, uint16_t type) {
        size_t size = 0;
        const char *text = netlink_attribute(message, header, type, &size);

        return text && memchr(text, '\0', size) ? text : NULL;
}
