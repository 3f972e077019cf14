#include "daemon/manager/apply.h"

#include "daemon/base/log.h"
#include "daemon/base/retries.h"
#include "daemon/guard/kernel-guard.h"
#include "daemon/guard/protected-files.h"
#include "daemon/sysfs/uevents.h"
#include "policy/check.h"

struct Apply {
        const PartContext *context;
        const Settings *settings;
        StateKeeper *state;
        Publisher *publisher;
        const ApplyHandler *handler;
        void *handler_context;
        sd_event_source *work;
        GHashTable *queued; /* set of Function*: in `queue`, or in the round that runs */
        GPtrArray *queue;   /* of Function*, borrowed */
        guint n_later;      /* the last of the queue, which clients need not wait for */
        Retries *relocks;   /* of functions whose files cannot all be write-protected */
        unsigned n_locked;
        bool running; /* a round, up to what comes after it */
};

static int on_apply_work(sd_event_source *source, void *userdata);

static void on_relock(void *userdata, PciKey key) {
        Apply *apply = userdata;
        Function *function = inventory_get(apply->context->inventory, key);

        if (function)
                apply_queue(apply, function);
        else
                retries_drop(apply->relocks, key);
}

int apply_new(const PartContext *context, const Settings *settings, StateKeeper *state,
              Publisher *publisher, const ApplyHandler *handler, void *handler_context,
              Apply **ret) {
        Apply *apply = g_new0(Apply, 1);
        int r;

        apply->context = context;
        apply->settings = settings;
        apply->state = state;
        apply->publisher = publisher;
        apply->handler = handler;
        apply->handler_context = handler_context;
        apply->queued = g_hash_table_new(NULL, NULL);
        apply->queue = g_ptr_array_new();
        r = sd_event_add_defer(context->event, &apply->work, on_apply_work, apply);
        if (r >= 0)
                r = sd_event_source_set_priority(apply->work, UEVENTS_PRIORITY);
        if (r >= 0)
                r = retries_new(context->event, on_relock, apply, &apply->relocks);
        if (r < 0) {
                apply_free(apply);
                return r;
        }
        (void) sd_event_source_set_description(apply->work, "apply");
        *ret = apply;
        return 0;
}

Apply *apply_free(Apply *apply) {
        if (!apply)
                return NULL;
        sd_event_source_disable_unref(apply->work);
        retries_free(apply->relocks);
        g_hash_table_unref(apply->queued);
        g_ptr_array_unref(apply->queue);
        g_free(apply);
        return NULL;
}

const PartContext *apply_context(const Apply *apply) {
        return apply->context;
}

StateKeeper *apply_state(const Apply *apply) {
        return apply->state;
}

/* --- the queue */

static void apply_add(Apply *apply, Function *function) {
        if (g_hash_table_add(apply->queued, function))
                g_ptr_array_insert(apply->queue, (gint) (apply->queue->len - apply->n_later),
                                   function);
}

void apply_queue(Apply *apply, Function *function) {
        if (g_hash_table_contains(apply->queued, function))
                return;
        apply_add(apply, function);
        apply_wake(apply);
}

void apply_queue_all(Apply *apply) {
        Function *function;

        inventory_foreach (apply->context->inventory, function)
                apply_queue(apply, function);
}

void apply_queue_related(Apply *apply, Function *function) {
        apply_queue(apply, function);
        if (function->pf && !property_set_is_empty(&function->pf->changes))
                apply_queue(apply, function->pf);
        for (guint i = 0; function->vfs && i < function->vfs->len; i++) {
                Function *vf = function->vfs->pdata[i];

                if (!property_set_is_empty(&vf->changes))
                        apply_queue(apply, vf);
        }
}

void apply_queued_later(Apply *apply) {
        apply->n_later = apply->queue->len;
}

static void set_work(Apply *apply, int64_t priority) {
        (void) sd_event_source_set_priority(apply->work, priority);
        (void) sd_event_source_set_enabled(apply->work, SD_EVENT_ONESHOT);
}

void apply_wake(Apply *apply) {
        set_work(apply, UEVENTS_PRIORITY);
}

void apply_sleep(Apply *apply) {
        (void) sd_event_source_set_enabled(apply->work, SD_EVENT_OFF);
}

static bool is_later(const Apply *apply, guint place) {
        return place >= apply->queue->len - apply->n_later;
}

static void leave_queue(Apply *apply, Function *function) {
        guint place;

        if (!g_hash_table_remove(apply->queued, function) ||
            !g_ptr_array_find(apply->queue, function, &place))
                return;
        apply->n_later -= is_later(apply, place) ? 1 : 0;
        g_ptr_array_remove_index(apply->queue, place);
}

void apply_function_gone(Apply *apply, Function *function) {
        if (function->lock_reasons != 0)
                apply->n_locked--;
        leave_queue(apply, function);
        retries_drop(apply->relocks, function->facts.key);
}

static void add_to_round(Apply *apply, GPtrArray *round, Function *function) {
        if (g_hash_table_add(apply->queued, function))
                g_ptr_array_add(round, function);
}

/* Takes the first `n` of the queue. What is true of a VF can be a reason of its PF, and of any
 * function a reason of those above it: that it is used, or that something is inhibited. The
 * functions stay `queued` until apply_end_round(). */
static GPtrArray *begin_round(Apply *apply, guint n) {
        GPtrArray *round = g_ptr_array_sized_new(n);

        for (guint i = 0; i < n; i++)
                g_ptr_array_add(round, apply->queue->pdata[i]);
        if (n > 0)
                g_ptr_array_remove_range(apply->queue, 0, n);
        apply->n_later = MIN(apply->n_later, apply->queue->len);
        for (guint i = 0; i < n; i++) {
                const Function *function = round->pdata[i];

                if (function->pf)
                        add_to_round(apply, round, function->pf);
                for (Function *above = function->parent; above; above = above->parent)
                        add_to_round(apply, round, above);
        }
        g_ptr_array_sort(round, function_compare);
        return round;
}

/* How many functions a round has that needs the first `n`. All that are new are published at once,
 * for other functions name them. */
static guint round_size(const Apply *apply, guint n) {
        for (guint i = n; i < apply->queue->len; i++)
                if (!publisher_knows(apply->publisher, apply->queue->pdata[i]))
                        return apply->queue->len;
        return MIN(n, apply->queue->len);
}

/* --- a round */

/* When they differ from what was said last. */
static void log_reasons(const Apply *apply, const Function *function) {
        g_autofree char *text = NULL;
        PciAddress address = function_address(function);

        if (function->lock_reasons == publisher_lock_reasons(apply->publisher, function))
                return;
        text = lock_reasons_format(function->lock_reasons);
        if (function->lock_reasons != 0)
                log_full(LOG_INFO, &address, LOG_ID_LOCK, "locked: %s", text);
        else
                log_full(LOG_INFO, &address, LOG_ID_LOCK, "no longer locked");
}

/* vfio-pci refuses to take a PF whose VFs are enabled ("Cannot bind to PF with SR-IOV enabled",
 * EBUSY); VFs of its own come from the module parameter enable_sriov. Other drivers of the list are
 * less strict. Either way the VFs now depend on the driver of the PF. */
static void warn_pf_with_vfs(const Function *pf) {
        PciAddress address = function_address(pf);

        log_full(LOG_WARNING, &address, LOG_ID_PF_WITH_VFS,
                 "this physical function has %u virtual functions enabled and is bound to the "
                 "userspace driver %s: they depend on the program that opens it",
                 function_num_vfs(pf), pf->facts.driver);
}

/* Whether the files to lock could be found. */
static void note_plan(Apply *apply, const Function *function, int r) {
        PciAddress address = function_address(function);

        if (r < 0) {
                problems_report_function(apply->context->problems, address, "lock",
                                         "Failed to look at the files to lock: %s", g_strerror(-r));
                retries_add(apply->relocks, function->facts.key);
                return;
        }
        problems_resolve_function(apply->context->problems, address, "lock");
        retries_drop(apply->relocks, function->facts.key);
}

static void set_lock_reasons(Apply *apply, Function *function, unsigned reasons) {
        if (reasons == function->lock_reasons)
                return;
        property_set_add(&function->changes, FUNCTION_PROPERTY_LOCK_REASONS);
        if ((reasons == 0) != (function->lock_reasons == 0)) {
                property_set_add(&function->changes, FUNCTION_PROPERTY_LOCKED);
                apply->n_locked += reasons != 0 ? 1U : -1U;
        }
        function->lock_reasons = reasons;
}

static void apply_judge(Apply *apply, ProtectedFiles *files, Function *function) {
        const Config *config = settings_config(apply->settings);
        KernelGuards *guards = part_find(apply->context, kernel_guard_part);
        unsigned reasons = lock_reasons(function, config->userspace_drivers);
        unsigned appeared = reasons & ~function->lock_reasons;

        if ((reasons & LOCK_REASON_USERSPACE_DRIVER) && function_num_vfs(function) > 0 &&
            ((appeared & LOCK_REASON_USERSPACE_DRIVER) ||
             property_set_has(&function->changes, FUNCTION_PROPERTY_NUM_VFS)))
                warn_pf_with_vfs(function);
        if ((reasons & LOCK_REASON_USERSPACE_DRIVER) && !function->userspace_driver) {
                function->userspace_driver = true;
                property_set_add(&function->changes, FUNCTION_PROPERTY_USERSPACE_DRIVER);
                state_keeper_mark_changed(apply->state);
        }
        set_lock_reasons(apply, function, reasons);
        function->lock_files = lock_reasons_files(function, reasons);
        kernel_guards_plan(guards, function);
        note_plan(
                apply, function,
                protected_files_plan(files, function,
                                     settings_enforce(apply->settings) ? function->lock_files : 0));
}

static void judge_all(Apply *apply, ProtectedFiles *files, const GPtrArray *round) {
        const Config *config = settings_config(apply->settings);

        kernel_guards_set_config(
                part_find(apply->context, kernel_guard_part),
                &(KernelGuardConfig){ .mode = config->kernel_guard,
                                      .network = config->guard_network,
                                      .enforce = settings_enforce(apply->settings) });
        for (guint i = 0; i < round->len; i++)
                apply_judge(apply, files, round->pdata[i]);
}

static void apply_end_round(Apply *apply, const ProtectedFiles *files, const GPtrArray *round) {
        for (guint i = 0; i < round->len; i++) {
                Function *function = round->pdata[i];
                unsigned mask = protected_files_mask(files, function->facts.key);

                if (mask != function->protected_files)
                        property_set_add(&function->changes, FUNCTION_PROPERTY_PROTECTED_FILES);
                function->protected_files = mask;
                g_hash_table_remove(apply->queued, function);
        }
}

/* New ones first: a PF's change names VFs that must exist by then. */
static void publish(Publisher *publisher, const GPtrArray *round) {
        for (guint i = 0; i < round->len; i++)
                if (!publisher_knows(publisher, round->pdata[i]))
                        publisher_publish(publisher, round->pdata[i]);
        for (guint i = 0; i < round->len; i++)
                publisher_publish(publisher, round->pdata[i]);
        publisher_publish_count(publisher);
}

static int run_round(Apply *apply, guint n, ApplyUndo *undo, void *context) {
        ProtectedFiles *files = part_find(apply->context, protected_files_part);
        g_autoptr(GPtrArray) round = begin_round(apply, n);
        int r;

        g_assert(!apply->running);
        log_debug("%u functions are judged in this turn, %u in later ones", round->len,
                  apply->queue->len);
        apply->running = true;
        judge_all(apply, files, round);
        r = state_keeper_save(apply->state);
        if (r < 0 && undo) {
                undo(context);
                judge_all(apply, files, round);
        }
        for (guint i = 0; i < round->len; i++)
                log_reasons(apply, round->pdata[i]);
        protected_files_commit(files);
        apply_end_round(apply, files, round);
        (void) state_keeper_save(apply->state);
        publish(apply->publisher, round);
        apply->running = false;
        apply->handler->after(apply->handler_context);
        return r;
}

static int on_apply_work(sd_event_source *source, void *userdata) {
        Apply *apply = userdata;

        apply->handler->before(apply->handler_context);
        /* What was to be read has been read, and what is queued by now is in the rounds to come. */
        apply_sleep(apply);
        (void) run_round(apply, round_size(apply, APPLY_ROUND_FUNCTIONS), NULL, NULL);
        if (apply->queue->len > apply->n_later)
                apply_wake(apply);
        else if (apply->queue->len > 0 && sd_event_source_get_enabled(apply->work, NULL) <= 0)
                set_work(apply, SD_EVENT_PRIORITY_NORMAL); /* in turn with the bus */
        return 0;
}

void apply_catch_up(Apply *apply) {
        if (sd_event_source_get_enabled(apply->work, NULL) > 0)
                (void) on_apply_work(apply->work, apply);
}

void apply_now(Apply *apply) {
        (void) apply_request(apply, NULL, NULL, NULL);
}

int apply_related(Apply *apply, const Function *function) {
        g_autoptr(GPtrArray) functions = g_ptr_array_new();
        g_autoptr(GPtrArray) related =
                function ? check_related(apply->context->inventory, function) : g_ptr_array_new();

        for (guint i = 0; i < related->len; i++)
                if (g_hash_table_contains(apply->queued, related->pdata[i]))
                        g_ptr_array_add(functions, related->pdata[i]);
        return apply_request(apply, functions, NULL, NULL);
}

static void put_first(Apply *apply, const GPtrArray *functions) {
        g_autoptr(GPtrArray) queue = g_ptr_array_copy(apply->queue, NULL, NULL);
        g_autoptr(GHashTable) first = g_hash_table_new(NULL, NULL);
        guint n_later = 0;

        g_ptr_array_set_size(apply->queue, 0);
        for (guint i = 0; i < functions->len; i++) {
                g_hash_table_add(first, functions->pdata[i]);
                g_hash_table_add(apply->queued, functions->pdata[i]);
                g_ptr_array_add(apply->queue, functions->pdata[i]);
        }
        for (guint i = 0; i < queue->len; i++) {
                if (g_hash_table_contains(first, queue->pdata[i]))
                        continue;
                g_ptr_array_add(apply->queue, queue->pdata[i]);
                n_later += i >= queue->len - apply->n_later ? 1 : 0;
        }
        apply->n_later = n_later;
}

int apply_request(Apply *apply, const GPtrArray *functions, ApplyUndo *undo, void *context) {
        guint n;

        if (functions)
                put_first(apply, functions);
        n = functions ? functions->len : apply->queue->len - apply->n_later;
        return run_round(apply, round_size(apply, n), undo, context);
}

void apply_record_changed(Apply *apply) {
        state_keeper_mark_changed(apply->state);
        if (!apply->running) /* a round saves at its end */
                apply_wake(apply);
}

unsigned apply_count_locked(const Apply *apply) {
        return apply->n_locked;
}
