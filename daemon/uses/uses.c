#include "daemon/uses/uses.h"

#include "daemon/uses/host-network.h"
#include "daemon/uses/host-programs.h"
#include "daemon/uses/host-storage.h"
#include "daemon/uses/use-helper.h"

#include <errno.h>

/* To add a source, add its row. */
static const UseSource *const sources[] = { &host_network, &host_storage, &host_programs };

#define N_SOURCES G_N_ELEMENTS(sources)

struct Uses {
        Problems *problems;
        const UsesHandler *handler;
        void *context;
        UseHelper *helpers[N_SOURCES];
        GPtrArray *refreshes; /* of Refresh* */
        UsesKnown known;
        char *text; /* see UsesHandler */
};

typedef struct Refresh {
        uint64_t tickets[N_SOURCES];
        UsesRefreshed *done;
        void *context;
} Refresh;

static void on_changed(void *userdata, const GArray *keys) {
        const Uses *uses = userdata;

        for (guint i = 0; i < keys->len; i++)
                uses->handler->changed(uses->context, g_array_index(keys, PciKey, i));
}

/* --- what is known */

/* A note hides only uses of the users who caused it, and is in the way of nothing. */
static void report_note(const Uses *uses, unsigned i) {
        g_autofree char *key = g_strconcat(sources[i]->name, "-note", NULL);
        const char *note = use_helper_note(uses->helpers[i]);

        if (note)
                problems_report(uses->problems, key, "Failed to look at all of the host's %s: %s",
                                sources[i]->what, note);
        else
                problems_resolve(uses->problems, key);
}

/* Whether a look with this result hides uses of functions without a driver of the host that matter:
 * a program that hangs for good must not stand against all that is done to guests' functions. */
static bool hides_all(const UseSource *source, int result) {
        return source->of_all && result != USE_PARTLY_SEEN;
}

static const char *words_for_result(int result) {
        return result == USE_PARTLY_SEEN
                       ? "a process of root does not let its mappings or its threads be read"
                       : g_strerror(-result);
}

static void uses_report(const Uses *uses, unsigned i) {
        int r = use_helper_result(uses->helpers[i]);
        const char *key = sources[i]->name;

        report_note(uses, i);
        if (r == 0)
                problems_resolve(uses->problems, key);
        else if (r != -EINPROGRESS)
                problems_report(
                        uses->problems, key,
                        "Failed to look at the host's %s: %s; all functions%s count as used",
                        sources[i]->what, words_for_result(r),
                        hides_all(sources[i], r) ? "" : " with a driver of the host");
}

/* What is known in spite of the `result` of a source. */
static UsesKnown known_after(const UseSource *source, int result) {
        if (result == 0)
                return USES_KNOWN;
        if (result == -EINPROGRESS)
                return USES_NOT_YET;
        return hides_all(source, result) ? USES_UNREADABLE_OF_ALL : USES_UNREADABLE;
}

static void update_known(Uses *uses) {
        UsesKnown known = USES_KNOWN;
        g_autofree char *text = NULL;

        for (unsigned i = 0; i < N_SOURCES; i++) {
                int r = use_helper_result(uses->helpers[i]);
                UsesKnown after = known_after(sources[i], r);

                if (after <= known)
                        continue;
                known = after;
                if (known == USES_NOT_YET)
                        continue;
                g_free(text);
                text = g_strdup_printf("its %s cannot be looked at: %s", sources[i]->what,
                                       words_for_result(r));
        }
        if (known == uses->known && g_strcmp0(text, uses->text) == 0)
                return;
        uses->known = known;
        g_free(uses->text);
        uses->text = g_steal_pointer(&text);
        uses->handler->known(uses->context, uses->known, uses->text);
}

/* --- those who wait */

static bool is_answered(const Uses *uses, const Refresh *refresh) {
        for (unsigned i = 0; i < N_SOURCES; i++)
                if (use_helper_answered(uses->helpers[i]) < refresh->tickets[i])
                        return false;
        return true;
}

static void uses_end_refresh(Uses *uses, Refresh *refresh, int result) {
        UsesRefreshed *done = refresh->done;
        void *context = refresh->context;

        g_ptr_array_remove(uses->refreshes, refresh);
        done(context, result);
}

/* A handler may end others, or begin new ones. */
static void end_answered(Uses *uses) {
        g_autoptr(GPtrArray) ended = g_ptr_array_new();

        for (guint i = 0; i < uses->refreshes->len; i++)
                if (is_answered(uses, uses->refreshes->pdata[i]))
                        g_ptr_array_add(ended, uses->refreshes->pdata[i]);
        for (guint i = 0; i < ended->len; i++)
                if (g_ptr_array_find(uses->refreshes, ended->pdata[i], NULL))
                        uses_end_refresh(uses, ended->pdata[i], 0);
}

static void on_looked(void *userdata) {
        Uses *uses = userdata;

        for (unsigned i = 0; i < N_SOURCES; i++)
                uses_report(uses, i);
        update_known(uses);
        end_answered(uses);
}

void uses_refresh(Uses *uses, bool of_drivers, UsesRefreshed *done, void *context) {
        Refresh *refresh = g_new0(Refresh, 1);

        refresh->done = done;
        refresh->context = context;
        g_ptr_array_add(uses->refreshes, refresh);
        for (unsigned i = 0; i < N_SOURCES; i++)
                if (of_drivers || sources[i]->of_all)
                        refresh->tickets[i] = use_helper_ask(uses->helpers[i]);
        on_looked(uses);
}

void uses_end_refreshes(Uses *uses) {
        while (uses->refreshes->len > 0)
                uses_end_refresh(uses, uses->refreshes->pdata[0], -ECANCELED);
}

/* --- life */

GPtrArray *uses_of(const Uses *uses, PciKey key) {
        GPtrArray *all = NULL;

        for (unsigned i = 0; i < N_SOURCES; i++) {
                const GPtrArray *told = use_helper_uses(uses->helpers[i], key);

                for (guint j = 0; told && j < told->len; j++) {
                        const Use *use = told->pdata[j];

                        if (!all)
                                all = use_list_new();
                        g_ptr_array_add(all, use_new(use->kind, use->object, use->by, use->pid));
                }
        }
        return all;
}

DeviceNames *uses_names_of(const Uses *uses, PciKey key) {
        DeviceNames *all = NULL;

        for (unsigned i = 0; i < N_SOURCES; i++) {
                const DeviceNames *told = use_helper_names(uses->helpers[i], key);

                if (!told)
                        continue;
                if (!all)
                        all = device_names_new();
                device_names_add_all(all, told);
        }
        return all;
}

static const UseHelperHandler helper_handler = { .changed = on_changed, .looked = on_looked };

int uses_new(sd_event *event, Problems *problems, const char *proc, const UsesHandler *handler,
             void *context, Uses **ret) {
        Uses *uses = g_new0(Uses, 1);
        int r = 0;

        uses->problems = problems;
        uses->handler = handler;
        uses->context = context;
        uses->refreshes = g_ptr_array_new_with_free_func(g_free);
        for (unsigned i = 0; r >= 0 && i < N_SOURCES; i++)
                r = use_helper_new(event, sources[i], proc, &helper_handler, uses,
                                   &uses->helpers[i]);
        if (r < 0) {
                uses_free(uses);
                return r;
        }
        update_known(uses);
        *ret = uses;
        return 0;
}

Uses *uses_free(Uses *uses) {
        if (!uses)
                return NULL;
        for (unsigned i = 0; i < N_SOURCES; i++)
                use_helper_free(uses->helpers[i]);
        g_ptr_array_unref(uses->refreshes);
        g_free(uses->text);
        g_free(uses);
        return NULL;
}
