/* client-fds.h: the descriptors that came with a message of the client's.
 *
 * Owns them: who takes one leaves -1. They are anything a client may open: no call on one of them
 * is made before it is known that the call does not wait. */
#pragma once

#include "daemon/io/util.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* MSI has no more vectors, and for MSI all come at once or not at all. */
#define CLIENT_FDS_MAX 32U

/* Offered as `max_msg_fds`. QEMU takes no server that offers more (VFIO_USER_MAX_MAX_FDS); the
 * client library, which knows this server, sends more. */
#define CLIENT_FDS_OFFERED 16U

typedef struct ClientFds {
        int fds[CLIENT_FDS_MAX];
        unsigned n;
        bool too_many; /* more came, and were dropped */
} ClientFds;

static inline void client_fds_close(ClientFds *fds) {
        for (unsigned i = 0; i < fds->n; i++)
                closep(&fds->fds[i]);
        fds->n = 0;
        fds->too_many = false;
}

/* A file that is no anonymous inode is no eventfd. Reading its state waits for nothing. */
static inline bool client_fd_is_anonymous(int fd) {
        struct stat st;

        return syscall(SYS_fstat, fd, &st) >= 0 && (st.st_mode & S_IFMT) == 0;
}

/* The first one, -1 for none. */
static inline int client_fds_take_first(ClientFds *fds) {
        return fds->n > 0 ? take_fd(&fds->fds[0]) : -1;
}
