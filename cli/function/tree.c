#include "cli/function/tree.h"

/* More than a PCI hierarchy can have buses. A daemon may say of functions that they are below each
 * other. */
#define DEPTH_MAX 256

typedef struct TreeWalk {
        GHashTable *children; /* JsonObject -> GPtrArray of JsonObject; has each shown one */
        bool utf8;
        TreeVisit *visit;
        void *context;
} TreeWalk;

JsonObject *tree_parent_by_topology(const Inventory *inventory, JsonObject *function) {
        JsonObject *pf = inventory_parent(inventory, function);

        return pf ? pf : inventory_find(inventory, function_string(function, "Parent"));
}

/* The next ancestor that is shown; NULL for none, or if the way up has no end. */
static JsonObject *shown_ancestor(const TreeWalk *walk, const Inventory *inventory,
                                  TreeParent *parent, JsonObject *function) {
        JsonObject *found = NULL, *at = function;

        for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
                at = parent(inventory, at);
                if (!at)
                        return found;
                if (!found && g_hash_table_contains(walk->children, at))
                        found = at;
        }
        return NULL;
}

static void walk_below(const TreeWalk *walk, JsonObject *function, const char *branch,
                       const char *below) {
        const GPtrArray *children = g_hash_table_lookup(walk->children, function);

        walk->visit(walk->context, function, branch);
        for (guint i = 0; i < children->len; i++) {
                bool last = i + 1 == children->len;
                g_autofree char *child_branch = g_strconcat(
                        below, last ? (walk->utf8 ? "└─" : "`-") : (walk->utf8 ? "├─" : "|-"),
                        NULL);
                g_autofree char *child_below =
                        g_strconcat(below, last ? "  " : (walk->utf8 ? "│ " : "| "), NULL);

                walk_below(walk, children->pdata[i], child_branch, child_below);
        }
}

void tree_walk(const Inventory *inventory, GPtrArray *functions, TreeParent *parent, bool utf8,
               TreeVisit *visit, void *context) {
        g_autoptr(GHashTable) children =
                g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify) g_ptr_array_unref);
        g_autoptr(GPtrArray) roots = g_ptr_array_new();
        const TreeWalk walk = { children, utf8, visit, context };

        for (guint i = 0; i < functions->len; i++)
                g_hash_table_insert(children, functions->pdata[i], g_ptr_array_new());
        for (guint i = 0; i < functions->len; i++) {
                JsonObject *above = shown_ancestor(&walk, inventory, parent, functions->pdata[i]);
                GPtrArray *siblings = above ? g_hash_table_lookup(children, above) : roots;

                g_ptr_array_add(siblings, functions->pdata[i]);
        }
        for (guint i = 0; i < roots->len; i++)
                walk_below(&walk, roots->pdata[i], "", "");
}
