#include "daemon/sysfs/config-space.h"

#include "daemon/base/helper.h"
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "daemon/sysfs/config-reader.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"

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

typedef struct Entry {
        PciKey key;
        uint64_t inode;
        GRefString *driver;
        bool in_use;
        bool is_vf;
        int pasid_result, msix_result; /* of the last read; -EINPROGRESS before the first */
        bool wanted;                   /* in `wanted` */
        bool reading;                  /* by a child */
        bool again;                    /* asked for while being read */
        bool dirty;                    /* what was read last of PASID may not be so any more */
        bool confirm;                  /* to be read once more a little later */
} Entry;

/* A child's report of one function. */
typedef struct Report {
        PciKey key;
        uint64_t inode;
        bool is_vf; /* it has no PASID of its own */
        int32_t pasid_result, msix_result;
        Pasid pasid;
        Msix msix;
} Report;

typedef struct Child {
        ConfigSpace *space;
        pid_t pid;
        int pipe;
        GArray *keys; /* of PciKey: what it was given and has not reported */
        sd_event_source *source, *hang;
} Child;

struct ConfigSpace {
        sd_event *event;
        const ConfigSpaceHandler *handler;
        void *context;
        GHashTable *entries; /* PciKey in the entry -> Entry*, owned */
        GPtrArray *wanted;   /* borrowed Entry* */
        GPtrArray *children; /* of Child*, owned */
        sd_event_source *start, *confirm;
        Problems *problems;
        bool told_unprivileged;
};

/* Answers `request`. */
static void read_function(const Report *request, Report *ret) {
        _cleanup_(closep) int dirfd = -1;
        int error = 0, pasid_result = 0, msix_result = 0;
        struct stat st;

        *ret = *request;
        dirfd = sysfs_open_function(pci_address_from_key(request->key));
        if (dirfd < 0)
                error = dirfd;
        else if (fstat(dirfd, &st) < 0 || st.st_ino != request->inode)
                error = -ENOENT;
        else
                config_reader_read(dirfd, request->is_vf ? NULL : &pasid_result, &ret->pasid,
                                   &msix_result, &ret->msix);
        ret->pasid_result = error < 0 ? error : pasid_result;
        ret->msix_result = error < 0 ? error : msix_result;
}

/* The child. */
static void __attribute__((noreturn)) run_child(const Report *requests, guint n, int fd) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);

        for (guint i = 0; i < n; i++) {
                Report report;

                read_function(&requests[i], &report);
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

static void log_result(ConfigSpace *space, const Entry *entry, int before, int result,
                       const char *broken) {
        PciAddress address = pci_address_from_key(entry->key);

        if (result == 0 || result == before || result == -ENOENT)
                return;
        if (result == -EPERM) {
                if (!space->told_unprivileged)
                        log_full(
                                LOG_WARNING, &address, NULL,
                                "only a part of configuration space is given to us (is CAP_SYS_ADMIN "
                                "missing?): nothing is known of MSI-X and PASID, here and elsewhere");
                space->told_unprivileged = true;
        } else if (result == -EBADMSG)
                log_full(LOG_NOTICE, &address, NULL, "%s", broken);
        else if (result == -EAGAIN)
                log_full(LOG_DEBUG, &address, NULL, "sleeps, its configuration is not read");
        else
                log_full(LOG_INFO, &address, NULL, "its configuration cannot be read: %s",
                         g_strerror(-result));
}

/* Whether it could not be looked at, and looking again may help without anything's having
 * changed. */
static bool cannot_look(int result) {
        return result < 0 && !errno_means_absent(result) && !errno_means_malformed(result) &&
               result != -EINPROGRESS && result != -EAGAIN && result != -EPERM &&
               result != -EBADMSG;
}

/* The known values stay; it is read again. */
static void note_report(ConfigSpace *space, Entry *entry, const Report *report) {
        PciAddress address = pci_address_from_key(entry->key);
        int r = cannot_look(report->msix_result) ? report->msix_result : report->pasid_result;

        if (!cannot_look(r)) {
                problems_resolve_function(space->problems, address, "config");
                return;
        }
        problems_report_function(space->problems, address, "config",
                                 "Failed to read its configuration: %s", g_strerror(-r));
        want_again_later(space, entry);
}

/* The capability cannot move, so what was read before stays true when it cannot be read. */
static void take_msix(ConfigSpace *space, Entry *entry, const Report *report) {
        if ((report->msix_result < 0 && entry->msix_result == 0) ||
            cannot_look(report->msix_result))
                return;
        log_result(space, entry, entry->msix_result, report->msix_result,
                   "the list of its capabilities, or its MSI-X capability, is broken");
        entry->msix_result = report->msix_result;
        if (report->msix_result == 0)
                space->handler->msix(space->context, report->key, &report->msix);
}

static void take_pasid(ConfigSpace *space, Entry *entry, const Report *report) {
        static const Pasid unknown;
        int before = entry->pasid_result;

        /* It sleeps, but what was read before is true still. */
        if (report->is_vf || (report->pasid_result < 0 && !entry->dirty) ||
            cannot_look(report->pasid_result))
                return;
        /* The result for MSI-X says what holds for all of configuration space. */
        log_result(space, entry,
                   report->pasid_result == report->msix_result ? report->pasid_result : before,
                   report->pasid_result, "the list of its extended capabilities is broken");
        entry->pasid_result = report->pasid_result;
        space->handler->pasid(space->context, report->key,
                              report->pasid_result == 0 ? &report->pasid : &unknown);
}

static void take_report(ConfigSpace *space, const Report *report) {
        Entry *entry = g_hash_table_lookup(space->entries, &report->key);

        /* Of a device that has gone, or that another child has reported since. */
        if (!entry || entry->inode != report->inode || !entry->reading)
                return;
        entry->reading = false;
        if (report->pasid_result == 0 && !entry->again)
                entry->dirty = false;
        if (entry->again) {
                entry->again = false;
                want(space, entry);
        }
        note_report(space, entry, report);
        take_msix(space, entry, report);
        take_pasid(space, entry, report);
}

static void child_forget_key(Child *child, PciKey key) {
        for (guint i = 0; i < child->keys->len; i++)
                if (g_array_index(child->keys, PciKey, i) == key) {
                        g_array_remove_index(child->keys, i);
                        return;
                }
}

/* The functions from number `from` on are still to be read. */
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

        /* It has ended, or is about to. */
        helper_forget_process(space->event, child->pid);
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
        pid = helper_fork_process("vfwarden-config", &writing, 1);
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
        if (r < 0) { /* it ends when it has nobody to report to */
                helper_forget_process(space->event, pid);
                g_ptr_array_remove(space->children, child);
        }
        return r;
}

/* Nobody can read for us at present: those who were to be read are again, a little later. */
static void put_off(ConfigSpace *space, const GArray *requests, int r) {
        problems_report(space->problems, "config", "Failed to read configuration space: %s",
                        g_strerror(-r));
        for (guint i = 0; i < requests->len; i++) {
                Entry *entry = g_hash_table_lookup(space->entries,
                                                   &g_array_index(requests, Report, i).key);

                entry->reading = false;
                want_again_later(space, entry);
        }
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
                Report request = { .key = entry->key,
                                   .inode = entry->inode,
                                   .is_vf = entry->is_vf };

                g_array_append_val(requests, request);
                entry->wanted = false;
                entry->reading = true;
        }
        g_ptr_array_set_size(space->wanted, 0);
        r = start_child(space, requests);
        if (r < 0)
                put_off(space, requests, r);
        else
                problems_resolve(space->problems, "config");
        return 0;
}

static void entry_free(gpointer data) {
        Entry *entry = data;

        g_ref_string_release(entry->driver);
        g_free(entry);
}

int config_space_new(sd_event *event, Problems *problems, const ConfigSpaceHandler *handler,
                     void *context, ConfigSpace **ret) {
        g_autoptr(ConfigSpace) space = g_new0(ConfigSpace, 1);
        int r;

        space->event = sd_event_ref(event);
        space->problems = problems;
        space->handler = handler;
        space->context = context;
        space->entries = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, entry_free);
        space->wanted = g_ptr_array_new();
        space->children = g_ptr_array_new_with_free_func(child_free);
        /* One child for all that the waiting events ask for. */
        r = wakeup_new_idle(event, on_start, space, &space->start);
        if (r >= 0)
                r = wakeup_new_timer(event, G_USEC_PER_SEC / 10, on_confirm, space,
                                     &space->confirm);
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

static bool worth_a_try(int result) {
        return result < 0 && result != -EBADMSG;
}

void config_space_function_changed(ConfigSpace *space, const Function *function) {
        Entry *entry = g_hash_table_lookup(space->entries, &function->facts.key);
        bool is_vf =
                function->kind == FUNCTION_KIND_VF || function->kind == FUNCTION_KIND_DETACHED_VF;
        bool in_use = function_in_use(function), changed, driver_changed;

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
                entry->is_vf = is_vf;
                entry->pasid_result = entry->msix_result = -EINPROGRESS;
                entry->dirty = true;
                g_hash_table_insert(space->entries, &entry->key, entry);
                want(space, entry);
                return;
        }

        driver_changed = entry->driver != function->facts.driver;
        changed = driver_changed || entry->in_use != in_use;
        if (driver_changed) {
                g_ref_string_release(entry->driver);
                entry->driver = g_ref_string_acquire(function->facts.driver);
        }
        entry->in_use = in_use;
        entry->is_vf = is_vf;
        /* A PF can give a VF another number of vectors while the VF has no driver
         * (sriov_vf_msix_count_store()). */
        if (worth_a_try(entry->msix_result) ||
            (is_vf && driver_changed && function->facts.msix.present))
                want(space, entry);
        /* Most functions have no capability, and none will grow. */
        if (is_vf || (entry->pasid_result == 0 && !function->facts.pasid.present))
                return;
        entry->dirty = entry->dirty || changed;
        if (changed || worth_a_try(entry->pasid_result))
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
