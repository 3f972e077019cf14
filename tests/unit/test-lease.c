#include "policy/lease.h"

#include <criterion/criterion.h>

Test(lease, words) {
        for (LeaseKind kind = 0; kind < _LEASE_KIND_MAX; kind++)
                cr_assert_eq(lease_kind_from_string(lease_kind_to_string(kind)), kind);
        cr_assert_eq(lease_kind_from_string("Group"), _LEASE_KIND_INVALID);
        cr_assert_eq(lease_kind_from_string(""), _LEASE_KIND_INVALID);
}

/* Rows: is there a group's node, a device's, /dev/iommu; columns: wanted nothing, group, device. */
Test(lease, which_kind) {
        static const struct {
                LeaseNodes nodes;
                int any, group, device;
        } rows[] = {
#define NONE   (-EOPNOTSUPP)
#define GROUP  LEASE_KIND_GROUP
#define DEVICE LEASE_KIND_DEVICE
                { { false, false, false }, NONE, NONE, NONE },
                { { false, false, true }, NONE, NONE, NONE },
                { { false, true, false }, NONE, NONE, NONE },
                { { false, true, true }, DEVICE, NONE, DEVICE },
                { { true, false, false }, GROUP, GROUP, NONE },
                { { true, false, true }, GROUP, GROUP, NONE },
                { { true, true, false }, GROUP, GROUP, NONE },
                { { true, true, true }, DEVICE, GROUP, DEVICE },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                cr_assert_eq((int) lease_choose_kind(&rows[i].nodes, _LEASE_KIND_INVALID),
                             rows[i].any, "row %zu", i);
                cr_assert_eq((int) lease_choose_kind(&rows[i].nodes, LEASE_KIND_GROUP),
                             rows[i].group, "row %zu", i);
                cr_assert_eq((int) lease_choose_kind(&rows[i].nodes, LEASE_KIND_DEVICE),
                             rows[i].device, "row %zu", i);
        }
}

/* Each cell: the holder, by the reports of closes and of the answer, after a look at
 * everybody. */
Test(lease, steps) {
        static const struct {
                LeaseHeld held;
                bool in_flight;
                LeaseStep open, closed; /* nothing was closed; something was, or may have been */
        } rows[] = {
#define WAIT    LEASE_STEP_WAIT
#define CONFIRM LEASE_STEP_CONFIRM
#define SEARCH  LEASE_STEP_SEARCH
#define END     LEASE_STEP_END
                { LEASE_HELD_BY_NOBODY, false, SEARCH, END },
                { LEASE_HELD_BY_NOBODY, true, WAIT, WAIT },
                { LEASE_HELD_SOMEWHERE, false, SEARCH, SEARCH },
                { LEASE_HELD_SOMEWHERE, true, WAIT, WAIT },
                { LEASE_HELD_BY_PROCESS, false, CONFIRM, CONFIRM },
                { LEASE_HELD_BY_PROCESS, true, CONFIRM, CONFIRM },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
                for (unsigned bits = 0; bits < 32; bits++) {
                        LeaseSigns signs = {
                                .opened = bits & 1,
                                .in_flight = rows[i].in_flight,
                                .closed = bits & 2,
                                .missed = bits & 4,
                                .enabled = bits & 8,
                                .looked = bits & 16,
                                .held = rows[i].held,
                        };
                        LeaseStep step = !signs.opened || !signs.looked ? WAIT
                                         : bits & (2 | 4)               ? rows[i].closed
                                                                        : rows[i].open;

                        cr_assert_eq(lease_step(LEASE_KIND_DEVICE, &signs), step,
                                     "device, row %zu, %#x", i, bits);
                        /* A group's close is the close of what was handed out, unless a device that
                         * was opened through it is open on its own. */
                        if (signs.opened && signs.closed && !signs.enabled)
                                step = END;
                        cr_assert_eq(lease_step(LEASE_KIND_GROUP, &signs), step,
                                     "group, row %zu, %#x", i, bits);
                }
}
