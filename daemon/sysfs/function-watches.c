#include "daemon/sysfs/function-watches.h"

#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"

#include <sys/inotify.h>

struct FunctionWatches {
        Watch *watch;
        Problems *problems;
        WatchHandler *touched;
        void *context;
        GHashTable *numbers; /* PciKey* -> number of the watch on the function's directory */
};

FunctionWatches *function_watches_new(Watch *watch, Problems *problems, WatchHandler *touched,
                                      void *context) {
        FunctionWatches *watches = g_new(FunctionWatches, 1);

        *watches = (FunctionWatches){
                .watch = watch,
                .problems = problems,
                .touched = touched,
                .context = context,
                .numbers = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL),
        };
        return watches;
}

FunctionWatches *function_watches_free(FunctionWatches *watches) {
        if (!watches)
                return NULL;
        g_hash_table_unref(watches->numbers);
        g_free(watches);
        return NULL;
}

bool function_watches_add(FunctionWatches *watches, Function *function) {
        PciAddress address = function_address(function);
        PciKey key = function->facts.key;
        g_autofree char *path = NULL;
        int number;

        if (g_hash_table_contains(watches->numbers, &key))
                return true;
        path = sysfs_function_path(address, NULL);
        number = watch_add(watches->watch, path, IN_MODIFY | IN_ATTRIB | IN_ONLYDIR,
                           watches->touched, watches->context, function);
        if (number < 0 && !errno_means_absent(number)) {
                problems_report_function(
                        watches->problems, address, "watch",
                        "Failed to watch its files, changes there are seen late: %s",
                        g_strerror(-number));
                return false;
        }
        problems_resolve_function(watches->problems, address, "watch");
        if (number >= 0)
                g_hash_table_insert(watches->numbers, g_memdup2(&key, sizeof(key)),
                                    GINT_TO_POINTER(number));
        return true;
}

void function_watches_remove(FunctionWatches *watches, PciKey key) {
        gpointer number;

        if (!g_hash_table_lookup_extended(watches->numbers, &key, NULL, &number))
                return;
        watch_remove(watches->watch, GPOINTER_TO_INT(number));
        g_hash_table_remove(watches->numbers, &key);
}
