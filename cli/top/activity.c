#include "cli/top/activity.h"

#include "cli/inventory.h"

#include <string.h>

#define USEC_PER_SECOND 1e6

static void activity_row_free(gpointer data) {
        ActivityRow *row = data;

        g_free(row->address);
        g_free(row);
}

void activity_init(Activity *activity) {
        *activity = (Activity){ .rows = g_ptr_array_new_with_free_func(activity_row_free) };
}

void activity_done(Activity *activity) {
        g_clear_pointer(&activity->rows, g_ptr_array_unref);
}

void activity_forget(Activity *activity) {
        g_ptr_array_set_size(activity->rows, 0);
        activity->more = 0;
}

/* By address; the rows stay the array's. */
static GHashTable *index_of(const GPtrArray *rows) {
        GHashTable *by_address = g_hash_table_new(g_str_hash, g_str_equal);

        for (guint i = 0; i < rows->len; i++) {
                ActivityRow *row = rows->pdata[i];

                g_hash_table_insert(by_address, row->address, row);
        }
        return by_address;
}

static ActivityRow *row_new(JsonObject *told) {
        ActivityRow *row = g_new0(ActivityRow, 1);

        row->address = g_strdup(function_string(told, "address"));
        row->users = function_integer(told, "users", 0);
        row->violations = function_integer(told, "violations", 0);
        row->session_pid = function_integer(told, "session-pid", 0);
        row->session_uid = function_integer(told, "session-uid", 0);
        row->counted = json_object_has_member(told, "counted");
        row->counted_usec = function_integer(told, "counted", 0);
        row->loads = function_integer(told, "loads", 0);
        row->stores = function_integer(told, "stores", 0);
        /* A sum that overflows is a count that went down. */
        row->bytes = (gint64) ((guint64) function_integer(told, "bytes-loaded", 0) +
                               (guint64) function_integer(told, "bytes-stored", 0));
        return row;
}

static double rate(gint64 before, gint64 now, gint64 usec) {
        return (double) (now - before) * USEC_PER_SECOND / (double) usec;
}

static void set_rates(ActivityRow *row, const ActivityRow *before) {
        gint64 usec;

        if (!before || !row->counted || !before->counted || row->session_pid != before->session_pid)
                return;
        if (row->counted_usec == before->counted_usec) { /* there was no report since */
                row->rates = before->rates;
                return;
        }
        if (row->counted_usec < before->counted_usec || before->loads < 0 || before->stores < 0 ||
            before->bytes < 0 || row->loads < before->loads || row->stores < before->stores ||
            row->bytes < before->bytes)
                return;
        usec = row->counted_usec - before->counted_usec;
        row->rates = (ActivityRates){
                .known = true,
                .loads = rate(before->loads, row->loads, usec),
                .stores = rate(before->stores, row->stores, usec),
                .bytes = rate(before->bytes, row->bytes, usec),
        };
}

void activity_take(Activity *activity, JsonArray *told) {
        g_autoptr(GPtrArray) before = activity->rows;
        g_autoptr(GHashTable) by_address = index_of(before);

        activity_init(activity);
        for (guint i = 0; i < json_array_get_length(told); i++) {
                JsonNode *node = json_array_get_element(told, i);
                ActivityRow *row;

                if (!JSON_NODE_HOLDS_OBJECT(node))
                        continue;
                activity->more += function_integer(json_node_get_object(node), "more", 0);
                row = row_new(json_node_get_object(node));
                if (!*row->address) {
                        activity_row_free(row);
                        continue;
                }
                set_rates(row, g_hash_table_lookup(by_address, row->address));
                g_ptr_array_add(activity->rows, row);
        }
}

bool activity_awaits_rates(const Activity *activity) {
        for (guint i = 0; i < activity->rows->len; i++) {
                const ActivityRow *row = activity->rows->pdata[i];

                if (row->session_pid != 0 && !row->rates.known)
                        return true;
        }
        return false;
}

static gint compare_activity(gconstpointer a, gconstpointer b) {
        const ActivityRow *one = *(ActivityRow *const *) a, *other = *(ActivityRow *const *) b;
        double left = one->rates.loads + one->rates.stores;
        double right = other->rates.loads + other->rates.stores;

        if (left != right)
                return left > right ? -1 : 1;
        if (one->violations != other->violations)
                return one->violations > other->violations ? -1 : 1;
        return strcmp(one->address, other->address);
}

GPtrArray *activity_sorted(const Activity *activity) {
        GPtrArray *sorted = g_ptr_array_new();

        for (guint i = 0; i < activity->rows->len; i++)
                g_ptr_array_add(sorted, activity->rows->pdata[i]);
        g_ptr_array_sort(sorted, compare_activity);
        return sorted;
}
