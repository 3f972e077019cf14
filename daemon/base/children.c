#include "daemon/base/children.h"

#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

typedef struct Entry {
        Children *children;
        KilledChild child;
        bool hangs;
        sd_event_source *exit, *grace;
} Entry;

struct Children {
        sd_event *event;
        const ChildrenHandler *handler;
        void *context;
        GPtrArray *entries; /* of Entry*, owned */
};

static void children_entry_free(gpointer data) {
        Entry *entry = data;

        sd_event_source_disable_unref(entry->exit);
        sd_event_source_disable_unref(entry->grace);
        closep(&entry->child.pidfd);
        g_free(entry);
}

Children *children_new(sd_event *event, const ChildrenHandler *handler, void *context) {
        Children *children = g_new0(Children, 1);

        children->event = sd_event_ref(event);
        children->handler = handler;
        children->context = context;
        children->entries = g_ptr_array_new_with_free_func(children_entry_free);
        return children;
}

Children *children_free(Children *children) {
        if (!children)
                return NULL;
        g_ptr_array_unref(children->entries);
        sd_event_unref(children->event);
        g_free(children);
        return NULL;
}

/* One that hangs over the function, or NULL. */
static const Entry *children_find_hanging(const Children *children, PciKey key) {
        for (guint i = 0; i < children->entries->len; i++) {
                const Entry *entry = children->entries->pdata[i];

                if (entry->hangs && entry->child.key == key)
                        return entry;
        }
        return NULL;
}

static void ended(Entry *entry) {
        Children *children = entry->children;
        PciKey key = entry->child.key;
        bool hung = entry->hangs;

        g_ptr_array_remove_fast(children->entries, entry);
        if (hung && !children_find_hanging(children, key))
                children->handler->released(children->context, key);
}

static int on_children_child_end(sd_event_source *source, const siginfo_t *info, void *userdata) {
        ended(userdata);
        return 0;
}

static int on_children_other_end(sd_event_source *source, int fd, uint32_t revents,
                                 void *userdata) {
        ended(userdata);
        return 0;
}

static int on_grace_over(sd_event_source *source, uint64_t usec, void *userdata) {
        Entry *entry = userdata;

        entry->hangs = true;
        entry->children->handler->hangs(entry->children->context, &entry->child);
        return 0;
}

void children_kill(Children *children, const KilledChild *child) {
        Entry *entry = g_new0(Entry, 1);
        int r;

        entry->children = children;
        entry->child = *child;
        entry->hangs = child->late;
        /* Not reaped before its source tells, or held by its descriptor: the pid is its own
         * still. */
        if (child->pidfd >= 0) {
                (void) syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
                r = sd_event_add_io(children->event, &entry->exit, child->pidfd, EPOLLIN,
                                    on_children_other_end, entry);
        } else {
                (void) kill(child->pid, SIGKILL);
                r = sd_event_add_child(children->event, &entry->exit, child->pid, WEXITED,
                                       on_children_child_end, entry);
        }
        if (r >= 0)
                r = wakeup_new_deadline(children->event, "children: grace", CHILDREN_GRACE_USEC, 0,
                                        on_grace_over, entry, &entry->grace);
        if (r < 0) {
                /* Out of memory or of descriptors: a zombie is left, which is better than to wait
                 * for it. */
                children_entry_free(entry);
                return;
        }
        (void) sd_event_source_set_description(entry->exit, "children: end of a process");
        g_ptr_array_add(children->entries, entry);
}

char *children_refusal(const Children *children, PciKey key) {
        const Entry *entry = children_find_hanging(children, key);
        char address[PCI_ADDRESS_STRING_MAX];
        unsigned n = 0;

        pci_address_format(pci_address_from_key(key), address);
        if (entry)
                return g_strdup_printf("%s: process %d (%s) hangs in the kernel over it", address,
                                       (int) entry->child.pid, entry->child.name);
        for (guint i = 0; i < children->entries->len; i++)
                n += ((const Entry *) children->entries->pdata[i])->hangs;
        return n < CHILDREN_HANGING_MAX
                       ? NULL
                       : g_strdup_printf("%s: %u processes hang in the kernel over other functions",
                                         address, n);
}

unsigned children_count(const Children *children, uint32_t uid) {
        unsigned n = 0;

        for (guint i = 0; i < children->entries->len; i++) {
                const Entry *entry = children->entries->pdata[i];

                n += entry->hangs && entry->child.uid == uid;
        }
        return n;
}

uint64_t children_memory(const Children *children, uint32_t uid) {
        uint64_t bytes = 0;

        for (guint i = 0; i < children->entries->len; i++) {
                const Entry *entry = children->entries->pdata[i];

                if (entry->hangs && entry->child.uid == uid &&
                    __builtin_add_overflow(bytes, entry->child.memory, &bytes))
                        return UINT64_MAX;
        }
        return bytes;
}
