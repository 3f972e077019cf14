#include "daemon/uses/netlink.h"

#include "daemon/base/util.h"

#include <string.h>
#include <sys/socket.h>

/* As rtnetlink(7) wants it: a message of a dump is no longer than 32 KiB (netlink_dump() in
 * net/netlink/af_netlink.c). */
#define BUFFER_SIZE (32 * 1024)
/* Events are only a reason to look; more of them are lost. */
#define RECEIVE_BUFFER (256 * 1024)

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
        unsigned left;
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
        if (message->nlmsg_type == NLMSG_ERROR)
                return message->nlmsg_len < NLMSG_LENGTH(sizeof(*error)) ? -EBADMSG : error->error;
        if (dump->left-- == 0)
                return -E2BIG;
        return dump->visit(dump->context, message);
}

static int receive_part(int fd, Dump *dump) {
        _Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];
        ssize_t n;
        int r = 0;

        do
                n = recv(fd, buffer, sizeof(buffer), 0);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
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
