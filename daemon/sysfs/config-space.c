#include "daemon/sysfs/config-space.h"

#include "daemon/base/helper.h"
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/sysfs/config-reader.h"
#include "daemon/sysfs/read-queue.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A child that has said nothing for so long hangs; those behind are given to another. */
#define HANG_USEC (2 * G_USEC_PER_SEC)
/* After what may have changed the bit, it is read once more. */
#define CONFIRM_USEC (1 * G_USEC_PER_SEC)
/* A host on which so many functions hang at a time is beyond help; the others wait. */
#define CHILDREN_MAX 8
/* Reports that are taken in one turn of the event loop. */
#define REPORTS_MAX 64
/* A child that has nothing to read for so long ends: a fork copies the daemon's page tables, and
 * VFs come by the hundred. */
#define IDLE_USEC (1 * G_USEC_PER_SEC)
/* How many functions a child is given ahead. */
#define WINDOW 64
/* A child that has been silent for so long may hang: it gets no more until its next report. */
#define PATIENCE_USEC (50 * 1000ULL)

typedef struct Entry {
        ReadEntry base;
        int pasid_result, msix_result; /* of the last read; -EINPROGRESS before the first */
        bool dirty;                    /* what was read last of PASID may not be so any more */
        bool changed;                  /* something happened to it since its reading began */
} Entry;

/* What a child is to read, and its report of it. */
typedef struct Report {
        PciKey key;
        uint64_t inode;
        bool is_vf; /* it has no PASID of its own */
        ConfigReading read;
} Report;

typedef struct Child {
        ConfigSpace *space;
        Helper *helper;
        GArray *keys;           /* of PciKey: what it was given and has not reported */
        uint64_t progress_usec; /* CLOCK_MONOTONIC: its last report, or when it had nothing to do */
        bool hangs;             /* it gets no more */
} Child;

struct ConfigSpace {
        sd_event *event;
        const ConfigSpaceHandler *handler;
        void *context;
        ReadQueue *queue;    /* of Entry */
        GPtrArray *children; /* of Child*, owned */
        Problems *problems;
        bool told_unprivileged;
};

/* Answers `request`. */
static void config_space_read_function(const Report *request, Report *ret) {
        _cleanup_(closep) int dirfd = -1;
        struct stat st;
        int error = 0;

        *ret = *request;
        dirfd = sysfs_open_function(pci_address_from_key(request->key));
        if (dirfd < 0)
                error = dirfd;
        else if (fstat(dirfd, &st) < 0 || st.st_ino != request->inode)
                error = -ENOENT;
        else
                config_reader_read(dirfd, request->is_vf, &ret->read);
        if (error < 0)
                ret->read.pasid_result = ret->read.msix_result = ret->read.pcie_result = error;
}

/* The child. Ends when the daemon does, or has nothing more to be read. */
static void run_child(void *task, int channel) {
        Report request, report;

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);

        while (recv(channel, &request, sizeof(request), 0) == sizeof(request)) {
                config_space_read_function(&request, &report);
                if (send(channel, &report, sizeof(report), MSG_NOSIGNAL) != sizeof(report))
                        _exit(EXIT_FAILURE);
        }
        _exit(EXIT_SUCCESS);
}

static void log_result(ConfigSpace *space, const Entry *entry, int before, int result,
                       const char *broken) {
        PciAddress address = pci_address_from_key(entry->base.key);

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
        PciAddress address = pci_address_from_key(entry->base.key);
        int r = cannot_look(report->read.msix_result) ? report->read.msix_result
                                                      : report->read.pasid_result;

        if (!cannot_look(r)) {
                problems_resolve_function(space->problems, address, "config");
                return;
        }
        problems_report_function(space->problems, address, "config",
                                 "Failed to read its configuration: %s", g_strerror(-r));
        read_queue_want_later(space->queue, &entry->base, CONFIRM_USEC);
}

/* The capability cannot move, so what was read before stays true when it cannot be read. */
static void take_msix(ConfigSpace *space, Entry *entry, const Report *report) {
        if ((report->read.msix_result < 0 && entry->msix_result == 0) ||
            cannot_look(report->read.msix_result))
                return;
        log_result(space, entry, entry->msix_result, report->read.msix_result,
                   "the list of its capabilities, or its MSI-X capability, is broken");
        entry->msix_result = report->read.msix_result;
        if (report->read.msix_result == 0)
                space->handler->msix(space->context, report->key, &report->read.msix);
}

static void take_pasid(ConfigSpace *space, Entry *entry, const Report *report) {
        static const Pasid unknown;
        int before = entry->pasid_result;

        /* It sleeps, but what was read before is true still. */
        if (report->is_vf || (report->read.pasid_result < 0 && !entry->dirty) ||
            cannot_look(report->read.pasid_result))
                return;
        /* The result for MSI-X says what holds for all of configuration space. */
        log_result(space, entry,
                   report->read.pasid_result == report->read.msix_result ? report->read.pasid_result
                                                                         : before,
                   report->read.pasid_result, "the list of its extended capabilities is broken");
        entry->pasid_result = report->read.pasid_result;
        space->handler->pasid(space->context, report->key,
                              report->read.pasid_result == 0 ? &report->read.pasid : &unknown);
}

/* What was read before is kept when it cannot be read: the link is as it was seen last. */
static void take_pcie(ConfigSpace *space, const Report *report) {
        if (!report->is_vf && report->read.pcie_result == 0)
                space->handler->pcie(space->context, report->key, &report->read.pcie);
}

static void take_report(ConfigSpace *space, const Report *report) {
        Entry *entry = read_queue_find(space->queue, report->key);

        /* Of a device that has gone, or that another child has reported since. */
        if (!entry || entry->base.inode != report->inode || !entry->base.reading)
                return;
        read_queue_done(space->queue, &entry->base);
        if (report->read.pasid_result == 0 && !entry->changed)
                entry->dirty = false;
        note_report(space, entry, report);
        take_msix(space, entry, report);
        take_pasid(space, entry, report);
        take_pcie(space, report);
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
        ReadQueue *queue = child->space->queue;

        for (guint i = from; i < child->keys->len; i++) {
                Entry *entry = read_queue_find(queue, g_array_index(child->keys, PciKey, i));

                if (!entry || !entry->base.reading)
                        continue;
                read_queue_done(queue, &entry->base);
                read_queue_want(queue, &entry->base);
        }
        g_array_set_size(child->keys, MIN(from, child->keys->len));
}

static void child_free(gpointer data) {
        Child *child = data;

        helper_free(child->helper);
        g_array_unref(child->keys);
        g_free(child);
}

/* It has ended, or is about to. */
static void end_child(Child *child) {
        ConfigSpace *space = child->space;

        child_return_keys(child, 0);
        g_ptr_array_remove(space->children, child);
        if (!read_queue_is_empty(space->queue))
                read_queue_wake(space->queue);
}

static void on_config_child_due(void *context) {
        Child *child = context;
        PciAddress address;

        if (child->keys->len == 0) {
                end_child(child); /* it has been idle */
                return;
        }
        address = pci_address_from_key(g_array_index(child->keys, PciKey, 0));
        log_full(LOG_INFO, &address, NULL,
                 "its configuration cannot be read for now: it is being reset, or does not answer");
        child->hangs = true;
        child_return_keys(child, 1);
}

/* Until when it is waited for. */
static void child_set_deadline(const Child *child) {
        (void) helper_set_deadline(child->helper, child->keys->len > 0 ? HANG_USEC : IDLE_USEC);
}

/* Returns 1, 0 when there is no report now, or -EPIPE when there will be none. */
static int receive_report(Child *child, int channel) {
        Report report;
        ssize_t n = recv(channel, &report, sizeof(report), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n != sizeof(report))
                return -EPIPE;
        child_forget_key(child, report.key);
        take_report(child->space, &report);
        return 1;
}

static void on_reports(void *context, int channel) {
        Child *child = context;
        int r = 1;

        for (unsigned i = 0; i < REPORTS_MAX && r > 0; i++)
                r = receive_report(child, channel);
        if (r < 0 || (child->hangs && child->keys->len == 0)) {
                end_child(child);
                return;
        }
        child->progress_usec = now_usec();
        child_set_deadline(child);
        if (!read_queue_is_empty(child->space->queue))
                read_queue_wake(child->space->queue);
}

static const HelperHandler helper_handler = {
        .name = "vfwarden-config",
        .readable = on_reports,
        .due = on_config_child_due,
};

/* Returns 0 or a negative errno. */
static int start_child(ConfigSpace *space, Child **ret) {
        Child *child = g_new0(Child, 1);
        int r;

        child->space = space;
        child->keys = g_array_new(FALSE, FALSE, sizeof(PciKey));
        r = helper_fork(space->event, &helper_handler, child, run_child, NULL, NULL, 0,
                        &child->helper);
        if (r < 0) {
                child_free(child);
                return r;
        }
        g_ptr_array_add(space->children, child);
        *ret = child;
        return 0;
}

/* A child that goes on reading; NULL when there is none. */
static Child *find_child(const ConfigSpace *space) {
        uint64_t now = now_usec();

        for (guint i = 0; i < space->children->len; i++) {
                Child *child = space->children->pdata[i];

                if (!child->hangs &&
                    (child->keys->len == 0 || now < child->progress_usec + PATIENCE_USEC))
                        return child;
        }
        return NULL;
}

/* Gives it what there is room for. What cannot be given is given again, to another one: this one
 * has ended, and is about to be heard of. */
static void child_give(Child *child) {
        ReadQueue *queue = child->space->queue;
        bool was_idle = child->keys->len == 0;
        Entry *entry;

        if (was_idle)
                child->progress_usec = now_usec();
        while (child->keys->len < WINDOW && (entry = read_queue_take(queue))) {
                const Report request = { .key = entry->base.key,
                                         .inode = entry->base.inode,
                                         .is_vf = entry->base.is_vf };

                entry->changed = false;
                if (send(helper_channel(child->helper), &request, sizeof(request),
                         MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(request)) {
                        read_queue_done(queue, &entry->base);
                        read_queue_want(queue, &entry->base);
                        break;
                }
                g_array_append_val(child->keys, request.key);
        }
        if (was_idle)
                child_set_deadline(child);
}

/* Nobody can read for us at present: those who were to be read are again, a little later. */
static void put_off(ConfigSpace *space, int r) {
        Entry *entry;

        problems_report(space->problems, "config", "Failed to read configuration space: %s",
                        g_strerror(-r));
        while ((entry = read_queue_take(space->queue))) {
                read_queue_done(space->queue, &entry->base);
                read_queue_want_later(space->queue, &entry->base, CONFIRM_USEC);
        }
}

static bool on_config_space_start(void *context) {
        ConfigSpace *space = context;
        Child *child = find_child(space);
        int r = 0;

        if (read_queue_is_empty(space->queue) || (!child && space->children->len >= CHILDREN_MAX))
                return false;
        if (!child)
                r = start_child(space, &child);
        if (r < 0) {
                put_off(space, r);
                return false;
        }
        problems_resolve(space->problems, "config");
        child_give(child);
        return false;
}

static const ReadQueueHandler queue_handler = {
        .name = "config-space",
        .entry_size = sizeof(Entry),
        .start = on_config_space_start,
};

int config_space_new(sd_event *event, Problems *problems, const ConfigSpaceHandler *handler,
                     void *context, ConfigSpace **ret) {
        g_autoptr(ConfigSpace) space = g_new0(ConfigSpace, 1);
        int r;

        space->event = sd_event_ref(event);
        space->problems = problems;
        space->handler = handler;
        space->context = context;
        space->children = g_ptr_array_new_with_free_func(child_free);
        r = read_queue_new(event, &queue_handler, space, &space->queue);
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&space);
        return 0;
}

ConfigSpace *config_space_free(ConfigSpace *space) {
        if (!space)
                return NULL;
        g_ptr_array_unref(space->children);
        read_queue_free(space->queue);
        sd_event_unref(space->event);
        g_free(space);
        return NULL;
}

static bool worth_a_try(int result) {
        return result < 0 && result != -EBADMSG;
}

void config_space_function_changed(ConfigSpace *space, const Function *function) {
        unsigned news;
        Entry *entry = read_queue_note(space->queue, function, &news);
        bool is_vf = entry->base.is_vf;

        if (news & READ_NEWS_DEVICE) {
                entry->pasid_result = entry->msix_result = -EINPROGRESS;
                entry->dirty = true;
                read_queue_want(space->queue, &entry->base);
                return;
        }
        /* A PF can give a VF another number of vectors while the VF has no driver
         * (sriov_vf_msix_count_store()). */
        if (worth_a_try(entry->msix_result) ||
            (is_vf && (news & READ_NEWS_DRIVER) && function->facts.msix.present))
                read_queue_want(space->queue, &entry->base);
        /* A link is trained anew with a reset, and slower to save power; no event reports that. */
        if (!is_vf && news != 0 && function->pcie.link_width > 0)
                read_queue_want(space->queue, &entry->base);
        /* Most functions have no capability, and none will grow. */
        if (is_vf || (entry->pasid_result == 0 && !function->facts.pasid.present))
                return;
        entry->dirty = entry->dirty || news != 0;
        entry->changed = entry->changed || news != 0;
        if (news != 0 || worth_a_try(entry->pasid_result))
                read_queue_want(space->queue, &entry->base);
        if (news != 0)
                read_queue_want_later(space->queue, &entry->base, CONFIRM_USEC);
}

void config_space_function_gone(ConfigSpace *space, PciKey key) {
        read_queue_function_gone(space->queue, key);
}
