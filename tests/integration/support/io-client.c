/* io-client.c: the client library, driven by lines on standard input, one answer a line: what was
 * asked for or the name of an errno.
 *
 * io-client socket FD | bus ADDRESS | dma ADDRESS
 *
 *   info                                   backend, maximum, relaxed, sizes of BARs and of
 *                                          configuration space
 *   load PCIAS OFFSET LENGTH               bytes, in hex
 *   store PCIAS OFFSET HEX
 *   map GADDR SIZE                         new memory, whose bytes are their own offset, modulo 251
 *   unmap GADDR SIZE
 *   ring 0|1                               whether it may be used
 *   block PCIAS OFFSET GADDR LENGTH
 *   config OFFSET HEX                      to configuration space
 *   reset
 *   irqs KIND                              how many there are
 *   assign KIND START N                    eventfds of its own; what each counts then
 *   release KIND START N                   none, in their place
 *   unmask                                 INTx
 *   notice [MSEC]                          whether the host wants the function back, within MSEC */
#include "lib/vfwarden-io.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define LENGTH_MAX 8192
#define EVENTS_MAX 64U

static int say(int r) {
        printf("%s\n", r < 0 ? strerrorname_np(-r) : "ok");
        return fflush(stdout);
}

static void info(const VfwardenIo *io) {
        printf("%s %zu %d", vfwarden_io_backend(io), vfwarden_io_max_store_block(io),
               vfwarden_io_relaxed(io));
        for (unsigned i = 0; i < 6; i++)
                printf(" %" PRIu64, vfwarden_io_size(io, i));
        printf(" %" PRIu64 " %" PRIu64 "\n", vfwarden_io_size(io, VFWARDEN_IO_CONFIG),
               vfwarden_io_size(io, 7));
        fflush(stdout);
}

static int load(VfwardenIo *io, const uint64_t *n) {
        uint8_t data[LENGTH_MAX];
        int r = vfwarden_io_load(io, (unsigned) n[0], n[1], data, n[2]);

        if (r < 0)
                return say(r);
        for (uint64_t i = 0; i < n[2]; i++)
                printf("%02x", data[i]);
        printf("\n");
        return fflush(stdout);
}

static size_t read_hex(const char *hex, uint8_t data[static LENGTH_MAX]) {
        size_t length = 0;

        for (; hex[0] && hex[1] && length < LENGTH_MAX; hex += 2) {
                char digits[3] = { hex[0], hex[1], '\0' };

                data[length++] = (uint8_t) strtoul(digits, NULL, 16);
        }
        return length;
}

static int store(VfwardenIo *io, const uint64_t *n, const char *hex) {
        uint8_t data[LENGTH_MAX];
        size_t length = read_hex(hex, data);

        return say(vfwarden_io_store(io, (unsigned) n[0], n[1], data, length));
}

static int store_config(VfwardenIo *io, const uint64_t *n, const char *hex) {
        uint8_t data[LENGTH_MAX];
        size_t length = read_hex(hex, data);

        return say(vfwarden_io_store_config(io, n[0], data, length));
}

static int say_number(int r) {
        if (r < 0)
                return say(r);
        printf("%d\n", r);
        return fflush(stdout);
}

static int assign(VfwardenIo *io, const uint64_t *n) {
        int events[EVENTS_MAX], r;

        for (uint64_t i = 0; i < n[2] && i < EVENTS_MAX; i++)
                events[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = vfwarden_io_set_irqs(io, (unsigned) n[0], (unsigned) n[1], (unsigned) n[2], events);
        for (uint64_t i = 0; i < n[2] && i < EVENTS_MAX; i++) {
                eventfd_t count = 0;

                if (r >= 0 && eventfd_read(events[i], &count) >= 0)
                        printf("%" PRIu64 " ", count);
                close(events[i]);
        }
        return say(r);
}

static int map(VfwardenIo *io, const uint64_t *n) {
        int fd = memfd_create("guest", MFD_CLOEXEC), r;

        for (uint64_t i = 0; i < n[1]; i++) {
                uint8_t byte = (uint8_t) (i % 251);

                if (pwrite(fd, &byte, 1, (off_t) i) != 1)
                        return say(-errno);
        }
        r = vfwarden_io_map(io, n[0], n[1], fd, 0);
        close(fd);
        return say(r);
}

static int notice(VfwardenIo *io, int msec) {
        struct pollfd poll_fd = { .fd = vfwarden_io_notice_fd(io), .events = POLLIN };

        if (poll_fd.fd < 0)
                return say(poll_fd.fd);
        printf("%s\n", poll(&poll_fd, 1, msec) == 1 ? "wanted" : "ours");
        return fflush(stdout);
}

static void obey(VfwardenIo *io, char *line) {
        char word[16] = "", hex[2 * LENGTH_MAX + 1] = "";
        uint64_t n[4] = { 0 };

        /* NOLINTNEXTLINE(cert-err34-c): the test's own numbers */
        sscanf(line, "%15s %" SCNi64 " %" SCNi64 " %" SCNi64 " %" SCNi64, word, (int64_t *) &n[0],
               (int64_t *) &n[1], (int64_t *) &n[2], (int64_t *) &n[3]);
        if (strcmp(word, "info") == 0)
                info(io);
        else if (strcmp(word, "load") == 0)
                load(io, n);
        else if (strcmp(word, "store") == 0 && sscanf(line, "%*s %*s %*s %16384s", hex) >= 0)
                store(io, n, hex);
        else if (strcmp(word, "map") == 0)
                map(io, n);
        else if (strcmp(word, "ring") == 0) {
                vfwarden_io_use_ring(io, n[0] != 0);
                say(0);
        } else if (strcmp(word, "unmap") == 0)
                say(vfwarden_io_unmap(io, n[0], n[1]));
        else if (strcmp(word, "block") == 0)
                say(vfwarden_io_store_block(io, (unsigned) n[0], n[1], n[2], n[3]));
        else if (strcmp(word, "config") == 0 && sscanf(line, "%*s %*s %16384s", hex) >= 0)
                store_config(io, n, hex);
        else if (strcmp(word, "reset") == 0)
                say(vfwarden_io_reset(io));
        else if (strcmp(word, "irqs") == 0)
                say_number(vfwarden_io_irqs(io, (unsigned) n[0]));
        else if (strcmp(word, "assign") == 0)
                assign(io, n);
        else if (strcmp(word, "release") == 0)
                say(vfwarden_io_set_irqs(io, (unsigned) n[0], (unsigned) n[1], (unsigned) n[2],
                                         NULL));
        else if (strcmp(word, "unmask") == 0)
                say(vfwarden_io_unmask_intx(io));
        else if (strcmp(word, "notice") == 0)
                notice(io, (int) n[0]);
        else
                printf("what?\n");
}

int main(int argc, char **argv) {
        static char line[2 * LENGTH_MAX + 64];
        VfwardenIo *io = NULL;
        char *why = NULL;
        int r;

        if (argc != 3)
                return EXIT_FAILURE;
        r = strcmp(argv[1], "bus") == 0 ? vfwarden_io_open(argv[2], &why, &io)
            : strcmp(argv[1], "dma") == 0
                    ? vfwarden_io_open_dma(argv[2], 8192, &why, &io)
                    : vfwarden_io_open_socket((int) strtol(argv[2], NULL, 10), &io);
        if (r < 0) {
                printf("%s: %s\n", strerrorname_np(-r), why ? why : "");
                free(why);
                return EXIT_FAILURE;
        }
        say(0);
        while (fgets(line, sizeof(line), stdin))
                obey(io, line);
        vfwarden_io_close(io);
        return EXIT_SUCCESS;
}
