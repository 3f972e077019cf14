/* inventory.h: the document of Manager.Describe(), parsed.
 *
 * Owns the functions, one JSON object each whose members have the names of the D-Bus properties, in
 * the daemon's order (by address). What the daemon sent is checked for its shape once, here;
 * members may be missing (another version of the daemon), and then the accessors give an empty
 * value. */
#pragma once

#include <json-glib/json-glib.h>
#include <stdbool.h>

typedef struct Inventory {
        char *version;
        char *enforcement;
        JsonArray *problems;    /* of strings; NULL when the daemon does not tell them */
        JsonArray *guards;      /* the same */
        GPtrArray *functions;   /* of JsonObject */
        GHashTable *by_address; /* address -> the JsonObject, which the array holds */
} Inventory;

/* Returns 0 and an inventory of the caller's, or -EBADMSG and what is wrong with the document. */
int inventory_parse(const char *document, Inventory **ret, GError **ret_error);

Inventory *inventory_free(Inventory *inventory);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Inventory, inventory_free)

/* The function at `address`, in canonical form, or NULL. Stays the inventory's. */
JsonObject *inventory_find(const Inventory *inventory, const char *address);

/* Adds `function` at the end; one with the same address goes. */
void inventory_set(Inventory *inventory, const char *address, JsonObject *function);

/* Forgets the function at `address`, if it is known. */
void inventory_remove(Inventory *inventory, const char *address);

/* Members of a function: "", `missing`, false or NULL if it has no such member or one of another
 * type. What is returned stays the function's. */
const char *function_string(JsonObject *function, const char *member);
gint64 function_integer(JsonObject *function, const char *member, gint64 missing);
bool function_flag(JsonObject *function, const char *member);
JsonArray *function_array(JsonObject *function, const char *member);
JsonObject *function_object(JsonObject *function, const char *member);

/* The strings of an array member, joined; the caller's. */
char *function_joined(JsonObject *function, const char *member, const char *separator);

/* Whether the function is of `kind`: pf, vf, detached-vf or plain. */
bool function_is(JsonObject *function, const char *kind);

/* The PF that `function`, a VF, is listed under, or NULL: it is detached, no VF, or its PF is not
 * in the inventory. Never a function that has a parent itself. */
JsonObject *inventory_parent(const Inventory *inventory, JsonObject *function);

/* Vendor and device in words as far as they are known, else by number as lspci has it, "" if not
 * even the numbers could be read. The caller's; not escaped. */
char *function_name(JsonObject *function);
