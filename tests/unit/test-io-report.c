#include "policy/io-report.h"

#include "policy/zpci-request.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

static IoReport sound(IoKind kind) {
        return (IoReport){ .kind = kind, .backend = "vfio-pci", .max_store_block = 8 };
}

static IoFault take(IoReports *reports, const IoReport *report) {
        IoReport taken;

        return io_report_take(reports, report, sizeof(*report), &taken);
}

static IoFault take_kind(IoReports *reports, IoKind kind) {
        IoReport report = sound(kind);

        return take(reports, &report);
}

/* One that has reported that it is ready. */
static IoReports ready(void) {
        IoReports reports = io_reports_new(false);

        cr_assert_eq(take_kind(&reports, IO_READY), IO_FAULT_NONE);
        return reports;
}

static IoReports ordered(IoKind kind, uint32_t length) {
        IoReports reports = ready();

        cr_assert(io_reports_may_order(&reports, kind));
        io_reports_ordered(&reports, kind, length);
        return reports;
}

Test(io_report, sizes) {
        uint8_t packet[sizeof(IoReport) + 1] = { 0 };
        IoReport report = sound(IO_READY), taken = { .kind = 77 };

        memcpy(packet, &report, sizeof(report));
        for (size_t size = 0; size <= sizeof(packet); size++) {
                IoReports reports = io_reports_new(false);
                IoFault expected = size == sizeof(report) ? IO_FAULT_NONE : IO_FAULT_SIZE;

                cr_assert_eq(io_report_take(&reports, packet, size, &taken), expected, "%zu", size);
                cr_assert_eq(reports.began, expected == IO_FAULT_NONE);
        }
}

Test(io_report, the_first) {
        for (unsigned kind = 0; kind < 40; kind++) {
                IoReports reports = io_reports_new(false);
                IoReport report = sound(kind);
                bool first = kind == IO_READY || kind == IO_FAILED;

                report.error = kind == IO_FAILED ? -EIO : 0;
                cr_assert_eq(take(&reports, &report),
                             first                              ? IO_FAULT_NONE
                             : kind == 0 || kind >= IO_KIND_MAX ? IO_FAULT_KIND
                                                                : IO_FAULT_UNEXPECTED,
                             "%u", kind);
        }
}

Test(io_report, nothing_without_an_order) {
        for (IoKind kind = IO_READY; kind < IO_KIND_MAX; kind++) {
                IoReports reports = ready();

                cr_assert_eq(take_kind(&reports, kind),
                             kind == IO_CLOSED ? IO_FAULT_NONE : IO_FAULT_UNEXPECTED, "%d", kind);
        }
}

Test(io_report, one_answer_for_an_order) {
        for (IoKind kind = IO_STATUS; kind < IO_KIND_MAX; kind++) {
                IoReports reports = ordered(kind, 0);

                cr_assert_not(io_reports_may_order(&reports, kind), "one at a time");
                cr_assert_eq(take_kind(&reports, kind), IO_FAULT_NONE, "%d", kind);
                cr_assert(io_reports_may_order(&reports, kind));
                cr_assert_eq(take_kind(&reports, kind), IO_FAULT_UNEXPECTED, "%d", kind);
        }
}

Test(io_report, nothing_after_the_last) {
        IoReports reports = ordered(IO_STATUS, 0), failed = io_reports_new(false);
        IoReport failure = { .kind = IO_FAILED, .error = -EIO };

        cr_assert_eq(take_kind(&reports, IO_CLOSED), IO_FAULT_NONE);
        cr_assert_eq(take_kind(&reports, IO_STATUS), IO_FAULT_UNEXPECTED);
        cr_assert_eq(take_kind(&reports, IO_CLOSED), IO_FAULT_UNEXPECTED);
        cr_assert_eq(take(&failed, &failure), IO_FAULT_NONE);
        cr_assert_eq(take_kind(&failed, IO_READY), IO_FAULT_UNEXPECTED);
        cr_assert_not(io_reports_may_order(&reports, IO_DRAIN));
        cr_assert_not(io_reports_may_order(&failed, IO_DRAIN));
}

Test(io_report, orders) {
        IoReports reports = io_reports_new(false);

        for (int kind = -1; kind < 40; kind++)
                cr_assert_not(io_reports_may_order(&reports, kind), "it has not begun: %d", kind);
        reports = ready();
        for (int kind = -1; kind < 40; kind++)
                cr_assert_eq(io_reports_may_order(&reports, kind),
                             kind >= IO_STATUS && kind < IO_KIND_MAX, "%d", kind);
}

Test(io_report, adopted) {
        IoReports reports = io_reports_adopted();

        io_reports_ordered(&reports, IO_STATUS, 0);
        cr_assert_eq(take_kind(&reports, IO_READY), IO_FAULT_UNEXPECTED);
        cr_assert_eq(take_kind(&reports, IO_LOAD), IO_FAULT_UNEXPECTED);
        cr_assert_eq(take_kind(&reports, IO_DRAIN), IO_FAULT_NONE, "to the earlier daemon");
        cr_assert_eq(take_kind(&reports, IO_DRAIN), IO_FAULT_UNEXPECTED);
        cr_assert_eq(take_kind(&reports, IO_STATUS), IO_FAULT_NONE);
        cr_assert(io_reports_may_order(&reports, IO_STATUS));
        cr_assert_eq(take_kind(&reports, IO_STATUS), IO_FAULT_NONE, "one of them was the other's");
        cr_assert_eq(take_kind(&reports, IO_STATUS), IO_FAULT_UNEXPECTED);
}

Test(io_report, errors) {
        static const struct {
                IoKind kind;
                int32_t error;
                uint32_t violation;
                IoFault expected;
                int32_t taken;
        } cases[] = {
                { IO_READY, -1, 0, IO_FAULT_ERROR, 0 },
                { IO_READY, 0, ZPCI_PAST_END, IO_FAULT_ERROR, 0 },
                { IO_FAILED, -EOPNOTSUPP, 0, IO_FAULT_NONE, -EOPNOTSUPP },
                { IO_FAILED, 0, 0, IO_FAULT_ERROR, 0 },
                { IO_FAILED, 5, 0, IO_FAULT_ERROR, 0 },
                { IO_FAILED, -4095, 0, IO_FAULT_NONE, -4095 },
                { IO_FAILED, -4096, 0, IO_FAULT_ERROR, 0 },
                { IO_FAILED, INT32_MIN, 0, IO_FAULT_ERROR, 0 },
                { IO_CLOSED, 0, 0, IO_FAULT_NONE, 0 },
                { IO_CLOSED, -EBADMSG, 0, IO_FAULT_NONE, -EBADMSG },
                { IO_CLOSED, INT32_MIN, 0, IO_FAULT_ERROR, 0 },
                { IO_CLOSED, 1, 0, IO_FAULT_ERROR, 0 },
                { IO_STATUS, -EIO, 0, IO_FAULT_ERROR, 0 },
                { IO_END, INT32_MAX, 0, IO_FAULT_ERROR, 0 },
                { IO_STORE, 0, 0, IO_FAULT_NONE, 0 },
                { IO_STORE, -EINVAL, ZPCI_PAST_END, IO_FAULT_NONE, -EINVAL },
                { IO_STORE, -EINVAL, 0, IO_FAULT_ERROR, 0 },
                { IO_STORE, -EINVAL, ZPCI_VIOLATION_MAX, IO_FAULT_ERROR, 0 },
                { IO_STORE, -EINVAL, UINT32_MAX, IO_FAULT_ERROR, 0 },
                { IO_STORE, -EIO, ZPCI_PAST_END, IO_FAULT_ERROR, 0 },
                { IO_STORE, 0, ZPCI_PAST_END, IO_FAULT_ERROR, 0 },
                { IO_STORE, -ENODEV, 0, IO_FAULT_NONE, -ENODEV },
                { IO_STORE, -EACCES, 0, IO_FAULT_NONE, -EIO },
                { IO_STORE, -ECANCELED, 0, IO_FAULT_NONE, -EIO },
                { IO_STORE, 5, 0, IO_FAULT_ERROR, 0 },
                { IO_STORE, INT32_MIN, 0, IO_FAULT_ERROR, 0 },
                { IO_LOAD, -EFAULT, 0, IO_FAULT_NONE, -EIO },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                bool first = cases[i].kind == IO_READY || cases[i].kind == IO_FAILED;
                IoReports reports =
                        first ? io_reports_new(false)
                              : ordered(cases[i].kind == IO_CLOSED ? IO_STATUS : cases[i].kind, 0);
                IoReport report = sound(cases[i].kind), taken = { 0 };

                report.error = cases[i].error;
                report.violation = cases[i].violation;
                cr_assert_eq(io_report_take(&reports, &report, sizeof(report), &taken),
                             cases[i].expected, "%zu", i);
                if (cases[i].expected == IO_FAULT_NONE)
                        cr_assert_eq(taken.error, cases[i].taken, "%zu", i);
        }
}

Test(io_report, lengths) {
        static const struct {
                IoKind kind;
                uint32_t asked, length;
                int32_t error;
                bool fits;
        } cases[] = {
                { IO_LOAD, 8, 8, 0, true },    { IO_LOAD, 4, 8, 0, false },
                { IO_LOAD, 8, 0, 0, false },   { IO_LOAD, 8, UINT32_MAX, 0, false },
                { IO_LOAD, 8, 0, -EIO, true }, { IO_LOAD, 8, 8, -EIO, false },
                { IO_STORE, 8, 0, 0, true },   { IO_STORE, 8, 8, 0, false },
                { IO_STATUS, 0, 1, 0, false },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                IoReports reports = ordered(cases[i].kind, cases[i].asked);
                IoReport report = sound(cases[i].kind);

                report.length = cases[i].length;
                report.error = cases[i].error;
                cr_assert_eq(take(&reports, &report), cases[i].fits ? IO_FAULT_NONE : IO_FAULT_DATA,
                             "%zu", i);
        }
}

Test(io_report, back_ends) {
        static const struct {
                const char name[IO_BACKEND_NAME_MAX];
                bool real, emulated;
        } cases[] = {
                { "vfio-pci", true, false },
                { "ism-vfio-pci", true, false },
                { "mmio", true, false },
                { "zpci-region", true, false },
                { "emulated", false, true },
                { "", false, false },
                { "fuzz", false, false },
                { "\xff\xfe\x80", false, false },
                { "\x1b[2Jmmio", false, false },
                { "mmio ", false, false },
                { { 'v', 'f', 'i', 'o', '-', 'p', 'c', 'i', 'v', 'f', 'i', 'o', '-', 'p', 'c',
                    'i' },
                  false,
                  false },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                for (int emulated = 0; emulated < 2; emulated++) {
                        IoReports reports = io_reports_new(emulated);
                        IoReport report = sound(IO_READY);

                        memcpy(report.backend, cases[i].name, sizeof(report.backend));
                        cr_assert_eq(take(&reports, &report),
                                     (emulated ? cases[i].emulated : cases[i].real)
                                             ? IO_FAULT_NONE
                                             : IO_FAULT_BACKEND,
                                     "%zu", i);
                }
}

Test(io_report, facts) {
        static const struct {
                uint16_t max_store_block;
                uint8_t relaxed, pieces;
                bool fits;
        } cases[] = {
                { 8, 0, 0, true },  { 1, 0, 0, true },     { 4096, 1, 1, true },
                { 0, 0, 0, false }, { 4097, 0, 0, false }, { UINT16_MAX, 0, 0, false },
                { 8, 2, 0, false }, { 8, 0, 255, false },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                IoReports reports = io_reports_new(false);
                IoReport report = sound(IO_READY);

                report.max_store_block = cases[i].max_store_block;
                report.relaxed = cases[i].relaxed;
                report.pieces = cases[i].pieces;
                cr_assert_eq(take(&reports, &report),
                             cases[i].fits ? IO_FAULT_NONE : IO_FAULT_FACTS, "%zu", i);
        }
}

Test(io_report, facts_stay) {
        for (int i = 0; i < 4; i++) {
                IoReports reports = ordered(IO_STATUS, 0);
                IoReport report = sound(IO_STATUS);

                if (i == 0)
                        strcpy(report.backend, "mmio");
                report.max_store_block = i == 1 ? 9 : 8;
                report.relaxed = i == 2;
                report.pieces = i == 3;
                cr_assert_eq(take(&reports, &report), IO_FAULT_FACTS, "%d", i);
        }
}

Test(io_report, texts) {
        for (IoFault fault = 0; fault < IO_FAULT_MAX; fault++)
                cr_assert_gt(strlen(io_fault_to_string(fault)), 3U);
        cr_assert_str_eq(io_fault_to_string(IO_FAULT_MAX), "?");
        cr_assert_str_eq(io_fault_to_string(IO_FAULT_INVALID), "?");
}
