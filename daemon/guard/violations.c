#include "daemon/guard/violations.h"

#include "daemon/base/report-limits.h"

#include <glib.h>

struct Violations {
        ViolationsReport *report;
        void *context;
        ReportLimits *limits; /* the items are the last Violation of each subject */
};

static void counted_free(gpointer data) {
        Violation *last = data;

        g_free((char *) last->path);
        g_free(last);
}

static void on_counted(void *context, void *item, unsigned count) {
        const Violations *violations = context;
        Violation *last = item;

        last->count = count;
        violations->report(violations->context, last);
}

int violations_new(sd_event *event, ViolationsReport *report, void *context, Violations **ret) {
        static const ReportLimitsHandler handler = { on_counted, counted_free };
        Violations *violations = g_new0(Violations, 1);
        int r;

        violations->report = report;
        violations->context = context;
        r = report_limits_new(event, "violations", &handler, violations, &violations->limits);
        if (r < 0) {
                violations_free(violations);
                return r;
        }
        *ret = violations;
        return 0;
}

Violations *violations_free(Violations *violations) {
        if (!violations)
                return NULL;
        report_limits_free(violations->limits);
        g_free(violations);
        return NULL;
}

/* What several have in common: the file, or the PF. */
static char *subject_of(const Violation *violation) {
        char address[PCI_ADDRESS_STRING_MAX];

        if (violation->path)
                return g_strdup(violation->path);
        return g_strdup(pci_address_format(pci_address_from_key(violation->key), address));
}

/* The report is about the last one, and about the number of VFs before the first. */
static Violation *count(Violation *last, const Violation *violation) {
        Violation *now = g_memdup2(violation, sizeof(*violation));

        now->path = g_strdup(violation->path);
        if (last) {
                now->num_vfs_before = last->num_vfs_before;
                counted_free(last);
        }
        return now;
}

void violations_report(Violations *violations, const Violation *violation) {
        g_autofree char *subject = subject_of(violation);
        void **counted = report_limits_take(violations->limits, subject);

        if (counted)
                *counted = count(*counted, violation);
        else
                violations->report(violations->context, violation);
}
