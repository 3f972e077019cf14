/* fuzz-report.c: what a vfwarden-io that was taken over can report to the daemon.
 *
 * The input is a byte of options, then records: a byte of how, and a report, or an order from the
 * daemon. Fields of reports are bent to likely values. What must hold of each report that is taken:
 * it was asked for, and the daemon can show it to anybody. */
#include "policy/io-report.h"
#include "policy/zpci-request.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EMULATED 1U
#define ADOPTED  2U

#define ORDER    1U
#define LIKELY   2U
#define SHORT    4U

static void bend(IoReport *report, uint8_t how) {
        static const char names[][IO_BACKEND_NAME_MAX] = { "vfio-pci", "emulated", "mmio",
                                                           "ism-vfio-pci" };

        report->kind %= IO_KIND_MAX + 1;
        report->error = -(report->error % 5000);
        report->violation = how & 8 ? report->violation % (ZPCI_VIOLATION_MAX + 1) : 0;
        report->length %= 10;
        memcpy(report->backend, names[how >> 6], sizeof(report->backend));
        report->max_store_block %= 5000;
        report->relaxed &= 1;
        report->pieces &= 1;
}

static void check(const IoReport *report, unsigned orders[IO_KIND_MAX], unsigned *firsts) {
        static const char *const names[] = { "vfio-pci",     "emulated",    "mmio",
                                             "ism-vfio-pci", "zpci-region", "" };
        bool known = false;

        assert(report->kind > 0 && report->kind < IO_KIND_MAX);
        if (report->kind <= IO_CLOSED)
                assert(++*firsts <= 2);
        else
                assert(orders[report->kind]-- > 0);
        assert(report->error <= 0 && report->error >= -4095);
        assert(report->violation < ZPCI_VIOLATION_MAX);
        assert(report->length <= sizeof(report->data));
        assert(report->error == 0 || report->length == 0);
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
                known |= strcmp(report->backend, names[i]) == 0;
        assert(known);
        if (report->kind != IO_FAILED)
                assert(report->max_store_block >= 1 && report->max_store_block <= 4096 &&
                       report->relaxed <= 1 && report->pieces <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        uint8_t options = size > 0 ? data[0] : 0, how;
        bool adopted = options & ADOPTED;
        IoReports reports = adopted ? io_reports_adopted() : io_reports_new(options & EMULATED);
        unsigned orders[IO_KIND_MAX] = { 0 }, firsts = adopted;
        uint8_t packet[sizeof(IoReport) + 8];
        IoReport report;

        for (IoKind kind = IO_STATUS; adopted && kind <= IO_GONE; kind++)
                orders[kind] = 1;
        for (size_t at = 1; at < size; at += how & ORDER ? 1 : sizeof(report)) {
                size_t length = size - at - 1;

                how = data[at++];
                memset(packet, 0, sizeof(packet));
                memcpy(packet, data + at, length < sizeof(report) ? length : sizeof(report));
                memcpy(&report, packet, sizeof(report));
                if (how & ORDER) {
                        IoKind kind = report.kind % (IO_KIND_MAX + 1);

                        if (!io_reports_may_order(&reports, kind))
                                continue;
                        io_reports_ordered(&reports, kind, report.length % 9);
                        orders[kind]++;
                        assert(orders[kind] <= 1U + adopted);
                        continue;
                }
                if (how & LIKELY)
                        bend(&report, how);
                memcpy(packet, &report, sizeof(report));
                if (io_report_take(&reports, packet, sizeof(report) + (how & SHORT ? how % 8 : 0),
                                   &report) == IO_FAULT_NONE)
                        check(&report, orders, &firsts);
        }
        return 0;
}
