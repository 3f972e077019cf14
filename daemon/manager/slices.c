#include "daemon/manager/slices.h"

struct Slices {
        Apply *apply;
        PciKey *keys;
        size_t n_keys, n_applied;
        sd_event_source *next;
        const SlicesHandler *handler;
        void *context;
};

Slices *slices_new(Apply *apply, const PciKey *keys, size_t n_keys, const SlicesHandler *handler,
                   void *context) {
        Slices *slices = g_new(Slices, 1);

        *slices = (Slices){
                .apply = apply,
                .keys = g_memdup2(keys, n_keys * sizeof(*keys)),
                .n_keys = n_keys,
                .handler = handler,
                .context = context,
        };
        return slices;
}

Slices *slices_free(Slices *slices) {
        if (!slices)
                return NULL;
        sd_event_source_disable_unref(slices->next);
        g_free(slices->keys);
        g_free(slices);
        return NULL;
}

static GPtrArray *find_functions(const Slices *slices, size_t first, size_t n) {
        const Inventory *inventory = apply_context(slices->apply)->inventory;
        GPtrArray *functions = g_ptr_array_new();

        for (size_t i = first; i < first + n; i++) {
                Function *function = inventory_get(inventory, slices->keys[i]);

                if (function)
                        g_ptr_array_add(functions, function);
        }
        return functions;
}

GPtrArray *slices_functions(const Slices *slices) {
        return find_functions(slices, 0, slices->n_keys);
}

static int apply_slice(Slices *slices) {
        const SlicesHandler *handler = slices->handler;
        bool undoable = slices->n_applied == 0 || !handler->saved_first;
        ApplyUndo *undo = undoable ? handler->undo : NULL;
        size_t n = MIN(slices->n_keys - slices->n_applied, APPLY_ROUND_FUNCTIONS);
        g_autoptr(GPtrArray) functions = find_functions(slices, slices->n_applied, n);
        int r;

        r = apply_request(slices->apply, functions, undo, slices->context);
        if (r < 0 && undo)
                return r;
        slices->n_applied += n;
        if (handler->applied)
                handler->applied(slices->context, functions);
        return slices->n_applied < slices->n_keys ? 1 : 0;
}

static int on_next_slice(sd_event_source *source, void *userdata) {
        Slices *slices = userdata;
        int r = apply_slice(slices);

        if (r > 0)
                (void) sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        else
                slices->handler->done(slices->context, r);
        return 0;
}

int slices_begin(Slices *slices) {
        int r;

        if (slices->n_keys > APPLY_ROUND_FUNCTIONS &&
            sd_event_add_defer(apply_context(slices->apply)->event, &slices->next, on_next_slice,
                               slices) >= 0)
                (void) sd_event_source_set_description(slices->next, "slices");
        /* Without a source of events all are applied in this turn. */
        do
                r = apply_slice(slices);
        while (r > 0 && !slices->next);
        return r;
}
