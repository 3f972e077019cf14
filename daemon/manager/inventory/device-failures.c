#include "daemon/manager/inventory/device-failures.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "policy/violation.h"

#include <glib.h>

typedef struct DeviceFailure {
        PciKey key;
        char *what;
        ViolationTally tally;
} DeviceFailure;

struct DeviceFailures {
        const PartContext *context;
        Publisher *publisher;
        GHashTable *all; /* "ADDRESS WORD" -> DeviceFailure*, both owned */
        sd_event_source *timer;
};

static void device_failure_free(gpointer data) {
        DeviceFailure *failure = data;

        g_free(failure->what);
        g_free(failure);
}

static void wake_at_end(const DeviceFailures *failures, const DeviceFailure *failure) {
        uint64_t now = now_usec(), end = violation_tally_end_usec(&failure->tally);

        wakeup_within(failures->timer, end > now ? end - now : 0);
}

/* Of functions that are not in the inventory nobody knows. */
static void report_failure(const DeviceFailures *failures, const DeviceFailure *failure,
                           unsigned count) {
        Function *function = inventory_get(failures->context->inventory, failure->key);
        g_autofree char *times = count > 1 ? g_strdup_printf(" (%u times)", count) : NULL;
        PciAddress address = pci_address_from_key(failure->key);

        if (!function)
                return;
        log_full(LOG_WARNING, &address, NULL, "the kernel reports an error of the device: %s%s%s",
                 failure->what, times ? times : "",
                 function_in_use(function) ? ", while the function is in use" : "");
        publisher_device_failed(failures->publisher, function, failure->what);
}

static int on_device_failures_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        const DeviceFailures *failures = userdata;
        uint64_t now = now_usec();
        DeviceFailure *failure;
        GHashTableIter iter;

        g_hash_table_iter_init(&iter, failures->all);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &failure)) {
                if (violation_tally_end_usec(&failure->tally) <= now) {
                        unsigned count = violation_tally_end(&failure->tally, now);

                        if (count == 0) {
                                g_hash_table_iter_remove(&iter);
                                continue;
                        }
                        report_failure(failures, failure, count);
                }
                wake_at_end(failures, failure);
        }
        return 0;
}

int device_failures_new(const PartContext *context, Publisher *publisher, DeviceFailures **ret) {
        DeviceFailures *failures = g_new0(DeviceFailures, 1);
        int r;

        failures->context = context;
        failures->publisher = publisher;
        failures->all = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, device_failure_free);
        r = wakeup_new_timer(context->event, 0, on_device_failures_timer, failures,
                             &failures->timer);
        if (r >= 0)
                r = sd_event_source_set_description(failures->timer, "device-failures");
        if (r < 0) {
                device_failures_free(failures);
                return r;
        }
        *ret = failures;
        return 0;
}

DeviceFailures *device_failures_free(DeviceFailures *failures) {
        if (!failures)
                return NULL;
        sd_event_source_disable_unref(failures->timer);
        g_hash_table_unref(failures->all);
        g_free(failures);
        return NULL;
}

static DeviceFailure *get_failure(const DeviceFailures *failures, PciKey key, const char *what) {
        char address[PCI_ADDRESS_STRING_MAX];
        g_autofree char *name = g_strdup_printf(
                "%s %s", pci_address_format(pci_address_from_key(key), address), what);
        DeviceFailure *failure = g_hash_table_lookup(failures->all, name);

        if (failure)
                return failure;
        failure = g_new0(DeviceFailure, 1);
        failure->key = key;
        failure->what = g_strdup(what);
        g_hash_table_insert(failures->all, g_steal_pointer(&name), failure);
        return failure;
}

void device_failures_take(DeviceFailures *failures, PciKey key, const char *what) {
        DeviceFailure *failure = get_failure(failures, key, what);
        bool at_once = violation_tally_take(&failure->tally, now_usec());

        wake_at_end(failures, failure);
        if (at_once)
                report_failure(failures, failure, 1);
}
