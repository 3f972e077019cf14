#include "daemon/manager/inventory/device-failures.h"

#include "daemon/base/log.h"
#include "daemon/base/report-limits.h"

#include <glib.h>

typedef struct DeviceFailure {
        PciKey key;
        char *what;
} DeviceFailure;

struct DeviceFailures {
        const PartContext *context;
        Publisher *publisher;
        ReportLimits *limits; /* the items are DeviceFailure* */
};

static void device_failure_free(gpointer data) {
        DeviceFailure *failure = data;

        g_free(failure->what);
        g_free(failure);
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

static void on_failures_counted(void *context, void *item, unsigned count) {
        report_failure(context, item, count);
}

int device_failures_new(const PartContext *context, Publisher *publisher, DeviceFailures **ret) {
        static const ReportLimitsHandler handler = { on_failures_counted, device_failure_free };
        DeviceFailures *failures = g_new0(DeviceFailures, 1);
        int r;

        failures->context = context;
        failures->publisher = publisher;
        r = report_limits_new(context->event, "device-failures", &handler, failures,
                              &failures->limits);
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
        report_limits_free(failures->limits);
        g_free(failures);
        return NULL;
}

void device_failures_take(DeviceFailures *failures, PciKey key, const char *what) {
        char address[PCI_ADDRESS_STRING_MAX];
        g_autofree char *subject = g_strdup_printf(
                "%s %s", pci_address_format(pci_address_from_key(key), address), what);
        DeviceFailure failure = { key, (char *) what };
        void **counted = report_limits_take(failures->limits, subject);

        if (!counted)
                report_failure(failures, &failure, 1);
        else if (!*counted) {
                failure.what = g_strdup(what);
                *counted = g_memdup2(&failure, sizeof(failure));
        }
}
