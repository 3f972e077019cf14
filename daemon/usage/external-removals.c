#include "daemon/usage/external-removals.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "daemon/sysfs/slot.h"
#include "daemon/sysfs/sysfs.h"
#include "daemon/usage/writers.h"
#include "policy/absence.h"
#include "policy/topology.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

/* Between two looks when no writer was found. */
#define SECOND_LOOK_USEC (100 * 1000ULL)
#define LOOKS            2
/* Between two looks when one of them found out nothing, and how many of these there are because of
 * the processes: one that never can be looked at must not hide for ever that the kernel takes a
 * slot away. */
#define BLIND_LOOK_USEC (1000 * 1000ULL)
#define BLIND_LOOKS     10
/* How long a removal may still be shown after all its functions were released: the rest takes the
 * kernel milliseconds, and an emulated one with the processor taken by others seconds. */
#define END_USEC (5 * 1000 * 1000ULL)

typedef struct ExternalRemoval {
        RemovalOperation shown;
        RemovalOperation shown_staying; /* to those of it that stay */
        GArray *affected;               /* of PciKey */
        uint64_t free_usec; /* CLOCK_MONOTONIC since when none of them is stuck, 0: one is */
} ExternalRemoval;

struct ExternalRemovals {
        const Inventory *inventory;
        const ExternalRemovalsHandler *handler;
        void *context;
        sd_event *event;
        sd_event_source *work;
        GHashTable *suspects; /* PciKey* -> number of looks so far */
        GHashTable *
                asked; /* of them those whose users, and then writers, are looked for; NULL: none */
        Writers *writers; /* while they are searched for */
        GPtrArray *known; /* of ExternalRemoval*, owned */
};

static void external_removal_free(gpointer data) {
        ExternalRemoval *outside = data;

        g_array_unref(outside->affected);
        g_clear_pointer(&outside->shown.driver, g_ref_string_release);
        g_free(outside);
}

/* Not later than it is due already. */
static void look_in(ExternalRemovals *external_removals, uint64_t usec) {
        uint64_t due = now_usec() + usec, before;
        int enabled = SD_EVENT_OFF;

        (void) sd_event_source_get_enabled(external_removals->work, &enabled);
        if (enabled != SD_EVENT_OFF &&
            sd_event_source_get_time(external_removals->work, &before) >= 0 && before <= due)
                return;
        (void) sd_event_source_set_time(external_removals->work, due);
        (void) sd_event_source_set_enabled(external_removals->work, SD_EVENT_ONESHOT);
}

static char *place_of(const Function *function) {
        g_autofree char *path = sysfs_function_path(function_address(function), NULL);
        char *real = realpath(path, NULL);
        const char *cut = real ? external_removal_path(real) : NULL;
        char *copy = g_strdup(cut);

        free(real);
        return copy;
}

/* Whether the module of the driver that `pf` has just lost is being unloaded: the kernel takes the
 * driver from its devices one by one then (module_exit(), driver_detach()), and says so
 * (show_initstate() in kernel/module/sysfs.c). */
static bool driver_leaves(const Function *pf) {
        char value[SYSFS_VALUE_MAX];
        g_autofree char *path = NULL;

        if (pf->facts.driver[0] != '\0' || pf->last_driver[0] == '\0')
                return false;
        path = g_strdup_printf("/sys/bus/pci/drivers/%s/module/initstate", pf->last_driver);
        return sysfs_read(AT_FDCWD, path, value, sizeof(value)) > 0 && g_str_equal(value, "going");
}

/* Returns 0, or a negative errno when the slot could not be looked for: what is written to its
 * `power` is not recognised then. */
static int removals_judge(Function *function, const GPtrArray *writers, uint32_t remover,
                          RemovalFinding *ret) {
        g_autofree char *itself = place_of(function), *pf = NULL, *power = NULL;
        const Function *owner = topology_slot_owner(function);
        int r;

        if (function->pf)
                pf = place_of(function->pf);
        r = slot_find_power(owner ? owner : function, &power);
        *ret = external_removal_judge(
                function,
                &(RemovalPlace){ itself, pf, power ? external_removal_path(power) : NULL,
                                 function->pf && driver_leaves(function->pf), remover },
                writers);
        return r < 0 && !errno_means_absent(r) ? r : 0;
}

static void set_outside(ExternalRemovals *external_removals, Function *function,
                        const RemovalOperation *outside) {
        if (function->outside == outside)
                return;
        function->outside = outside;
        topology_update(function);
        external_removals->handler->changed(external_removals->context, function);
}

/* Without the kernel guard a process counts that is in the middle of a write to such a file. */
static char *describe_remover(const RemovalFinding *finding, const ViolationAuthor *remover) {
        if (remover->pid != 0)
                return violation_author_format(remover);
        return g_strdup_printf("process %u, probably", finding->pid);
}

static void log_begin(const Function *function, const RemovalFinding *finding,
                      const ViolationAuthor *remover) {
        g_autofree char *who = describe_remover(finding, remover);
        PciAddress address = function_address(finding->subject);
        char stuck[PCI_ADDRESS_STRING_MAX];

        pci_address_format(function_address(function), stuck);
        if (finding->driver)
                log_full(LOG_WARNING, &address, LOG_ID_EXTERNAL_REMOVAL,
                         "the driver %s is leaving (by %s), and waits for the users of %s",
                         finding->driver, who, stuck);
        else if (finding->pid != 0)
                log_full(LOG_WARNING, &address, LOG_ID_EXTERNAL_REMOVAL,
                         "%s is in progress (by %s), and waits for the users of %s",
                         operation_to_string(finding->operation), who, stuck);
        else
                log_full(LOG_WARNING, &address, LOG_ID_EXTERNAL_REMOVAL,
                         "the kernel is taking it away, and waits for the users of %s", stuck);
}

/* All users that will be waited for are notified at once: the kernel asks one after the other. */
static void removals_begin(ExternalRemovals *external_removals, Function *function,
                           const RemovalFinding *finding, const ViolationAuthor *remover) {
        g_autoptr(GPtrArray) affected =
                external_removal_affected(external_removals->inventory, function, finding);
        ExternalRemoval *outside = g_new0(ExternalRemoval, 1);

        log_begin(function, finding, remover);
        outside->affected = g_array_new(FALSE, FALSE, sizeof(PciKey));
        outside->shown = (RemovalOperation){
                .running = { .name = operation_to_string(finding->operation),
                             .since_usec = (uint64_t) g_get_real_time(),
                             .pid = finding->pid },
                .subject = finding->subject->facts.key,
                .driver = finding->driver ? g_ref_string_acquire(finding->driver) : NULL,
                .takes = true,
        };
        outside->shown_staying = outside->shown;
        outside->shown_staying.takes = false;
        g_ptr_array_add(external_removals->known, outside);
        for (guint i = 0; i < affected->len; i++) {
                Function *one = affected->pdata[i];
                bool takes =
                        finding->takes_vfs && (one != finding->subject || finding->takes_subject);

                g_array_append_val(outside->affected, one->facts.key);
                set_outside(external_removals, one,
                            takes ? &outside->shown : &outside->shown_staying);
                if (function_in_use(one) || (one == finding->subject && finding->takes_subject))
                        external_removals->handler->begun(external_removals->context, one);
        }
        /* Shown where it is done, too. */
        if (!finding->subject->outside) {
                g_array_append_val(outside->affected, finding->subject->facts.key);
                set_outside(external_removals, finding->subject, &outside->shown_staying);
        }
}

static void removals_end(ExternalRemovals *external_removals, guint index) {
        ExternalRemoval *outside = g_ptr_array_steal_index(external_removals->known, index);

        for (guint i = 0; i < outside->affected->len; i++) {
                Function *function = inventory_get(external_removals->inventory,
                                                   g_array_index(outside->affected, PciKey, i));

                if (function && (function->outside == &outside->shown ||
                                 function->outside == &outside->shown_staying))
                        set_outside(external_removals, function, NULL);
        }
        external_removal_free(outside);
        external_removals->handler->ended(external_removals->context);
}

/* Ends those whose functions were all released: an unbind at once, what takes more than a driver a
 * moment later, for the next of its functions may be waited for soon. */
static void look_at_known(ExternalRemovals *external_removals) {
        for (guint i = external_removals->known->len; i > 0; i--) {
                ExternalRemoval *outside = external_removals->known->pdata[i - 1];
                bool stuck = false, there = false, takes = false;

                for (guint j = 0; j < outside->affected->len; j++) {
                        const Function *function =
                                inventory_get(external_removals->inventory,
                                              g_array_index(outside->affected, PciKey, j));

                        if (!function || !function->outside)
                                continue;
                        there = true;
                        stuck |= external_removal_is_stuck(function);
                        takes |= function->outside->takes;
                }
                if (stuck)
                        outside->free_usec = 0;
                else if (outside->free_usec == 0)
                        outside->free_usec = now_usec();
                if (stuck)
                        continue;
                if (!there || !takes || now_usec() >= outside->free_usec + END_USEC)
                        removals_end(external_removals, i - 1);
                else
                        look_in(external_removals, outside->free_usec + END_USEC - now_usec());
        }
}

/* Whether nobody was found, and somebody may have been overlooked. `slot` and `processes` are what
 * came of looking for the slot and for the writers. */
static bool is_unsure(const RemovalFinding *finding, guint n_looks, int slot, int processes) {
        if (finding->pid != 0 || finding->driver)
                return false;
        return n_looks < LOOKS || slot < 0 || (processes < 0 && n_looks < BLIND_LOOKS);
}

static void log_blindness(const Function *function, int r) {
        PciAddress address = function_address(function);

        log_full(LOG_WARNING, &address, NULL,
                 "Failed to find out who takes it away, looking again: %s", g_strerror(-r));
}

/* After how long it has to be looked at again, 0: not. `processes` is the result of the search for
 * writers. */
static uint64_t look_at_suspect(ExternalRemovals *external_removals, Function *function,
                                guint n_looks, const GPtrArray *writers, int processes) {
        ViolationAuthor remover = { 0 };
        RemovalFinding finding;
        int slot;

        (void) external_removals->handler->find_remover(external_removals->context,
                                                        function->facts.key, &remover);
        slot = removals_judge(function, writers, remover.pid, &finding);

        if (is_unsure(&finding, n_looks, slot, processes)) {
                if (n_looks == LOOKS && (slot < 0 || processes < 0))
                        log_blindness(function, slot < 0 ? slot : processes);
                external_removals->handler->begun(external_removals->context, function);
                return n_looks < LOOKS ? SECOND_LOOK_USEC : BLIND_LOOK_USEC;
        }
        /* Somebody opened it after it was found free; the worker waits for them, too. */
        if (finding.pid != 0 &&
            external_removals->handler->is_own(external_removals->context, finding.pid)) {
                external_removals->handler->begun(external_removals->context, function);
                return BLIND_LOOK_USEC;
        }
        removals_begin(external_removals, function, &finding, &remover);
        return 0;
}

static GHashTable *new_suspects(void) {
        return g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
}

static void judge_suspects(ExternalRemovals *external_removals, const GPtrArray *writers,
                           int result) {
        g_autoptr(GHashTable) asked = g_steal_pointer(&external_removals->asked);
        bool came_meanwhile = g_hash_table_size(external_removals->suspects) > 0;
        GHashTableIter iter;
        gpointer key, n_looks;

        g_hash_table_iter_init(&iter, asked);
        while (g_hash_table_iter_next(&iter, &key, &n_looks)) {
                Function *function = inventory_get(external_removals->inventory, *(PciKey *) key);
                guint n = GPOINTER_TO_UINT(n_looks) + 1;
                uint64_t again = 0;

                if (function && external_removal_suspects(function))
                        again = look_at_suspect(external_removals, function, n, writers, result);
                if (again == 0)
                        continue;
                g_hash_table_replace(external_removals->suspects, g_memdup2(key, sizeof(PciKey)),
                                     GUINT_TO_POINTER(n));
                look_in(external_removals, again);
        }
        if (came_meanwhile)
                look_in(external_removals, SECOND_LOOK_USEC);
}

static void on_writers(void *context, const GPtrArray *writers, int result) {
        ExternalRemovals *external_removals = context;

        judge_suspects(external_removals, writers, result);
        external_removals->writers = writers_free(external_removals->writers);
}

static gboolean is_none(gpointer key, gpointer n_looks, gpointer external_removals) {
        const Function *function = inventory_get(
                ((const ExternalRemovals *) external_removals)->inventory, *(PciKey *) key);

        return !function || !external_removal_suspects(function);
}

void external_removals_refreshed(ExternalRemovals *external_removals) {
        g_autoptr(GPtrArray) nobody = g_ptr_array_new();
        int r = 0;

        g_hash_table_foreach_remove(external_removals->asked, is_none, external_removals);
        if (g_hash_table_size(external_removals->asked) > 0) {
                r = writers_find(external_removals->event, on_writers, external_removals,
                                 &external_removals->writers);
                if (r >= 0)
                        return;
        }
        judge_suspects(external_removals, nobody, r);
}

/* Most of them were released a moment ago, and the driver followed: what is known of their users
 * comes first, who takes them away second. */
static void look_at_suspects(ExternalRemovals *external_removals) {
        g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, sizeof(PciKey));
        GHashTableIter iter;
        const PciKey *key;

        if (external_removals->asked || g_hash_table_size(external_removals->suspects) == 0)
                return;
        external_removals->asked = g_steal_pointer(&external_removals->suspects);
        external_removals->suspects = new_suspects();
        g_hash_table_iter_init(&iter, external_removals->asked);
        while (g_hash_table_iter_next(&iter, (gpointer *) &key, NULL))
                g_array_append_vals(keys, key, 1);
        external_removals->handler->refresh(external_removals->context,
                                            (const PciKey *) (void *) keys->data, keys->len);
}

static int on_removals_work(sd_event_source *source, uint64_t usec, void *userdata) {
        look_at_suspects(userdata);
        look_at_known(userdata);
        return 0;
}

int external_removals_new(sd_event *event, const Inventory *inventory,
                          const ExternalRemovalsHandler *handler, void *context,
                          ExternalRemovals **ret) {
        ExternalRemovals *external_removals = g_new0(ExternalRemovals, 1);
        int r;

        external_removals->event = sd_event_ref(event);
        external_removals->inventory = inventory;
        external_removals->handler = handler;
        external_removals->context = context;
        external_removals->suspects = new_suspects();
        external_removals->known = g_ptr_array_new_with_free_func(external_removal_free);
        r = wakeup_new_timer(event, 1, on_removals_work, external_removals,
                             &external_removals->work);
        if (r >= 0)
                r = sd_event_source_set_description(external_removals->work,
                                                    "external-removals: work");
        if (r < 0) {
                external_removals_free(external_removals);
                return r;
        }
        *ret = external_removals;
        return 0;
}

ExternalRemovals *external_removals_free(ExternalRemovals *external_removals) {
        if (!external_removals)
                return NULL;
        sd_event_source_disable_unref(external_removals->work);
        writers_free(external_removals->writers);
        g_hash_table_unref(external_removals->suspects);
        g_clear_pointer(&external_removals->asked, g_hash_table_unref);
        g_ptr_array_unref(external_removals->known);
        sd_event_unref(external_removals->event);
        g_free(external_removals);
        return NULL;
}

void external_removals_function_changed(ExternalRemovals *external_removals,
                                        const Function *function) {
        if (external_removal_suspects(function)) {
                PciKey key = function->facts.key;

                if (g_hash_table_contains(external_removals->suspects, &key) ||
                    (external_removals->asked &&
                     g_hash_table_contains(external_removals->asked, &key)))
                        return;
                g_hash_table_insert(external_removals->suspects, g_memdup2(&key, sizeof(key)),
                                    GUINT_TO_POINTER(0));
                look_in(external_removals, 0);
        } else
                external_removals_function_gone(external_removals);
}

void external_removals_function_gone(ExternalRemovals *external_removals) {
        if (external_removals->known->len > 0)
                look_in(external_removals, 0);
}
