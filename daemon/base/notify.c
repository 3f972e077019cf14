#include "daemon/base/notify.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

/* sd_notify() has the socket's buffer as large: a message is not refused for its size. */
#define SEND_BUFFER (8 * 1024 * 1024)

/* Ahead of all else that the loop has to do. */
#define WATCHDOG_PRIORITY (SD_EVENT_PRIORITY_IMPORTANT - 10)

struct Notify {
        int socket; /* -1: systemd wants no notifications */
        struct sockaddr_un address;
        socklen_t length;
        sd_event_source *watchdog;
        uint64_t interval_usec;
        int error; /* of the last message */
};

/* "/path", or "@name" in the abstract namespace. */
static int parse_address(Notify *notify, const char *text) {
        size_t length = strlen(text);

        if ((text[0] != '/' && text[0] != '@') || length < 2)
                return -EAFNOSUPPORT;
        if (length > sizeof(notify->address.sun_path) - 1)
                return -E2BIG;
        notify->address.sun_family = AF_UNIX;
        memcpy(notify->address.sun_path, text, length);
        if (text[0] == '@')
                notify->address.sun_path[0] = '\0';
        notify->length = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + length +
                                      (text[0] == '/' ? 1 : 0));
        return 0;
}

int notify_new(Notify **ret) {
        Notify *notify = g_new0(Notify, 1);
        const char *text = getenv("NOTIFY_SOCKET");
        int size = SEND_BUFFER, r;

        notify->socket = -1;
        r = text ? parse_address(notify, text) : 0;
        if (r == 0 && text) {
                notify->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
                if (notify->socket < 0)
                        r = -errno;
                else if (setsockopt(notify->socket, SOL_SOCKET, SO_SNDBUFFORCE, &size,
                                    sizeof(size)) < 0)
                        (void) setsockopt(notify->socket, SOL_SOCKET, SO_SNDBUF, &size,
                                          sizeof(size));
        }
        if (r < 0) {
                notify_free(notify);
                return r;
        }
        *ret = notify;
        return 0;
}

Notify *notify_free(Notify *notify) {
        if (!notify)
                return NULL;
        sd_event_source_disable_unref(notify->watchdog);
        closep(&notify->socket);
        g_free(notify);
        return NULL;
}

/* With a copy of `fd`, unless it is negative. */
static int send_text(Notify *notify, char *text, int fd) {
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int))];
        } control = { 0 };
        struct iovec iov = { text, strlen(text) };
        struct msghdr message = {
                .msg_name = &notify->address,
                .msg_namelen = notify->length,
                .msg_iov = &iov,
                .msg_iovlen = 1,
        };
        ssize_t n;

        if (notify->socket < 0)
                return 0;
        if (fd >= 0) {
                control.header = (struct cmsghdr){
                        .cmsg_len = CMSG_LEN(sizeof(int)),
                        .cmsg_level = SOL_SOCKET,
                        .cmsg_type = SCM_RIGHTS,
                };
                memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
                message.msg_control = &control;
                message.msg_controllen = sizeof(control);
        }
        do
                n = sendmsg(notify->socket, &message, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 0;
}

/* Says so when that begins or its reason changes. */
static int note_result(Notify *notify, int r) {
        if (r < 0 && r != notify->error)
                log_error("Failed to notify systemd: %s", g_strerror(-r));
        notify->error = r;
        return r;
}

int notify_send(Notify *notify, const char *format, ...) {
        g_autofree char *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        text = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        return note_result(notify, send_text(notify, text, -1));
}

int notify_send_fd(Notify *notify, int fd, const char *format, ...) {
        g_autofree char *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        text = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        return note_result(notify, send_text(notify, text, fd));
}

/* One that got lost is made up for by the next in good time. */
static int on_notify_watchdog(sd_event_source *source, uint64_t usec, void *userdata) {
        Notify *notify = userdata;

        (void) notify_send(notify, "WATCHDOG=1");
        (void) sd_event_source_set_time_relative(source, notify->interval_usec);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int notify_start_watchdog(Notify *notify, sd_event *event) {
        uint64_t period_usec = 0;
        int r;

        r = sd_watchdog_enabled(false, &period_usec);
        if (r <= 0)
                return r;
        notify->interval_usec = MAX(period_usec / 4, 1);
        r = wakeup_new_timer(event, MAX(period_usec / 16, 1), on_notify_watchdog, notify,
                             &notify->watchdog);
        if (r >= 0)
                r = sd_event_source_set_description(notify->watchdog, "notify: watchdog");
        if (r >= 0)
                r = sd_event_source_set_priority(notify->watchdog, WATCHDOG_PRIORITY);
        if (r >= 0)
                r = sd_event_source_set_enabled(notify->watchdog, SD_EVENT_ONESHOT); /* at once */
        return r;
}
