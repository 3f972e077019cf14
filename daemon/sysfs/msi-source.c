#include "daemon/sysfs/msi-source.h"

#include "daemon/base/util.h"
#include "daemon/sysfs/msi-reader.h"
#include "daemon/sysfs/read-queue.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/utsname.h>

/* A driver that allocates MSIs after it was bound, a user who has VFIO do so after the open. */
#define CONFIRM_USEC (1 * G_USEC_PER_SEC)

/* A guest's driver, which has VFIO allocate them long after the machine was started. */
#define GUEST_USEC (5 * G_USEC_PER_SEC)

/* So many functions are read before others have their turn. */
#define BATCH_MAX 256

typedef struct Group Group;

typedef struct Entry {
        ReadEntry base;
        bool s390;
        bool read;    /* at least once */
        Group *group; /* NULL: no IOMMU, or not looked at yet */
        MsiChips own;
} Entry;

/* The functions behind one IOMMU in one domain of PCI: more than one domain behind an IOMMU may
 * send their MSIs to different places where that is not the IOMMU's part (ARM). */
struct Group {
        char *id; /* "dmar0 0000" */
        GRefString *iommu;
        MsiIommu kind;
        uint64_t ecap;
        bool has_ecap;
        GHashTable *entries; /* set of borrowed Entry* */
        const Entry *isolating_of,
                *other_of; /* who stands for the others; NULL: nobody has such MSIs */
};

struct MsiSource {
        Watch *watch;
        Problems *problems;
        MsiSourceChanged *changed;
        void *context;
        MsiArchitecture architecture;
        GRefString *machine;
        MsiUnsafe unsafe[_MSI_UNSAFE_MAX];
        uint64_t unsafe_inode[_MSI_UNSAFE_MAX];
        int unsafe_watch[_MSI_UNSAFE_MAX];
        ReadQueue *queue;   /* of Entry */
        GHashTable *groups; /* id in the group -> Group*, owned */
        GHashTable *dirty;  /* set of borrowed Group* where others stand for the rest, or say
                               something else */
};

static void group_free(gpointer data) {
        Group *group = data;

        g_free(group->id);
        g_ref_string_release(group->iommu);
        g_hash_table_unref(group->entries);
        g_free(group);
}

/* Returns 0, or a negative errno when the kind of IOMMU cannot be read. */
static int group_get(MsiSource *source, const char *iommu, uint32_t domain, Group **ret) {
        g_autofree char *id = g_strdup_printf("%s %04x", iommu, domain);
        Group *group = g_hash_table_lookup(source->groups, id);
        uint64_t ecap = 0;
        bool has_ecap;
        MsiIommu kind;
        int r;

        *ret = group;
        if (group)
                return 0;
        r = msi_reader_iommu(iommu, &kind, &has_ecap, &ecap);
        if (r < 0)
                return r;
        group = g_new0(Group, 1);
        group->id = g_steal_pointer(&id);
        group->iommu = g_ref_string_new_intern(iommu);
        group->entries = g_hash_table_new(NULL, NULL);
        group->kind = kind;
        group->has_ecap = has_ecap;
        group->ecap = ecap;
        g_hash_table_insert(source->groups, group->id, group);
        *ret = group;
        return 0;
}

static const MsiInterrupt *entry_interrupt(const Entry *entry, bool isolating) {
        return isolating ? &entry->own.isolating : &entry->own.other;
}

/* A function with such MSIs; one that is no VF is preferred. */
static const Entry *group_find(const Group *group, bool isolating) {
        const Entry *found = NULL;
        GHashTableIter iter;
        gpointer key;

        g_hash_table_iter_init(&iter, group->entries);
        while (g_hash_table_iter_next(&iter, &key, NULL)) {
                const Entry *entry = key;

                if (!entry_interrupt(entry, isolating)->chip)
                        continue;
                found = entry;
                if (!entry->base.is_vf)
                        break;
        }
        return found;
}

/* `entry` has MSIs that it did not have before, or has them no more, or has left. */
static void group_update(MsiSource *source, Group *group, const Entry *entry) {
        const Entry **standing[] = { &group->other_of, &group->isolating_of };

        for (unsigned isolating = 0; isolating < G_N_ELEMENTS(standing); isolating++) {
                const Entry **of = standing[isolating];
                bool has = g_hash_table_contains(group->entries, entry) &&
                           entry_interrupt(entry, isolating)->chip;

                if (*of != entry && (*of || !has))
                        continue;
                *of = has ? entry : group_find(group, isolating);
                g_hash_table_add(source->dirty, group);
                read_queue_wake(source->queue);
        }
}

static void entry_leave(MsiSource *source, Entry *entry) {
        Group *group = entry->group;

        if (!group)
                return;
        entry->group = NULL;
        g_hash_table_remove(group->entries, entry);
        if (g_hash_table_size(group->entries) == 0) {
                g_hash_table_remove(source->dirty, group);
                g_hash_table_remove(source->groups, group->id);
        } else
                group_update(source, group, entry);
}

static MsiArchitecture architecture_of(const MsiSource *source, const Entry *entry) {
        return entry->s390 ? MSI_ARCHITECTURE_S390 : source->architecture;
}

static bool names_count(MsiArchitecture architecture) {
        return architecture == MSI_ARCHITECTURE_X86 || architecture == MSI_ARCHITECTURE_ARM;
}

/* Reads what `entry` has now. Returns 0, -ENOENT when it has gone, or another negative errno when
 * it cannot be read at present. */
static int read_now(MsiSource *source, const Entry *entry, MsiChips *ret_own, Group **ret_group) {
        PciAddress address = pci_address_from_key(entry->base.key);
        _cleanup_(closep) int dirfd = sysfs_open_function(address);
        char iommu[NAME_MAX + 1];
        Group *group = NULL;
        MsiChips own;
        struct stat st;
        ssize_t n;
        int r;

        if (dirfd < 0)
                return dirfd;
        if (fstat(dirfd, &st) < 0)
                return -errno;
        if (st.st_ino != entry->base.inode)
                return -ENOENT;
        r = msi_reader_chips(source->architecture, entry->base.key, dirfd, &own);
        if (r < 0)
                return r;
        n = sysfs_read_link(dirfd, "iommu", iommu, sizeof(iommu));
        r = n < 0 ? (int) n : group_get(source, iommu, address.domain, &group);
        if (r < 0 && !errno_means_absent(r)) {
                msi_chips_clear(&own);
                return r;
        }
        *ret_own = own;
        *ret_group = group;
        return 0;
}

/* Returns whether something was found that was not known. A value that cannot be read stays as it
 * was. */
static bool read_entry(MsiSource *source, Entry *entry) {
        PciAddress address = pci_address_from_key(entry->base.key);
        MsiChips own = { 0 };
        Group *group = NULL;
        int r;

        entry->read = true;
        if (!names_count(architecture_of(source, entry)))
                return false;
        r = read_now(source, entry, &own, &group);
        if (r < 0 && !errno_means_absent(r)) {
                problems_report_function(source->problems, address, "msi",
                                         "Failed to read its interrupts: %s", g_strerror(-r));
                read_queue_want_later(source->queue, &entry->base, CONFIRM_USEC);
                return false;
        }
        problems_resolve_function(source->problems, address, "msi");
        if (r < 0)
                return false; /* another event reports its removal */
        if (group != entry->group) {
                entry_leave(source, entry);
                entry->group = group;
                if (group)
                        g_hash_table_add(group->entries, entry);
        } else if (msi_chips_equal(&own, &entry->own)) {
                msi_chips_clear(&own);
                return false;
        }
        msi_chips_clear(&entry->own);
        entry->own = own;
        if (group)
                group_update(source, group, entry);
        return true;
}

/* Whether a guest may have MSIs allocated for it at any time. */
static bool may_get_msis(const MsiSource *source, const Entry *entry) {
        return entry->base.in_use && msi_chips_empty(&entry->own) &&
               names_count(architecture_of(source, entry));
}

static void msi_source_tell(void *context, void *data) {
        const MsiSource *source = context;
        const Entry *entry = data;

        source->changed(source->context, entry->base.key);
}

static void on_unsafe_written(void *context, void *userdata, const char *name) {
        read_queue_wake(((const MsiSource *) context)->queue);
}

/* Watches the file of the parameter, which comes and goes with its module. Returns whether it is
 * there, as far as that can be read. */
static bool watch_unsafe(MsiSource *source, MsiUnsafeModule module) {
        const char *path = msi_unsafe_path(module);
        struct stat st;
        bool exists = stat(path, &st) == 0;

        if (!exists && !errno_means_absent(-errno))
                return source->unsafe_inode[module] != 0;

        if (source->unsafe_inode[module] == (exists ? st.st_ino : 0))
                return exists;
        watch_remove(source->watch, source->unsafe_watch[module]);
        source->unsafe_inode[module] = exists ? st.st_ino : 0;
        source->unsafe_watch[module] =
                exists ? watch_add(source->watch, path, IN_MODIFY, on_unsafe_written, source, NULL)
                       : -1;
        return exists;
}

/* Returns whether a parameter is another than before. */
static bool read_unsafe(MsiSource *source) {
        bool changed = false;

        for (MsiUnsafeModule i = 0; i < _MSI_UNSAFE_MAX; i++) {
                /* Watched first, so that nothing falls between. */
                MsiUnsafe unsafe = watch_unsafe(source, i) ? msi_reader_unsafe(i, source->unsafe[i])
                                                           : MSI_UNSAFE_UNKNOWN;

                changed = changed || unsafe != source->unsafe[i];
                source->unsafe[i] = unsafe;
        }
        return changed;
}

/* Those that have no MSIs of their own hear what others show. */
static void tell_dirty(MsiSource *source) {
        GHashTableIter iter, entries;
        gpointer key;

        g_hash_table_iter_init(&iter, source->dirty);
        while (g_hash_table_iter_next(&iter, &key, NULL)) {
                const Group *group = key;

                g_hash_table_iter_init(&entries, group->entries);
                while (g_hash_table_iter_next(&entries, &key, NULL)) {
                        const Entry *entry = key;

                        if (msi_chips_empty(&entry->own))
                                msi_source_tell(source, (void *) entry);
                }
        }
        g_hash_table_remove_all(source->dirty);
}

static bool on_msi_source_start(void *context) {
        MsiSource *source = context;
        Entry *entry;

        if (read_unsafe(source))
                read_queue_foreach(source->queue, msi_source_tell, source);
        for (unsigned i = 0; i < BATCH_MAX && (entry = read_queue_take(source->queue)); i++) {
                bool changed = read_entry(source, entry);

                read_queue_done(source->queue, &entry->base);
                if (changed)
                        msi_source_tell(source, entry);
                if (may_get_msis(source, entry))
                        read_queue_want_later(source->queue, &entry->base, GUEST_USEC);
        }
        if (!read_queue_is_empty(source->queue))
                return true;
        tell_dirty(source);
        return false;
}

static void entry_gone(void *context, void *entry) {
        entry_leave(context, entry);
}

static void entry_clear(void *entry) {
        msi_chips_clear(&((Entry *) entry)->own);
}

static const ReadQueueHandler queue_handler = {
        .name = "msi-source",
        .entry_size = sizeof(Entry),
        .start = on_msi_source_start,
        .gone = entry_gone,
        .clear = entry_clear,
};

int msi_source_new(sd_event *event, Watch *watch, Problems *problems, MsiSourceChanged *changed,
                   void *context, MsiSource **ret) {
        g_autoptr(MsiSource) source = g_new0(MsiSource, 1);
        struct utsname name = { 0 };
        int r;

        (void) uname(&name);
        source->watch = watch;
        source->problems = problems;
        source->changed = changed;
        source->context = context;
        source->architecture = msi_architecture_from_machine(name.machine);
        source->machine = g_ref_string_new_intern(name.machine);
        for (MsiUnsafeModule i = 0; i < _MSI_UNSAFE_MAX; i++)
                source->unsafe_watch[i] = -1;
        source->groups = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, group_free);
        source->dirty = g_hash_table_new(NULL, NULL);
        (void) read_unsafe(source);
        r = read_queue_new(event, &queue_handler, source, &source->queue);
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&source);
        return 0;
}

MsiSource *msi_source_free(MsiSource *source) {
        if (!source)
                return NULL;
        for (MsiUnsafeModule i = 0; i < _MSI_UNSAFE_MAX; i++)
                watch_remove(source->watch, source->unsafe_watch[i]);
        read_queue_free(source->queue);
        g_hash_table_unref(source->dirty);
        g_hash_table_unref(source->groups);
        g_ref_string_release(source->machine);
        g_free(source);
        return NULL;
}

void msi_source_function_changed(MsiSource *source, const Function *function) {
        unsigned news;
        Entry *entry = read_queue_note(source->queue, function, &news);

        if (news & READ_NEWS_DEVICE)
                entry->s390 = function->facts.s390;
        /* The driver, the VFs and the lock are published before that. */
        read_queue_want_soon(source->queue, &entry->base);
        if (news & (READ_NEWS_DRIVER | READ_NEWS_USE))
                read_queue_want_later(source->queue, &entry->base, CONFIRM_USEC);
}

void msi_source_function_gone(MsiSource *source, PciKey key) {
        read_queue_function_gone(source->queue, key);
}

void msi_source_evidence(MsiSource *source, PciKey key, MsiEvidence *ret) {
        Entry *entry = read_queue_find(source->queue, key);
        const Group *group;

        *ret = (MsiEvidence){ .architecture = MSI_ARCHITECTURE_OTHER };
        memcpy(ret->unsafe, source->unsafe, sizeof(ret->unsafe));
        if (!entry)
                return;
        if (!entry->read)
                (void) read_entry(source, entry);
        group = entry->group;
        ret->architecture = architecture_of(source, entry);
        ret->machine = g_ref_string_acquire(source->machine);
        msi_chips_copy(&ret->own, &entry->own);
        if (!group)
                return;
        ret->iommu_kind = group->kind;
        ret->iommu = g_ref_string_acquire(group->iommu);
        ret->has_ecap = group->has_ecap;
        ret->ecap = group->ecap;
        if (!msi_chips_empty(&entry->own))
                return;
        if (group->isolating_of)
                ret->siblings.isolating = group->isolating_of->own.isolating;
        if (group->other_of)
                ret->siblings.other = group->other_of->own.other;
        msi_chips_copy(&ret->siblings, &ret->siblings);
}
