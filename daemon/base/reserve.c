#include "daemon/base/reserve.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <glib.h>
#include <sys/eventfd.h>

/* The key among the problems. */
#define PROBLEM "descriptors"

struct Reserve {
        int fds[RESERVE_SIZE]; /* -1: given up */
};

Reserve *reserve_new(void) {
        Reserve *reserve = g_new(Reserve, 1);

        for (unsigned i = 0; i < RESERVE_SIZE; i++)
                reserve->fds[i] = -1;
        (void) reserve_fill(reserve);
        return reserve;
}

Reserve *reserve_free(Reserve *reserve) {
        if (!reserve)
                return NULL;
        reserve_open(reserve);
        g_free(reserve);
        return NULL;
}

bool reserve_helps(int r) {
        return r == -EMFILE || r == -ENFILE;
}

void reserve_open(Reserve *reserve) {
        for (unsigned i = 0; i < RESERVE_SIZE; i++) {
                closep(&reserve->fds[i]);
                reserve->fds[i] = -1;
        }
}

void reserve_close(Reserve *reserve) {
        (void) reserve_fill(reserve);
}

/* Made each by itself and not duplicated: a copy is no file of the system's. */
static int reserve_take(void) {
        int fd = eventfd(0, EFD_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

bool reserve_fill(Reserve *reserve) {
        for (unsigned i = 0; i < RESERVE_SIZE; i++) {
                if (reserve->fds[i] < 0)
                        reserve->fds[i] = reserve_take();
                if (reserve->fds[i] < 0) {
                        reserve->fds[i] = -1;
                        return false;
                }
        }
        return true;
}

int reserve_probe(const Reserve *reserve) {
        _cleanup_(closep) int fd = reserve_take();

        return fd < 0 ? fd : 0;
}

void reserve_check(Reserve *reserve, Problems *problems) {
        int r = reserve_probe(reserve);

        if (r < 0)
                problems_report(problems, PROBLEM,
                                "Failed to get a descriptor, changes are seen late: %s",
                                g_strerror(-r));
        else if (reserve_fill(reserve))
                problems_resolve(problems, PROBLEM);
}

bool reserve_is_reported(const Problems *problems) {
        return problems_has(problems, PROBLEM);
}
