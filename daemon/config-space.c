#include "daemon/config-space.h"

#include "daemon/child.h"
#include "daemon/log.h"
#include "daemon/sysfs.h"
#include "daemon/util.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* A child that has said nothing for so long hangs; those behind are given to another. */
#define HANG_USEC (2 * G_USEC_PER_SEC)
/* After what may have changed the bit, it is read once more. */
#define CONFIRM_USEC (1 * G_USEC_PER_SEC)
/* A host on which so many functions hang at a time is beyond help; the others wait. */
#define CHILDREN_MAX 8

/* Conventional PCI functions have this much; `config` is 4096 bytes where there is more. */
#define CONVENTIONAL_SIZE 256

typedef struct Entry {
        PciKey key;
        uint64_t inode;
        GRefString *driver;
        bool in_use;
        int result;   /* of the last read; -EINPROGRESS before the first */
        bool wanted;  /* in `wanted` */
        bool reading; /* by a child */
        bool again;   /* asked for while being read */
        bool dirty;   /* what was read last may not be so any more */
        bool confirm; /* to be read once more a little later */
} Entry;

/* What a child says of one function. */
typedef struct Report {
        PciKey key;
        uint64_t inode;
        int32_t result;
        Pasid pasid;
} Report;

typedef struct Child {
        ConfigSpace *space;
        pid_t pid;
        int pipe;
        GArray *keys; /* of PciKey: what it was given and has not told of */
        sd_event_source *source, *hang;
} Child;

struct ConfigSpace {
        sd_event *event;
        ConfigSpaceFound *found;
        void *context;
        GHashTable *entries; /* PciKey in the entry -> Entry*, owned */
        GPtrArray *wanted;   /* borrowed Entry* */
        GPtrArray *children; /* of Child*, owned */
        sd_event_source *start, *confirm;
        bool told_unprivileged;
};

static bool is_word(int dirfd, const char *name, const char *word, bool otherwise) {
        char value[SYSFS_VALUE_MAX];

        if (sysfs_read(dirfd, name, value, sizeof(value)) < 0)
                return otherwise;
        return strcmp(value, word) == 0;
}

/* Whether a read would wake something. Files that do not exist (power management is not configured, a host
 * bridge above) belong to what never sleeps. */
static bool sleeps(int dirfd) {
        if (is_word(dirfd, "power/runtime_status", "active", true) ||
            is_word(dirfd, "power/runtime_status", "unsupported", true))
                return false;
        return !(is_word(dirfd, "power/runtime_status", "suspended", false) &&
                 is_word(dirfd, "power_state", "D3hot", false) &&
                 (is_word(dirfd, "../power/runtime_status", "active", true) ||
                  is_word(dirfd, "../power/runtime_status", "unsupported", true)));
}

static int read_word(void *context, unsigned offset, uint32_t *ret) {
        uint32_t word;
        ssize_t n = pread(*(const int *) context, &word, sizeof(word), offset);

        if (n < 0)
                return -errno;
        if (n != sizeof(word))
                return -EPERM;
        *ret = le32toh(word);
        return 0;
}

int config_space_read_pasid(int dirfd, Pasid *ret) {
        _cleanup_(closep) int fd = -1;
        struct stat st;

        *ret = (Pasid){ 0 };
        if (fstatat(dirfd, "config", &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (st.st_size <= CONVENTIONAL_SIZE)
                return 0; /* the kernel found no extended space (pci_cfg_space_size()) */
        if (sleeps(dirfd))
                return -EAGAIN;
        fd = openat(dirfd, "config", O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        return pasid_find(read_word, &fd, ret);
}

static void read_function(PciKey key, uint64_t inode, Report *ret) {
        _cleanup_(closep) int dirfd = -1;
        struct stat st;

        memset(ret, 0, sizeof(*ret));
        ret->key = key;
        ret->inode = inode;
        dirfd = sysfs_open_function(pci_address_from_key(key));
        if (dirfd < 0)
                ret->result = dirfd;
        else if (fstat(dirfd, &st) < 0 || st.st_ino != inode)
                ret->result = -ENOENT;
        else
                ret->result = config_space_read_pasid(dirfd, &ret->pasid);
}

/* The child. */
static void __attribute__((noreturn)) run_child(const Report *requests, guint n, int fd) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);

        for (guint i = 0; i < n; i++) {
                Report report;

                read_function(requests[i].key, requests[i].inode, &report);
                if (write(fd, &report, sizeof(report)) != sizeof(report))
                        _exit(EXIT_FAILURE);
        }
        _exit(EXIT_SUCCESS);
}

static void want(ConfigSpace *space, Entry *entry) {
        if (entry->reading) {
                entry->again = true;
                return;
        }
        if (!entry->wanted)
                g_ptr_array_add(space->wanted, entry);
        entry->wanted = true;
        (void) sd_event_source_set_enabled(space->start, SD_EVENT_ONESHOT);
}

static void want_again_later(ConfigSpace *space, Entry *entry) {
        int enabled = SD_EVENT_OFF;

        entry->confirm = true;
        (void) sd_event_source_get_enabled(space->confirm, &enabled);
        if (enabled != SD_EVENT_OFF)
                return;
        (void) sd_event_source_set_time_relative(space->confirm, CONFIRM_USEC);
        (void) sd_event_source_set_enabled(space->confirm, SD_EVENT_ONESHOT);
}

static int on_confirm(sd_event_source *source, uint64_t usec, void *userdata) {
        ConfigSpace *space = userdata;
        GHashTableIter iter;
        gpointer value;

        g_hash_table_iter_init(&iter, space->entries);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
                Entry *entry = value;

                if (entry->confirm)
                        want(space, entry);
                entry->confirm = false;
        }
        return 0;
}

static void log_result(ConfigSpace *space, const Entry *entry, int result) {
        PciAddress address = pci_address_from_key(entry->key);

        if (result == 0 || result == entry->result || result == -ENOENT)
                return;
        if (result == -EPERM) {
                if (!space->told_unprivileged)
                        log_full(
                                LOG_WARNING, &address, NULL,
                                "only a part of configuration space is given to us (is CAP_SYS_ADMIN "
                                "missing?): nothing is known of PASID, here and elsewhere");
                space->told_unprivileged = true;
        } else if (result == -EBADMSG)
                log_full(LOG_NOTICE, &address, NULL,
                         "the list of its extended capabilities is broken");
        else if (result == -EAGAIN)
                log_full(LOG_DEBUG, &address, NULL, "sleeps, its configuration is not read");
        else
                log_full(LOG_INFO, &address, NULL, "its configuration cannot be read: %s",
                         g_strerror(-result));
}

static void take_report(ConfigSpace *space, const Report *report) {
        Entry *entry = g_hash_table_lookup(space->entries, &report->key);
        static const Pasid unknown;

        /* Of a device that has gone, or was told of by another child since. */
        if (!entry || entry->inode != report->inode || !entry->reading)
                return;
        entry->reading = false;
        if (report->result == 0 && !entry->again)
                entry->dirty = false;
        if (entry->again) {
                entry->again = false;
                want(space, entry);
        }
        /* It sleeps, but what was read before is true still. */
        if (report->result < 0 && !entry->dirty)
                return;
        log_result(space, entry, report->result);
        entry->result = report->result;
        space->found(space->context, report->key, report->result == 0 ? &report->pasid : &unknown);
}

static void child_forget_key(Child *child, PciKey key) {
        for (guint i = 0; i < child->keys->len; i++)
                if (g_array_index(child->keys, PciKey, i) == key) {
                        g_array_remove_index(child->keys, i);
                        return;
                }
}

/* What it was given from number `from` on is wanted still. */
static void child_return_keys(Child *child, guint from) {
        for (guint i = from; i < child->keys->len; i++) {
                Entry *entry = g_hash_table_lookup(child->space->entries,
                                                   &g_array_index(child->keys, PciKey, i));

                if (!entry || !entry->reading)
                        continue;
                entry->reading = false;
                entry->again = false;
                want(child->space, entry);
        }
        g_array_set_size(child->keys, MIN(from, child->keys->len));
}

static void child_free(gpointer data) {
        Child *child = data;

        sd_event_source_disable_unref(child->source);
        sd_event_source_disable_unref(child->hang);
        closep(&child->pipe);
        g_array_unref(child->keys);
        g_free(child);
}

static int on_hang(sd_event_source *source, uint64_t usec, void *userdata) {
        Child *child = userdata;
        PciAddress address;

        if (child->keys->len == 0)
                return 0;
        address = pci_address_from_key(g_array_index(child->keys, PciKey, 0));
        log_full(LOG_INFO, &address, NULL,
                 "its configuration cannot be read for now: it is being reset, or does not answer");
        child_return_keys(child, 1);
        return 0;
}

static int on_reports(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Child *child = userdata;
        ConfigSpace *space = child->space;
        Report reports[64];
        ssize_t n;

        /* Reports are written whole: they are shorter than PIPE_BUF. */
        n = read(fd, reports, sizeof(reports));
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        for (size_t i = 0; i < (size_t) n / sizeof(*reports); i++) {
                child_forget_key(child, reports[i].key);
                take_report(space, &reports[i]);
        }
        if (n > 0) {
                (void) sd_event_source_set_time_relative(child->hang, HANG_USEC);
                return 0;
        }

        /* It has ended, or was killed: that cannot make us wait. */
        (void) waitid(P_PID, (id_t) child->pid, &(siginfo_t){ 0 }, WEXITED);
        child_return_keys(child, 0);
        g_ptr_array_remove(space->children, child);
        if (space->wanted->len > 0)
                (void) sd_event_source_set_enabled(space->start, SD_EVENT_ONESHOT);
        return 0;
}

static int start_child(ConfigSpace *space, const GArray *requests) {
        _cleanup_(closep) int reading = -1, writing = -1;
        Child *child;
        int ends[2], r;
        pid_t pid;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        reading = ends[0];
        writing = ends[1];
        pid = child_fork("vfwarden-config", &writing, 1);
        if (pid < 0)
                return (int) pid;
        if (pid == 0)
                run_child((const Report *) (void *) requests->data, requests->len, writing);

        child = g_new0(Child, 1);
        child->space = space;
        child->pid = pid;
        child->pipe = take_fd(&reading);
        child->keys = g_array_sized_new(FALSE, FALSE, sizeof(PciKey), requests->len);
        for (guint i = 0; i < requests->len; i++)
                g_array_append_val(child->keys, g_array_index(requests, Report, i).key);
        g_ptr_array_add(space->children, child);
        r = sd_event_add_io(space->event, &child->source, child->pipe, EPOLLIN, on_reports, child);
        if (r >= 0)
                r = sd_event_add_time_relative(space->event, &child->hang, CLOCK_MONOTONIC,
                                               HANG_USEC, G_USEC_PER_SEC / 10, on_hang, child);
        return r;
}

static int on_start(sd_event_source *source, void *userdata) {
        ConfigSpace *space = userdata;
        g_autoptr(GArray) requests = NULL;
        int r;

        if (space->wanted->len == 0 || space->children->len >= CHILDREN_MAX)
                return 0;
        requests = g_array_sized_new(FALSE, TRUE, sizeof(Report), space->wanted->len);
        for (guint i = 0; i < space->wanted->len; i++) {
                Entry *entry = space->wanted->pdata[i];
                Report request = { .key = entry->key, .inode = entry->inode };

                g_array_append_val(requests, request);
                entry->wanted = false;
                entry->reading = true;
        }
        g_ptr_array_set_size(space->wanted, 0);
        r = start_child(space, requests);
        if (r < 0)
                log_error("configuration space cannot be read: %s", g_strerror(-r));
        return 0;
}

static void entry_free(gpointer data) {
        Entry *entry = data;

        g_ref_string_release(entry->driver);
        g_free(entry);
}

int config_space_new(sd_event *event, ConfigSpaceFound *found, void *context, ConfigSpace **ret) {
        g_autoptr(ConfigSpace) space = g_new0(ConfigSpace, 1);
        int r;

        space->event = sd_event_ref(event);
        space->found = found;
        space->context = context;
        space->entries = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, entry_free);
        space->wanted = g_ptr_array_new();
        space->children = g_ptr_array_new_with_free_func(child_free);
        r = sd_event_add_defer(event, &space->start, on_start, space);
        if (r >= 0)
                r = sd_event_source_set_enabled(space->start, SD_EVENT_OFF);
        /* After the events that are waiting: one child for all that they ask for. */
        if (r >= 0)
                r = sd_event_source_set_priority(space->start, SD_EVENT_PRIORITY_IDLE);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &space->confirm, CLOCK_MONOTONIC, 0,
                                               G_USEC_PER_SEC / 10, on_confirm, space);
        if (r >= 0)
                r = sd_event_source_set_enabled(space->confirm, SD_EVENT_OFF);
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&space);
        return 0;
}

ConfigSpace *config_space_free(ConfigSpace *space) {
        if (!space)
                return NULL;
        sd_event_source_disable_unref(space->start);
        sd_event_source_disable_unref(space->confirm);
        g_ptr_array_unref(space->children);
        g_ptr_array_unref(space->wanted);
        g_hash_table_unref(space->entries);
        sd_event_unref(space->event);
        g_free(space);
        return NULL;
}

void config_space_function_changed(ConfigSpace *space, const Function *function) {
        Entry *entry = g_hash_table_lookup(space->entries, &function->facts.key);
        bool in_use = function_in_use(function), changed;

        if (function->kind == FUNCTION_KIND_VF || function->kind == FUNCTION_KIND_DETACHED_VF)
                return;
        if (entry && entry->inode != function->facts.inode) {
                config_space_function_gone(space, function->facts.key);
                entry = NULL;
        }
        if (!entry) {
                entry = g_new0(Entry, 1);
                entry->key = function->facts.key;
                entry->inode = function->facts.inode;
                entry->driver = g_ref_string_acquire(function->facts.driver);
                entry->in_use = in_use;
                entry->result = -EINPROGRESS;
                entry->dirty = true;
                g_hash_table_insert(space->entries, &entry->key, entry);
                want(space, entry);
                return;
        }

        changed = entry->driver != function->facts.driver || entry->in_use != in_use;
        if (entry->driver != function->facts.driver) {
                g_ref_string_release(entry->driver);
                entry->driver = g_ref_string_acquire(function->facts.driver);
        }
        entry->in_use = in_use;
        /* Most functions have no capability, and none will grow. */
        if (entry->result == 0 && !function->facts.pasid.present)
                return;
        entry->dirty = entry->dirty || changed;
        if (changed || (entry->result < 0 && entry->result != -EBADMSG))
                want(space, entry);
        if (changed)
                want_again_later(space, entry);
}

void config_space_function_gone(ConfigSpace *space, PciKey key) {
        Entry *entry = g_hash_table_lookup(space->entries, &key);

        if (!entry)
                return;
        if (entry->wanted)
                g_ptr_array_remove_fast(space->wanted, entry);
        g_hash_table_remove(space->entries, &key);
}
