#include "daemon/outsiders.h"

#include "daemon/log.h"
#include "daemon/slot.h"
#include "daemon/sysfs.h"
#include "daemon/wakeup.h"
#include "daemon/writers.h"
#include "policy/absence.h"

#include <errno.h>
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
/* How long a removal whose functions are all let go of may still be shown: the rest takes the
 * kernel milliseconds, and an emulated one with the processor taken by others seconds. */
#define END_USEC (5 * 1000 * 1000ULL)

typedef struct Outside {
        OutsideOperation shown;
        OutsideOperation shown_staying; /* to those of it that stay */
        GArray *affected;               /* of PciKey */
        uint64_t free_usec; /* CLOCK_MONOTONIC since when none of them is stuck, 0: one is */
} Outside;

struct Outsiders {
        const Inventory *inventory;
        const OutsidersHandler *handler;
        void *context;
        sd_event *event;
        sd_event_source *work;
        GHashTable *suspects; /* PciKey* -> number of looks so far */
        GHashTable *
                asked; /* of them those whose users, and then writers, are looked for; NULL: none */
        Writers *writers; /* while they are searched for */
        GPtrArray *known; /* of Outside*, owned */
};

static void outside_free(gpointer data) {
        Outside *outside = data;

        g_array_unref(outside->affected);
        g_free(outside);
}

static uint64_t now_usec(void) {
        return (uint64_t) g_get_monotonic_time();
}

/* Not later than it is due already. */
static void look_in(Outsiders *outsiders, uint64_t usec) {
        uint64_t due = now_usec() + usec, before;
        int enabled = SD_EVENT_OFF;

        (void) sd_event_source_get_enabled(outsiders->work, &enabled);
        if (enabled != SD_EVENT_OFF && sd_event_source_get_time(outsiders->work, &before) >= 0 &&
            before <= due)
                return;
        (void) sd_event_source_set_time(outsiders->work, due);
        (void) sd_event_source_set_enabled(outsiders->work, SD_EVENT_ONESHOT);
}

static char *place_of(const Function *function) {
        g_autofree char *path = sysfs_function_path(function_address(function), NULL);
        char *real = realpath(path, NULL);
        const char *cut = real ? outside_path(real) : NULL;
        char *copy = g_strdup(cut);

        free(real);
        return copy;
}

/* Returns 0, or a negative errno when the slot could not be looked for: what is written to its
 * `power` is not recognised then. */
static int judge(Function *function, const GPtrArray *writers, OutsideFinding *ret) {
        g_autofree char *itself = place_of(function), *pf = NULL, *power = NULL;
        int r;

        if (function->pf)
                pf = place_of(function->pf);
        r = slot_find_power(function, &power);
        *ret = outside_judge(function,
                             &(OutsidePlace){ itself, pf, power ? outside_path(power) : NULL },
                             writers);
        return r < 0 && !errno_means_absent(r) ? r : 0;
}

static void set_outside(Outsiders *outsiders, Function *function, const OutsideOperation *outside) {
        if (function->outside == outside)
                return;
        function->outside = outside;
        outsiders->handler->changed(outsiders->context, function);
}

static void log_begin(const Function *function, const OutsideFinding *finding) {
        PciAddress address = function_address(finding->subject);
        char stuck[PCI_ADDRESS_STRING_MAX];

        pci_address_format(function_address(function), stuck);
        if (finding->pid != 0)
                log_full(LOG_WARNING, &address, LOG_ID_EXTERNAL_REMOVAL,
                         "%s by process %u is under way, and waits for who has %s open",
                         operation_to_string(finding->operation), finding->pid, stuck);
        else
                log_full(LOG_WARNING, &address, LOG_ID_EXTERNAL_REMOVAL,
                         "the kernel is taking it away, and waits for who has %s open", stuck);
}

/* Everybody who will be waited for is told at once: the kernel asks one after the other. */
static void begin(Outsiders *outsiders, Function *function, const OutsideFinding *finding) {
        g_autoptr(GPtrArray) affected = outside_affected(outsiders->inventory, function, finding);
        Outside *outside = g_new0(Outside, 1);

        log_begin(function, finding);
        outside->affected = g_array_new(FALSE, FALSE, sizeof(PciKey));
        outside->shown = (OutsideOperation){
                .running = { .name = operation_to_string(finding->operation),
                             .since_usec = (uint64_t) g_get_real_time(),
                             .pid = finding->pid },
                .subject = finding->subject->facts.key,
                .takes = true,
        };
        outside->shown_staying = outside->shown;
        outside->shown_staying.takes = false;
        g_ptr_array_add(outsiders->known, outside);
        for (guint i = 0; i < affected->len; i++) {
                Function *one = affected->pdata[i];
                bool takes =
                        finding->takes_vfs && (one != finding->subject || finding->takes_subject);

                g_array_append_val(outside->affected, one->facts.key);
                set_outside(outsiders, one, takes ? &outside->shown : &outside->shown_staying);
                if (function_in_use(one) || (one == finding->subject && finding->takes_subject))
                        outsiders->handler->begun(outsiders->context, one);
        }
        /* Shown where it is done, too. */
        if (!finding->subject->outside) {
                g_array_append_val(outside->affected, finding->subject->facts.key);
                set_outside(outsiders, finding->subject, &outside->shown_staying);
        }
}

static void end(Outsiders *outsiders, guint index) {
        Outside *outside = g_ptr_array_steal_index(outsiders->known, index);

        for (guint i = 0; i < outside->affected->len; i++) {
                Function *function = inventory_get(outsiders->inventory,
                                                   g_array_index(outside->affected, PciKey, i));

                if (function && (function->outside == &outside->shown ||
                                 function->outside == &outside->shown_staying))
                        set_outside(outsiders, function, NULL);
        }
        outside_free(outside);
}

/* Ends those whose functions are all let go of: an unbind at once, what takes more than a driver a moment later, for
 * the next of its functions may be waited for soon. */
static void look_at_known(Outsiders *outsiders) {
        for (guint i = outsiders->known->len; i > 0; i--) {
                Outside *outside = outsiders->known->pdata[i - 1];
                bool stuck = false, there = false, takes = false;

                for (guint j = 0; j < outside->affected->len; j++) {
                        const Function *function = inventory_get(
                                outsiders->inventory, g_array_index(outside->affected, PciKey, j));

                        if (!function || !function->outside)
                                continue;
                        there = true;
                        stuck |= outside_is_stuck(function);
                        takes |= function->outside->takes;
                }
                if (stuck)
                        outside->free_usec = 0;
                else if (outside->free_usec == 0)
                        outside->free_usec = now_usec();
                if (stuck)
                        continue;
                if (!there || !takes || now_usec() >= outside->free_usec + END_USEC)
                        end(outsiders, i - 1);
                else
                        look_in(outsiders, outside->free_usec + END_USEC - now_usec());
        }
}

/* Whether nobody was found, and somebody may have been overlooked. `slot` and `processes` are what
 * came of looking for the slot and for the writers. */
static bool is_unsure(const OutsideFinding *finding, guint n_looks, int slot, int processes) {
        if (finding->pid != 0 || finding->operation != OPERATION_POWER_OFF)
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
static uint64_t look_at_suspect(Outsiders *outsiders, Function *function, guint n_looks,
                                const GPtrArray *writers, int processes) {
        OutsideFinding finding;
        int slot = judge(function, writers, &finding);

        if (is_unsure(&finding, n_looks, slot, processes)) {
                if (n_looks == LOOKS && (slot < 0 || processes < 0))
                        log_blindness(function, slot < 0 ? slot : processes);
                outsiders->handler->begun(outsiders->context, function);
                return n_looks < LOOKS ? SECOND_LOOK_USEC : BLIND_LOOK_USEC;
        }
        begin(outsiders, function, &finding);
        return 0;
}

static GHashTable *new_suspects(void) {
        return g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
}

static void judge_suspects(Outsiders *outsiders, const GPtrArray *writers, int result) {
        g_autoptr(GHashTable) asked = g_steal_pointer(&outsiders->asked);
        bool came_meanwhile = g_hash_table_size(outsiders->suspects) > 0;
        GHashTableIter iter;
        gpointer key, n_looks;

        g_hash_table_iter_init(&iter, asked);
        while (g_hash_table_iter_next(&iter, &key, &n_looks)) {
                Function *function = inventory_get(outsiders->inventory, *(PciKey *) key);
                guint n = GPOINTER_TO_UINT(n_looks) + 1;
                uint64_t again = 0;

                if (function && outside_suspects(function))
                        again = look_at_suspect(outsiders, function, n, writers, result);
                if (again == 0)
                        continue;
                g_hash_table_replace(outsiders->suspects, g_memdup2(key, sizeof(PciKey)),
                                     GUINT_TO_POINTER(n));
                look_in(outsiders, again);
        }
        if (came_meanwhile)
                look_in(outsiders, SECOND_LOOK_USEC);
}

static void on_writers(void *context, const GPtrArray *writers, int result) {
        Outsiders *outsiders = context;

        judge_suspects(outsiders, writers, result);
        outsiders->writers = writers_free(outsiders->writers);
}

static gboolean is_none(gpointer key, gpointer n_looks, gpointer outsiders) {
        const Function *function =
                inventory_get(((const Outsiders *) outsiders)->inventory, *(PciKey *) key);

        return !function || !outside_suspects(function);
}

void outsiders_refreshed(Outsiders *outsiders) {
        g_autoptr(GPtrArray) nobody = g_ptr_array_new();
        int r = 0;

        g_hash_table_foreach_remove(outsiders->asked, is_none, outsiders);
        if (g_hash_table_size(outsiders->asked) > 0) {
                r = writers_find(outsiders->event, on_writers, outsiders, &outsiders->writers);
                if (r >= 0)
                        return;
        }
        judge_suspects(outsiders, nobody, r);
}

/* Most of them were let go of a moment ago, and the driver followed: what is known of their users
 * comes first, who takes them away second. */
static void look_at_suspects(Outsiders *outsiders) {
        g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, sizeof(PciKey));
        GHashTableIter iter;
        const PciKey *key;

        if (outsiders->asked || g_hash_table_size(outsiders->suspects) == 0)
                return;
        outsiders->asked = g_steal_pointer(&outsiders->suspects);
        outsiders->suspects = new_suspects();
        g_hash_table_iter_init(&iter, outsiders->asked);
        while (g_hash_table_iter_next(&iter, (gpointer *) &key, NULL))
                g_array_append_vals(keys, key, 1);
        outsiders->handler->refresh(outsiders->context, (const PciKey *) (void *) keys->data,
                                    keys->len);
}

static int on_work(sd_event_source *source, uint64_t usec, void *userdata) {
        look_at_suspects(userdata);
        look_at_known(userdata);
        return 0;
}

int outsiders_new(sd_event *event, const Inventory *inventory, const OutsidersHandler *handler,
                  void *context, Outsiders **ret) {
        Outsiders *outsiders = g_new0(Outsiders, 1);
        int r;

        outsiders->event = sd_event_ref(event);
        outsiders->inventory = inventory;
        outsiders->handler = handler;
        outsiders->context = context;
        outsiders->suspects = new_suspects();
        outsiders->known = g_ptr_array_new_with_free_func(outside_free);
        r = wakeup_new_timer(event, 1, on_work, outsiders, &outsiders->work);
        if (r < 0) {
                outsiders_free(outsiders);
                return r;
        }
        *ret = outsiders;
        return 0;
}

Outsiders *outsiders_free(Outsiders *outsiders) {
        if (!outsiders)
                return NULL;
        sd_event_source_disable_unref(outsiders->work);
        writers_free(outsiders->writers);
        g_hash_table_unref(outsiders->suspects);
        g_clear_pointer(&outsiders->asked, g_hash_table_unref);
        g_ptr_array_unref(outsiders->known);
        sd_event_unref(outsiders->event);
        g_free(outsiders);
        return NULL;
}

void outsiders_function_changed(Outsiders *outsiders, const Function *function) {
        if (outside_suspects(function)) {
                PciKey key = function->facts.key;

                if (g_hash_table_contains(outsiders->suspects, &key) ||
                    (outsiders->asked && g_hash_table_contains(outsiders->asked, &key)))
                        return;
                g_hash_table_insert(outsiders->suspects, g_memdup2(&key, sizeof(key)),
                                    GUINT_TO_POINTER(0));
                look_in(outsiders, 0);
        } else
                outsiders_function_gone(outsiders);
}

void outsiders_function_gone(Outsiders *outsiders) {
        if (outsiders->known->len > 0)
                look_in(outsiders, 0);
}
