/* flood.c: a client that calls as fast as the bus lets it, on many connections.
 *
 * flood ADDRESS-PATH UID CONNECTIONS DEPTH MODE [DESCRIPTORS] PATH INTERFACE MEMBER [ARGUMENT]...
 *
 * It becomes UID, connects to the bus whose socket is ADDRESS-PATH as often as it may, up to
 * CONNECTIONS, prints how many these are, and keeps DEPTH calls to org.vfwarden1 pending on each
 * until its standard input is closed; then it prints the number of answers. MODE is "read", "slow"
 * (512 bytes of each connection every 10 ms), "noread", or "noreply" (calls that want no reply).
 * Written without a D-Bus library: none lets a client behave so badly. */
#include "daemon/base/util.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* D-Bus specification, "Message Format": the fixed part of the header, and codes of its fields. */
#define HEADER_SIZE        16U
#define FIELD_PATH         1
#define FIELD_INTERFACE    2
#define FIELD_MEMBER       3
#define FIELD_DESTINATION  6
#define FIELD_SIGNATURE    8
#define FIELD_UNIX_FDS     9
#define TYPE_CALL          1
#define TYPE_RETURN        2
#define TYPE_ERROR         3
#define FLAG_NO_REPLY      1
#define SERIAL_OFFSET      8
#define DESCRIPTORS_MAX    16
#define SLOW_BYTES         512
#define SLOW_INTERVAL_MSEC 10

typedef enum Mode {
        MODE_READ,
        MODE_SLOW,
        MODE_NOREAD,
        MODE_NOREPLY
} Mode;

typedef struct Connection {
        int fd;
        unsigned pending;
        uint32_t serial;
        size_t sent; /* of the message that is being sent */
        uint8_t head[HEADER_SIZE];
        size_t n_head;
        uint64_t left; /* of the message that is being read */
} Connection;

typedef struct Flood {
        Connection *connections;
        unsigned n, depth, n_fds;
        Mode mode;
        GByteArray *call; /* the message, but for its serial */
        uint64_t answers, returns;
} Flood;

static void pad(GByteArray *array, guint alignment) {
        while (array->len % alignment != 0)
                g_byte_array_append(array, (const guint8 *) "", 1);
}

static void add_u32(GByteArray *array, uint32_t value) {
        pad(array, 4);
        g_byte_array_append(array, (const guint8 *) &value, sizeof(value));
}

static void add_string(GByteArray *array, const char *text) {
        add_u32(array, (uint32_t) strlen(text));
        g_byte_array_append(array, (const guint8 *) text, (guint) strlen(text) + 1);
}

static void add_field(GByteArray *array, uint8_t code, char type, const char *text,
                      uint32_t value) {
        const guint8 begin[] = { code, 1, (guint8) type, 0 };

        pad(array, 8);
        g_byte_array_append(array, begin, sizeof(begin));
        if (type == 'u')
                add_u32(array, value);
        else if (type == 'g') {
                const guint8 length = (guint8) strlen(text);

                g_byte_array_append(array, &length, 1);
                g_byte_array_append(array, (const guint8 *) text, length + 1U);
        } else
                add_string(array, text);
}

/* A call with `arguments`, all of them strings. */
static GByteArray *make_call(const char *destination, const char *path, const char *interface,
                             const char *member, char **arguments, uint8_t flags, unsigned n_fds) {
        g_autoptr(GByteArray) fields = g_byte_array_new(), body = g_byte_array_new();
        g_autoptr(GString) signature = g_string_new(NULL);
        GByteArray *call = g_byte_array_new();
        const guint8 begin[] = { G_BYTE_ORDER == G_LITTLE_ENDIAN ? 'l' : 'B', TYPE_CALL, flags, 1 };

        for (char **a = arguments; a && *a; a++) {
                add_string(body, *a);
                g_string_append_c(signature, 's');
        }
        add_field(fields, FIELD_PATH, 'o', path, 0);
        add_field(fields, FIELD_INTERFACE, 's', interface, 0);
        add_field(fields, FIELD_MEMBER, 's', member, 0);
        add_field(fields, FIELD_DESTINATION, 's', destination, 0);
        if (signature->len > 0)
                add_field(fields, FIELD_SIGNATURE, 'g', signature->str, 0);
        if (n_fds > 0)
                add_field(fields, FIELD_UNIX_FDS, 'u', NULL, n_fds);
        g_byte_array_append(call, begin, sizeof(begin));
        add_u32(call, body->len);
        add_u32(call, 1);
        add_u32(call, fields->len);
        g_byte_array_append(call, fields->data, fields->len);
        pad(call, 8);
        if (body->len > 0)
                g_byte_array_append(call, body->data, body->len);
        return call;
}

static int say(int fd, const char *text, size_t length) {
        return send(fd, text, length, MSG_NOSIGNAL) == (ssize_t) length ? 0 : -EIO;
}

static int expect(int fd) {
        char buffer[4096];

        return recv(fd, buffer, sizeof(buffer), 0) > 0 ? 0 : -ECONNRESET;
}

/* D-Bus specification, "Authentication Protocol". Returns the socket or a negative errno. */
static int connect_to_bus(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        g_autoptr(GByteArray) hello = make_call("org.freedesktop.DBus", "/org/freedesktop/DBus",
                                                "org.freedesktop.DBus", "Hello", NULL, 0, 0);
        g_autoptr(GString) text = g_string_new("AUTH EXTERNAL ");
        g_autofree char *uid = g_strdup_printf("%u", getuid());
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

        for (const char *p = uid; *p; p++)
                g_string_append_printf(text, "%02x", (unsigned) *p);
        g_string_append(text, "\r\n");
        if (fd < 0)
                return -errno;
        g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
        r = connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ? -errno : 0;
        if (r >= 0)
                r = say(fd, "", 1);
        if (r >= 0)
                r = say(fd, text->str, text->len);
        if (r >= 0)
                r = expect(fd);
        if (r >= 0)
                r = say(fd, "NEGOTIATE_UNIX_FD\r\n", strlen("NEGOTIATE_UNIX_FD\r\n"));
        if (r >= 0)
                r = expect(fd);
        if (r >= 0)
                r = say(fd, "BEGIN\r\n", strlen("BEGIN\r\n"));
        if (r >= 0)
                r = say(fd, (const char *) hello->data, hello->len);
        if (r >= 0)
                r = expect(fd);
        if (r >= 0)
                r = fcntl(fd, F_SETFL, O_NONBLOCK);
        if (r < 0) {
                close(fd);
                return r;
        }
        return fd;
}

/* Sends what is left of the present call. Returns whether it is all out. */
static bool send_call(const Flood *flood, Connection *connection, int descriptor) {
        union {
                char buffer[CMSG_SPACE(sizeof(int) * DESCRIPTORS_MAX)];
                struct cmsghdr align;
        } control = { 0 };
        struct iovec iov = { flood->call->data + connection->sent,
                             flood->call->len - connection->sent };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n;

        memcpy(flood->call->data + SERIAL_OFFSET, &connection->serial, sizeof(connection->serial));
        if (flood->n_fds > 0 && connection->sent == 0) {
                struct cmsghdr *header;

                message.msg_control = control.buffer;
                message.msg_controllen = CMSG_SPACE(sizeof(int) * flood->n_fds);
                header = CMSG_FIRSTHDR(&message);
                header->cmsg_level = SOL_SOCKET;
                header->cmsg_type = SCM_RIGHTS;
                header->cmsg_len = CMSG_LEN(sizeof(int) * flood->n_fds);
                for (unsigned i = 0; i < flood->n_fds; i++)
                        memcpy(CMSG_DATA(header) + i * sizeof(int), &descriptor, sizeof(int));
        }
        n = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
        if (n > 0)
                connection->sent += (size_t) n;
        return connection->sent == flood->call->len;
}

static void fill(const Flood *flood, Connection *connection) {
        while (connection->pending < flood->depth || flood->mode == MODE_NOREPLY) {
                if (connection->sent == 0)
                        connection->serial++;
                if (!send_call(flood, connection, connection->fd))
                        return;
                connection->sent = 0;
                connection->pending += flood->mode != MODE_NOREPLY;
        }
}

static uint32_t read_u32(const uint8_t *bytes) {
        uint32_t value;

        memcpy(&value, bytes, sizeof(value));
        return value;
}

static void take(Flood *flood, Connection *connection, const uint8_t *data, size_t length) {
        while (length > 0) {
                size_t n = connection->left > 0 ? MIN(connection->left, length)
                                                : MIN(HEADER_SIZE - connection->n_head, length);

                if (connection->left > 0)
                        connection->left -= n;
                else {
                        memcpy(connection->head + connection->n_head, data, n);
                        connection->n_head += n;
                }
                data += n;
                length -= n;
                if (connection->n_head < HEADER_SIZE)
                        continue;
                connection->n_head = 0;
                connection->left = (read_u32(connection->head + 12) + 7ULL) / 8 * 8 +
                                   read_u32(connection->head + 4);
                if (connection->head[1] != TYPE_RETURN && connection->head[1] != TYPE_ERROR)
                        continue;
                connection->pending -= connection->pending > 0;
                flood->answers++;
                flood->returns += connection->head[1] == TYPE_RETURN;
        }
}

static void receive(Flood *flood, Connection *connection) {
        static uint8_t buffer[1 << 16];
        size_t size = flood->mode == MODE_SLOW ? SLOW_BYTES : sizeof(buffer);
        ssize_t n = recv(connection->fd, buffer, size, 0);

        if (n > 0)
                take(flood, connection, buffer, (size_t) n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
                close(connection->fd);
                connection->fd = -1; /* poll() leaves it alone */
        }
}

static bool wants_to_send(const Flood *flood, const Connection *connection) {
        return flood->mode == MODE_NOREPLY || connection->pending < flood->depth;
}

/* Until standard input is closed. */
static void run(Flood *flood) {
        g_autofree struct pollfd *polled = g_new0(struct pollfd, flood->n + 1);

        for (;;) {
                polled[flood->n] = (struct pollfd){ STDIN_FILENO, POLLIN, 0 };
                for (unsigned i = 0; i < flood->n; i++) {
                        const Connection *connection = &flood->connections[i];

                        polled[i].fd = connection->fd;
                        polled[i].events =
                                (short) ((flood->mode == MODE_NOREAD ? 0 : POLLIN) |
                                         (wants_to_send(flood, connection) ? POLLOUT : 0));
                }
                if (flood->mode == MODE_SLOW)
                        (void) poll(&polled[flood->n], 1, SLOW_INTERVAL_MSEC);
                if (poll(polled, flood->n + 1, -1) < 0 && errno != EINTR)
                        return;
                if (polled[flood->n].revents != 0)
                        return;
                for (unsigned i = 0; i < flood->n; i++) {
                        if (polled[i].revents & (POLLIN | POLLHUP))
                                receive(flood, &flood->connections[i]);
                        if (flood->connections[i].fd >= 0)
                                fill(flood, &flood->connections[i]);
                }
        }
}

int main(int argc, char **argv) {
        static const char *const modes[] = { "read", "slow", "noread", "noreply" };
        uint64_t uid, n, depth, n_fds;
        Flood flood = { 0 };

        if (argc < 10 || number_parse(argv[2], 10, INT_MAX, &uid) < 0 ||
            number_parse(argv[3], 10, USHRT_MAX, &n) < 0 ||
            number_parse(argv[4], 10, USHRT_MAX, &depth) < 0 ||
            number_parse(argv[6], 10, DESCRIPTORS_MAX, &n_fds) < 0) {
                fprintf(stderr, "flood: wrong arguments\n");
                return EXIT_FAILURE;
        }
        while (flood.mode < G_N_ELEMENTS(modes) && strcmp(argv[5], modes[flood.mode]) != 0)
                flood.mode++;
        if (setresgid((gid_t) uid, (gid_t) uid, (gid_t) uid) < 0 ||
            setresuid((uid_t) uid, (uid_t) uid, (uid_t) uid) < 0) {
                perror("flood");
                return EXIT_FAILURE;
        }
        flood.depth = (unsigned) depth;
        flood.n_fds = (unsigned) n_fds;
        flood.call = make_call("org.vfwarden1", argv[7], argv[8], argv[9], argv + 10,
                               flood.mode == MODE_NOREPLY ? FLAG_NO_REPLY : 0, flood.n_fds);
        flood.connections = g_new0(Connection, n);
        for (flood.n = 0; flood.n < n; flood.n++) {
                Connection *connection = &flood.connections[flood.n];

                connection->fd = connect_to_bus(argv[1]);
                if (connection->fd < 0)
                        break;
                connection->serial = 1;
        }
        printf("%u\n", flood.n);
        fflush(stdout);
        run(&flood);
        printf("%" PRIu64 " %" PRIu64 "\n", flood.answers, flood.returns);
        g_byte_array_unref(flood.call);
        g_free(flood.connections);
        return EXIT_SUCCESS;
}
