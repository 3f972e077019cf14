/* report-limits.h: reports of many subjects, each as often as policy/violation.h allows.
 *
 * Owns the counts, and for each subject of which some are counted the item that says what their
 * common report is about. Always holds: a subject is kept only as long as its limit counts, so who
 * causes reports of ever other subjects is remembered no longer. */
#pragma once

#include <glib.h>
#include <systemd/sd-event.h>

typedef struct ReportLimits ReportLimits;

typedef struct ReportLimitsHandler {
        /* `count` of one subject are to be reported now, together. */
        void (*report)(void *context, void *item, unsigned count);
        GDestroyNotify free_item;
} ReportLimitsHandler;

/* `name` is for the log of sd-event. Returns 0 or a negative errno. */
int report_limits_new(sd_event *event, const char *name, const ReportLimitsHandler *handler,
                      void *context, ReportLimits **ret);
ReportLimits *report_limits_free(ReportLimits *limits);

/* One of `subject` is to be reported. Returns NULL: at once, by the caller. Else it is counted, and
 * the place of the item is returned, which is NULL for the first. The item is the caller's to set,
 * and belongs to the limits from then on; it is released after its report. */
void **report_limits_take(ReportLimits *limits, const char *subject);
