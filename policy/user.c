#include "policy/user.h"

#include "policy/private-text.h"

#include <string.h>

User *user_free(User *user) {
        if (!user)
                return NULL;
        g_free(user->command);
        g_free(user->unit);
        g_free(user->machine);
        g_free(user);
        return NULL;
}

static void user_destroy(gpointer user) {
        user_free(user);
}

GPtrArray *user_list_new(void) {
        return g_ptr_array_new_with_free_func(user_destroy);
}

User *user_copy(const User *user) {
        User *copy = g_new(User, 1);

        *copy = (User){
                .pid = user->pid,
                .uid = user->uid,
                .command = g_strdup(user->command),
                .unit = g_strdup(user->unit),
                .machine = g_strdup(user->machine),
                .since_usec = user->since_usec,
                .session = user->session,
                .brokered = user->brokered,
                .unknown = user->unknown,
                .socket_pid = user->socket_pid,
                .n_others = user->n_others,
        };
        return copy;
}

static bool user_equal(const User *a, const User *b) {
        return a->pid == b->pid && a->uid == b->uid && a->since_usec == b->since_usec &&
               a->session == b->session && a->brokered == b->brokered && a->unknown == b->unknown &&
               a->socket_pid == b->socket_pid && a->n_others == b->n_others &&
               strcmp(a->command, b->command) == 0 && strcmp(a->unit, b->unit) == 0 &&
               strcmp(a->machine, b->machine) == 0;
}

bool users_equal(const GPtrArray *a, const GPtrArray *b) {
        guint n = a ? a->len : 0;

        if (n != (b ? b->len : 0))
                return false;
        for (guint i = 0; i < n; i++)
                if (!user_equal(a->pdata[i], b->pdata[i]))
                        return false;
        return true;
}

static char *private_command(const User *user) {
        return user->command[0] != '\0' ? g_strdup_printf(PRIVATE_TEXT("%s"), user->command)
                                        : g_strdup("a process");
}

static char *describe_process(const User *user) {
        g_autofree char *command = private_command(user);
        const char *brokered = user->brokered ? ", opened by vfwarden" : "";

        if (user->session)
                return g_strdup_printf("the I/O session of %s (pid %u, uid %u)", command, user->pid,
                                       user->uid);
        if (user->machine[0] != '\0')
                return g_strdup_printf("%s (pid %u, virtual machine %s%s)", command, user->pid,
                                       user->machine, brokered);
        if (user->unit[0] != '\0')
                return g_strdup_printf("%s (pid %u, %s%s)", command, user->pid, user->unit,
                                       brokered);
        return g_strdup_printf("%s (pid %u, uid %u%s)", command, user->pid, user->uid, brokered);
}

char *user_describe(const User *user) {
        g_autofree char *command = private_command(user);
        g_autofree char *text = NULL;

        if (user->unknown)
                return g_strdup("processes that are not known yet: the search through all "
                                "processes has not ended");
        if (user->pid == 0 && user->brokered)
                return g_strdup_printf("a process that could not be found; opened for %s (uid %u)",
                                       command, user->uid);
        if (user->pid == 0 && user->socket_pid != 0)
                return g_strdup_printf("a process that could not be found, perhaps by a descriptor "
                                       "in a socket of pid %u",
                                       user->socket_pid);
        if (user->pid == 0)
                return g_strdup("a process that could not be found");

        text = describe_process(user);
        if (user->n_others > 0)
                return g_strdup_printf("%s and %u more processes", text, user->n_others);
        return g_steal_pointer(&text);
}
