/* io-time.c: how long requests take through a session of vfwarden-io, against a bare ping-pong of
 * as many bytes over a stream socket with a process that does nothing else.
 *
 * io-time VFWARDEN-IO ROUNDS REQUESTS
 *
 * Bare and session take turns in each round, so that what else the machine does falls on both
 * alike. Prints lines of "NAME SIDE MEDIAN P99 SWITCHES", nanoseconds of a request and context
 * switches of 1000 requests in the serving process, of each round and kind, and "NAME session RATE"
 * for what is counted by the second. With 0 rounds it makes the library's loads through the ring
 * and prints nothing; so its system calls and those of the session can be counted. */
#include "lib/vfwarden-io.h"
#include "policy/number.h"
#include "policy/vfio-user.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BAR_SIZE     65536
#define CONFIG_SIZE  4096
#define MESSAGE_MAX  8192
#define IN_FLIGHT    32
#define REQUESTS_MAX 1000000

/* Where requests go: a session, or the bare process. */
typedef struct Side {
        const char *name;
        int socket;
        pid_t pid;
        pid_t thread; /* whose context switches count */
} Side;

typedef struct Kind {
        const char *name;
        uint16_t command;
        uint32_t count;
        bool data; /* in the request; else in the reply */
} Kind;

static void die(const char *what) {
        perror(what);
        exit(EXIT_FAILURE);
}

static uint64_t now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000000000U + (uint64_t) t.tv_nsec;
}

static void send_all(int fd, const void *data, size_t size) {
        if (send(fd, data, size, MSG_NOSIGNAL) != (ssize_t) size)
                die("send");
}

static void receive_all(int fd, void *data, size_t size) {
        for (size_t have = 0; have < size;) {
                ssize_t n = recv(fd, (uint8_t *) data + have, size - have, 0);

                if (n <= 0)
                        die("recv");
                have += (size_t) n;
        }
}

static size_t request_size(const Kind *kind) {
        return sizeof(VfioUserHeader) + sizeof(VfioUserRegionAccess) +
               (kind->data ? kind->count : 0);
}

static size_t reply_size(const Kind *kind) {
        return sizeof(VfioUserHeader) + sizeof(VfioUserRegionAccess) +
               (kind->data ? 0 : kind->count);
}

static size_t make_request(const Kind *kind, uint64_t offset, uint8_t *ret) {
        VfioUserHeader header = { .command = kind->command, .size = (uint32_t) request_size(kind) };
        VfioUserRegionAccess access = { .offset = offset, .count = kind->count };

        memset(ret, 0x5a, header.size);
        memcpy(ret, &header, sizeof(header));
        memcpy(ret + sizeof(header), &access, sizeof(access));
        return header.size;
}

/* The reference: reads what comes and answers with as much as the first bytes of a request say. */
static void bare(int fd) {
        static uint8_t in[MESSAGE_MAX], out[MESSAGE_MAX];
        uint32_t sizes[2];

        for (;;) {
                ssize_t n = recv(fd, in, sizeof(in), 0);

                if (n <= 0)
                        _exit(0);
                memcpy(sizes, in, sizeof(sizes));
                while ((size_t) n < sizes[0]) {
                        ssize_t more = recv(fd, in + n, sizeof(in) - (size_t) n, 0);

                        if (more <= 0)
                                _exit(0);
                        n += more;
                }
                send_all(fd, out, sizes[1]);
        }
}

static Side start_bare(void) {
        Side side = { .name = "bare" };
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
                die("socketpair");
        side.pid = fork();
        if (side.pid < 0)
                die("fork");
        if (side.pid == 0) {
                close(fds[0]);
                bare(fds[1]);
        }
        close(fds[1]);
        side.socket = fds[0];
        side.thread = side.pid;
        return side;
}

static Side start_process(const char *program) {
        Side side = { .name = "session" };
        char device[32], control[32], client[32], bars[32];
        int fds[2], controls[2], memory;

        if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 ||
            socketpair(AF_UNIX, SOCK_SEQPACKET, 0, controls) < 0)
                die("socketpair");
        memory = memfd_create("device", MFD_ALLOW_SEALING);
        if (memory < 0 || ftruncate(memory, CONFIG_SIZE + BAR_SIZE) < 0 ||
            fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
                die("memfd");
        snprintf(device, sizeof(device), "--device=%d", memory);
        snprintf(control, sizeof(control), "--control=%d", controls[1]);
        snprintf(client, sizeof(client), "--client=%d", fds[1]);
        snprintf(bars, sizeof(bars), "--emulated=%d", BAR_SIZE);
        side.pid = fork();
        if (side.pid < 0)
                die("fork");
        if (side.pid == 0) {
                execl(program, program, device, control, client, bars, (char *) NULL);
                die(program);
        }
        close(fds[1]);
        close(controls[1]);
        close(memory);
        side.socket = fds[0];
        side.thread = side.pid;
        return side;
}

static Side start_session(const char *program) {
        Side side = start_process(program);
        VfioUserHeader header = { .command = VFIO_USER_VERSION,
                                  .size = sizeof(header) + sizeof(VfioUserVersion) };
        VfioUserVersion version = { VFIO_USER_MAJOR, VFIO_USER_MINOR };
        uint8_t message[sizeof(header) + sizeof(version)], reply[MESSAGE_MAX];

        memcpy(message, &header, sizeof(header));
        memcpy(message + sizeof(header), &version, sizeof(version));
        send_all(side.socket, message, sizeof(message));
        receive_all(side.socket, &header, sizeof(header));
        receive_all(side.socket, reply, header.size - sizeof(header));
        return side;
}

static void stop(const Side *side) {
        close(side->socket);
        waitpid(side->pid, NULL, 0);
}

/* All context switches of the thread that serves. */
static uint64_t switches(const Side *side) {
        char path[64], line[128];
        uint64_t sum = 0, value;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/task/%d/status", side->pid, side->thread);
        file = fopen(path, "re");
        if (!file)
                die(path);
        while (fgets(line, sizeof(line), file)) {
                char *colon = strstr(line, "ctxt_switches:");

                if (!colon)
                        continue;
                colon += strlen("ctxt_switches:");
                colon += strspn(colon, " \t");
                colon[strcspn(colon, "\n")] = '\0';
                if (number_parse(colon, 10, UINT64_MAX - 1, &value) >= 0)
                        sum += value;
        }
        fclose(file);
        return sum;
}

static int compare(const void *a, const void *b) {
        const uint64_t *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

/* One at a time. */
static void measure(const Side *side, const Kind *kind, size_t requests, uint64_t *times) {
        static uint8_t request[MESSAGE_MAX], reply[MESSAGE_MAX];
        size_t size = make_request(kind, 0, request);
        uint64_t before;

        if (strcmp(side->name, "bare") == 0) {
                uint32_t sizes[2] = { (uint32_t) size, (uint32_t) reply_size(kind) };

                memcpy(request, sizes, sizeof(sizes));
        }
        before = switches(side);
        for (size_t i = 0; i < requests; i++) {
                uint64_t start = now();

                send_all(side->socket, request, size);
                receive_all(side->socket, reply, reply_size(kind));
                times[i] = now() - start;
        }
        before = switches(side) - before;
        qsort(times, requests, sizeof(*times), compare);
        printf("%s %s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", kind->name, side->name,
               times[requests / 2], times[requests * 99 / 100], before * 1000 / requests);
}

/* The library's loads of 8 bytes, through the ring or over the socket. */
static void load_library(VfwardenIo *io, size_t requests) {
        uint64_t value;

        for (size_t i = 0; i < requests; i++)
                if (vfwarden_io_load(io, 0, 0, &value, sizeof(value)) < 0)
                        die("load");
}

static void measure_library(VfwardenIo *io, const char *side, bool ring, size_t requests,
                            uint64_t *times) {
        uint64_t value;

        vfwarden_io_use_ring(io, ring);
        for (size_t i = 0; i < requests; i++) {
                uint64_t start = now();

                if (vfwarden_io_load(io, 0, 0, &value, sizeof(value)) < 0)
                        die("load");
                times[i] = now() - start;
        }
        qsort(times, requests, sizeof(*times), compare);
        printf("library-load-8 %s %" PRIu64 " %" PRIu64 "\n", side, times[requests / 2],
               times[requests * 99 / 100]);
}

/* Over the socket and through the ring; or through the ring alone, and nothing is measured. */
static void compare_ring(const char *program, size_t requests, uint64_t *times) {
        Side side = start_process(program);
        VfwardenIo *io;

        if (vfwarden_io_open_socket(side.socket, &io) < 0)
                die("session");
        if (times) {
                measure_library(io, "socket", false, requests, times);
                measure_library(io, "ring", true, requests, times);
        } else {
                load_library(io, requests);
        }
        vfwarden_io_close(io);
        waitpid(side.pid, NULL, 0);
}

/* Requests in a second, `flight` of them sent before the first reply is waited for. */
static uint64_t rate(const Side *side, const Kind *kind, size_t requests, size_t flight) {
        static uint8_t messages[IN_FLIGHT * MESSAGE_MAX], replies[IN_FLIGHT * MESSAGE_MAX];
        size_t size = 0;
        uint64_t start;

        for (size_t i = 0; i < flight; i++)
                size += make_request(kind, 0, messages + size);
        start = now();
        for (size_t i = 0; i < requests; i += flight) {
                send_all(side->socket, messages, size);
                receive_all(side->socket, replies, reply_size(kind) * flight);
        }
        return requests * 1000000000U / (now() - start);
}

/* 4 KiB, stored as blocks of `kind->count`, as often as fits: bytes in a second. */
static uint64_t stored(const Side *side, const Kind *kind, size_t pages) {
        static uint8_t request[MESSAGE_MAX], reply[MESSAGE_MAX];
        uint64_t start = now();

        for (size_t i = 0; i < pages; i++)
                for (uint32_t offset = 0; offset < 4096; offset += kind->count) {
                        send_all(side->socket, request, make_request(kind, offset, request));
                        receive_all(side->socket, reply, reply_size(kind));
                }
        return pages * 4096U * 1000000000U / (now() - start);
}

int main(int argc, char **argv) {
        static const Kind load = { "load-8", VFIO_USER_REGION_READ, 8, false };
        static const Kind block = { "store-4096", VFIO_USER_REGION_WRITE, 4096, true };
        static const Kind store = { "store-8", VFIO_USER_REGION_WRITE, 8, true };
        uint64_t rounds, requests;
        uint64_t *times;

        if (argc != 4 || number_parse(argv[2], 10, 1000, &rounds) < 0 ||
            number_parse(argv[3], 10, REQUESTS_MAX, &requests) < 0 || requests < 100) {
                fprintf(stderr, "usage: io-time VFWARDEN-IO ROUNDS REQUESTS\n");
                return EXIT_FAILURE;
        }
        if (rounds == 0) {
                compare_ring(argv[1], requests, NULL);
                return EXIT_SUCCESS;
        }
        times = calloc(requests, sizeof(*times));
        if (!times)
                die("calloc");
        for (uint64_t i = 0; i < rounds; i++) {
                Side sides[2] = { start_bare(), start_session(argv[1]) };

                for (int n = 0; n < 4; n++)
                        measure(&sides[n % 2], n < 2 ? &load : &block, requests, times);
                printf("in-flight-1 session %" PRIu64 "\n", rate(&sides[1], &load, requests, 1));
                printf("in-flight-32 session %" PRIu64 "\n",
                       rate(&sides[1], &load, requests, IN_FLIGHT));
                printf("by-block session %" PRIu64 "\n", stored(&sides[1], &block, requests / 8));
                printf("by-8 session %" PRIu64 "\n", stored(&sides[1], &store, requests / 400));
                fflush(stdout);
                stop(&sides[0]);
                stop(&sides[1]);
                compare_ring(argv[1], requests, times);
                fflush(stdout);
        }
        free(times);
        return EXIT_SUCCESS;
}
