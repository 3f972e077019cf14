#include "policy/use.h"

#include <string.h>

static const struct {
        const char *word, *subsystem;
        bool stands;
        const char *before, *between, *lost;
} use_kinds[_USE_KIND_MAX] = {
#define STANDS true
#define WARNS  false
#define USE_ROW(kind, word, subsystem, weight, before, between, lost) \
        [USE_##kind] = { word, subsystem, weight, before, between, lost },
        USE_KINDS(USE_ROW)
#undef USE_ROW
#undef STANDS
#undef WARNS
};

Use *use_new(UseKind kind, const char *object, const char *by, uint32_t pid) {
        Use *use = g_new(Use, 1);

        *use = (Use){ kind, g_strdup(object), g_strdup(by), pid };
        return use;
}

Use *use_free(Use *use) {
        if (!use)
                return NULL;
        g_free(use->object);
        g_free(use->by);
        g_free(use);
        return NULL;
}

static void use_destroy(gpointer use) {
        use_free(use);
}

GPtrArray *use_list_new(void) {
        return g_ptr_array_new_with_free_func(use_destroy);
}

/* Makes room in a full list. */
static void drop_warning(GPtrArray *uses) {
        for (guint i = uses->len; i > 0; i--) {
                const Use *use = uses->pdata[i - 1];

                if (use_kind_stands(use->kind))
                        continue;
                g_ptr_array_remove_index(uses, i - 1);
                return;
        }
}

void use_list_add(GPtrArray *uses, Use *use) {
        if (uses->len >= USES_OF_FUNCTION_MAX && use_kind_stands(use->kind))
                drop_warning(uses);
        if (uses->len < USES_OF_FUNCTION_MAX)
                g_ptr_array_add(uses, use);
        else
                use_free(use);
}

static bool use_equal(const Use *a, const Use *b) {
        return a->kind == b->kind && a->pid == b->pid && strcmp(a->object, b->object) == 0 &&
               strcmp(a->by, b->by) == 0;
}

bool uses_equal(const GPtrArray *a, const GPtrArray *b) {
        guint n = a ? a->len : 0;

        if (n != (b ? b->len : 0))
                return false;
        for (guint i = 0; i < n; i++)
                if (!use_equal(a->pdata[i], b->pdata[i]))
                        return false;
        return true;
}

const char *use_kind_to_string(UseKind kind) {
        return use_kinds[kind].word;
}

const char *use_kind_subsystem(UseKind kind) {
        return use_kinds[kind].subsystem;
}

bool use_kind_stands(UseKind kind) {
        return use_kinds[kind].stands;
}

bool use_kind_needs_no_driver(UseKind kind) {
        return strcmp(use_kinds[kind].subsystem, "pci") == 0;
}

const char *use_kind_lost(UseKind kind) {
        return use_kinds[kind].lost;
}

const char *use_namespace(const Use *use) {
        return use->kind == USE_NETWORK_NAMESPACE ? use->by : "";
}

char *use_describe(const Use *use) {
        return g_strconcat(use_kinds[use->kind].before, use->object, use_kinds[use->kind].between,
                           use->by, NULL);
}

bool use_stands_against(Operation operation) {
        switch (operation) {
        case OPERATION_SET_NUM_VFS:
        case OPERATION_BIND:
        case OPERATION_UNBIND:
        case OPERATION_RESET:
        case OPERATION_REMOVE:
        case OPERATION_POWER_OFF:
                return true;
        default:
                return false;
        }
}
