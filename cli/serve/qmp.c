#include "cli/serve/qmp.h"

#include "cli/serve/qmp-dialog.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* QEMU's greeting and events are below 1 KiB. */
#define LINE_MAX_BYTES 65536

struct Qmp {
        QmpDialog dialog;
        sd_event_source *source; /* owns the socket */
        GString *input;          /* the beginning of a line */
        QmpDone done;
        void *userdata;
};

static int connect_to(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd, r;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* EAGAIN: the VMM talks to as many others as it wants to. */
        if (connect(fd, (struct sockaddr *) &address, sizeof(address)) >= 0)
                return fd;
        r = -errno;
        (void) close(fd);
        return r;
}

static void end_with(Qmp *qmp, const char *why) {
        qmp->source = sd_event_source_disable_unref(qmp->source);
        qmp->done(qmp->userdata, why);
}

/* A line of two words goes into an empty socket as a whole. */
static bool qmp_send(int fd, const char *words) {
        size_t length = strlen(words);

        return send(fd, words, length, MSG_NOSIGNAL) == (ssize_t) length;
}

/* Returns false when the dialog has ended; the object may be gone then. */
static bool take_line(Qmp *qmp, int fd, const char *line) {
        g_autofree char *words = NULL;

        switch (qmp_dialog_next(&qmp->dialog, line, &words)) {
        case QMP_STEP_SEND:
                if (qmp_send(fd, words))
                        return true;
                end_with(qmp, "it takes no commands");
                return false;
        case QMP_STEP_DONE:
                end_with(qmp, NULL);
                return false;
        case QMP_STEP_FAILED:
                end_with(qmp, words);
                return false;
        default:
                return true;
        }
}

static bool take_lines(Qmp *qmp, int fd) {
        char *end;

        while ((end = memchr(qmp->input->str, '\n', qmp->input->len))) {
                g_autofree char *line = g_strndup(qmp->input->str, (gsize) (end - qmp->input->str));

                g_string_erase(qmp->input, 0, end - qmp->input->str + 1);
                if (!take_line(qmp, fd, line))
                        return false;
        }
        return true;
}

static int on_qmp_input(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Qmp *qmp = userdata;
        char buffer[4096];
        ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0) {
                end_with(qmp, "it has closed the connection");
                return 0;
        }
        g_string_append_len(qmp->input, buffer, n);
        if (take_lines(qmp, fd) && qmp->input->len > LINE_MAX_BYTES)
                end_with(qmp, "it sends a line without an end");
        return 0;
}

int qmp_start(sd_event *event, const char *path, const char *device, QmpDone done, void *userdata,
              Qmp **ret) {
        g_autoptr(Qmp) qmp = g_new0(Qmp, 1);
        int fd = connect_to(path), r;

        if (fd < 0)
                return fd;
        qmp->dialog.device = device;
        qmp->input = g_string_new(NULL);
        qmp->done = done;
        qmp->userdata = userdata;
        r = sd_event_add_io(event, &qmp->source, fd, EPOLLIN, on_qmp_input, qmp);
        if (r < 0) {
                (void) close(fd);
                return r;
        }
        (void) sd_event_source_set_description(qmp->source, "qmp");
        (void) sd_event_source_set_io_fd_own(qmp->source, 1);
        *ret = g_steal_pointer(&qmp);
        return 0;
}

Qmp *qmp_free(Qmp *qmp) {
        if (!qmp)
                return NULL;
        sd_event_source_disable_unref(qmp->source);
        if (qmp->input)
                g_string_free(qmp->input, TRUE);
        g_free(qmp);
        return NULL;
}
