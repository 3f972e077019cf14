#include "policy/io-report.h"

#include "policy/zpci-request.h"

#include <errno.h>
#include <string.h>

#define ELEMENTS(array) (sizeof(array) / sizeof(*(array)))
#define BIT(kind)       (1U << (kind))

/* The largest errno that the kernel has (include/linux/err.h). */
#define ERRNO_MAX      4095

#define SINGLE_ORDERS  (BIT(IO_LOAD) | BIT(IO_STORE))
#define SESSION_ORDERS (BIT(IO_STATUS) | BIT(IO_DRAIN) | BIT(IO_END) | BIT(IO_GONE))
#define ORDERS         (SINGLE_ORDERS | SESSION_ORDERS)

const char *io_fault_to_string(IoFault fault) {
        static const char *const texts[] = {
                [IO_FAULT_NONE] = "nothing",
                [IO_FAULT_SIZE] = "a report of the wrong size",
                [IO_FAULT_KIND] = "a report of an unknown kind",
                [IO_FAULT_UNEXPECTED] = "a report that nobody asked for",
                [IO_FAULT_ERROR] = "a report with an impossible error",
                [IO_FAULT_DATA] = "a report with data of the wrong length",
                [IO_FAULT_BACKEND] = "a report of an unknown back end",
                [IO_FAULT_FACTS] = "a report with impossible facts about its back end",
        };

        return fault >= 0 && (size_t) fault < ELEMENTS(texts) ? texts[fault] : "?";
}

IoReports io_reports_new(bool emulated) {
        return (IoReports){ .emulated = emulated };
}

IoReports io_reports_adopted(void) {
        return (IoReports){ .adopted = true, .began = true, .stale = SESSION_ORDERS };
}

bool io_reports_may_order(const IoReports *reports, IoKind kind) {
        return kind > 0 && kind < IO_KIND_MAX && BIT(kind) & ORDERS && reports->began &&
               !reports->ended && !(reports->pending & BIT(kind));
}

void io_reports_ordered(IoReports *reports, IoKind kind, uint32_t length) {
        reports->pending |= BIT(kind);
        if (kind == IO_LOAD)
                reports->load_length = length;
}

static bool is_expected(const IoReports *reports, uint32_t kind) {
        if (reports->ended)
                return false;
        if (kind == IO_READY || kind == IO_FAILED)
                return !reports->began;
        /* Single requests have no client that could go; their process ends without a word. */
        if (kind == IO_CLOSED)
                return reports->began;
        return (reports->pending | reports->stale) & BIT(kind);
}

/* Nothing tells an answer to the earlier daemon from one to this; either way there is one more at
 * the most. */
static void io_report_note(IoReports *reports, uint32_t kind) {
        if (kind == IO_READY)
                reports->began = true;
        if (kind == IO_FAILED || kind == IO_CLOSED)
                reports->ended = true;
        if (reports->pending & BIT(kind))
                reports->pending &= ~BIT(kind);
        else
                reports->stale &= ~BIT(kind);
}

static bool is_errno(int32_t error) {
        return error < 0 && error >= -ERRNO_MAX;
}

static bool error_fits(const IoReport *report) {
        bool refused = report->violation != ZPCI_ALLOWED;

        if (refused && (report->violation >= ZPCI_VIOLATION_MAX || report->error != -EINVAL))
                return false;
        switch (report->kind) {
        case IO_LOAD:
        case IO_STORE:
                return report->error == 0 ||
                       (is_errno(report->error) && (report->error != -EINVAL || refused));
        case IO_FAILED:
                return is_errno(report->error) && !refused;
        case IO_CLOSED:
                return (report->error == 0 || is_errno(report->error)) && !refused;
        default:
                return report->error == 0;
        }
}

static bool data_fits(const IoReports *reports, const IoReport *report) {
        return report->length ==
               (report->kind == IO_LOAD && report->error == 0 ? reports->load_length : 0);
}

static bool is_backend(const IoReports *reports, const char *name) {
        static const char *const names[] = { "zpci-region", "ism-vfio-pci", "mmio", "vfio-pci" };

        if (strcmp(name, "emulated") == 0)
                return reports->emulated || reports->adopted;
        for (size_t i = 0; i < ELEMENTS(names); i++)
                if (strcmp(name, names[i]) == 0)
                        return !reports->emulated;
        return false;
}

/* A back end does not change. */
static bool facts_fit(const IoReports *reports, const IoReport *report) {
        if (report->max_store_block == 0 || report->max_store_block > ZPCI_PAGE_SIZE ||
            report->relaxed > 1 || report->pieces > 1)
                return false;
        return !reports->has_facts ||
               (strcmp(report->backend, reports->backend) == 0 &&
                report->max_store_block == reports->max_store_block &&
                report->relaxed == reports->relaxed && report->pieces == reports->pieces);
}

static void keep_facts(IoReports *reports, const IoReport *report) {
        reports->has_facts = true;
        memcpy(reports->backend, report->backend, sizeof(reports->backend));
        reports->max_store_block = report->max_store_block;
        reports->relaxed = report->relaxed;
        reports->pieces = report->pieces;
}

static IoFault io_report_judge(const IoReports *reports, const IoReport *report) {
        if (report->kind == 0 || report->kind >= IO_KIND_MAX)
                return IO_FAULT_KIND;
        if (!is_expected(reports, report->kind))
                return IO_FAULT_UNEXPECTED;
        if (!error_fits(report))
                return IO_FAULT_ERROR;
        if (!data_fits(reports, report))
                return IO_FAULT_DATA;
        /* It failed before it had one. */
        if (report->kind == IO_FAILED)
                return IO_FAULT_NONE;
        if (!memchr(report->backend, '\0', sizeof(report->backend)) ||
            !is_backend(reports, report->backend))
                return IO_FAULT_BACKEND;
        return facts_fit(reports, report) ? IO_FAULT_NONE : IO_FAULT_FACTS;
}

IoFault io_report_take(IoReports *reports, const void *packet, size_t size, IoReport *ret) {
        IoReport report;
        IoFault fault;

        if (size != sizeof(report))
                return IO_FAULT_SIZE;
        memcpy(&report, packet, sizeof(report));
        fault = io_report_judge(reports, &report);
        if (fault != IO_FAULT_NONE)
                return fault;

        io_report_note(reports, report.kind);
        if (report.kind == IO_FAILED)
                memset(report.backend, 0, sizeof(report.backend));
        else
                keep_facts(reports, &report);
        if (BIT(report.kind) & SINGLE_ORDERS && report.error != 0 && report.error != -EINVAL &&
            report.error != -ENODEV)
                report.error = -EIO;
        *ret = report;
        return IO_FAULT_NONE;
}
