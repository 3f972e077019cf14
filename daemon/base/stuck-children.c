#include "daemon/base/stuck-children.h"

#include <sys/wait.h>

#define STUCK_OF_USER_MAX 2
#define STUCK_MAX         8

typedef struct StuckChild {
        pid_t pid;
        uint32_t uid;
} StuckChild;

struct StuckChildren {
        GArray *all; /* of StuckChild */
};

StuckChildren *stuck_children_new(void) {
        StuckChildren *children = g_new0(StuckChildren, 1);

        children->all = g_array_new(FALSE, FALSE, sizeof(StuckChild));
        return children;
}

StuckChildren *stuck_children_free(StuckChildren *children) {
        if (!children)
                return NULL;
        g_array_unref(children->all);
        g_free(children);
        return NULL;
}

void stuck_children_add(StuckChildren *children, pid_t pid, uint32_t uid) {
        const StuckChild one = { pid, uid };

        g_array_append_val(children->all, one);
}

void stuck_children_reap(StuckChildren *children) {
        for (guint i = children->all->len; i > 0; i--)
                /* One that is no child any more has ended, too. */
                if (waitpid(g_array_index(children->all, StuckChild, i - 1).pid, NULL, WNOHANG) !=
                    0)
                        g_array_remove_index_fast(children->all, i - 1);
}

bool stuck_children_refuse(const StuckChildren *children, uint32_t uid) {
        unsigned n = 0;

        for (guint i = 0; i < children->all->len; i++)
                n += g_array_index(children->all, StuckChild, i).uid == uid ? 1 : 0;
        return n >= STUCK_OF_USER_MAX || (uid != 0 && children->all->len >= STUCK_MAX);
}
