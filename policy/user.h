/* user.h: a process that has a function open through VFIO.
 *
 * A plain record of what was seen; a Function owns the list of its own. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct User {
        /* 0: the function is open, but no process was found that holds it (a descriptor in a socket
         * between two processes, say). The others are then 0, or with `brokered` those of the
         * client for whom it was opened. */
        uint32_t pid;
        uint32_t uid;
        char *command;       /* its first words, valid UTF-8, "" unknown */
        char *unit;          /* systemd unit, "" none */
        char *machine;       /* name of the virtual machine as systemd-machined has it, "" none */
        uint64_t since_usec; /* CLOCK_REALTIME at which it was first seen to hold the function */
        bool session;        /* holds no descriptor of it, but has an I/O session */
        bool brokered;       /* has a descriptor from Open(), perhaps by way of another process */
        bool unknown; /* with pid 0: who has the function open, if anybody does, is not known yet */
        uint32_t socket_pid; /* with pid 0: a process with descriptors in its sockets, of which one
                              * may be the function's; 0 none */
        uint32_t n_others; /* more processes, which are not told one by one, have it open as well */
} User;

User *user_free(User *user);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(User, user_free)

/* An empty list that owns its elements; free with g_ptr_array_unref(). */
GPtrArray *user_list_new(void);

/* A copy with strings of its own. */
User *user_copy(const User *user);

/* Whether two lists (GPtrArray of User*, NULL is empty) tell the same of the same processes, in
 * order. */
bool users_equal(const GPtrArray *a, const GPtrArray *b);

/* "qemu-system-x86 (pid 4711, virtual machine web1)": who it is, for people. The command is a
 * private text (private-text.h). Free with g_free(). */
char *user_describe(const User *user);
