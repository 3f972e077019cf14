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

/* All that can be seen, and when it means that the descriptor is gone. */
Test(lease, over) {
        for (unsigned bits = 0; bits < 64; bits++) {
                LeaseSigns signs = {
                        .opened = bits & 1,
                        .in_flight = bits & 2,
                        .closed = bits & 4,
                        .missed = bits & 8,
                        .looked = bits & 16,
                        .held = bits & 32,
                };
                /* A doubt, everybody was looked at, and it is neither on the way nor found. */
                bool settled = (bits & 1) && (bits & (4 | 8)) && (bits & 16) && !(bits & (2 | 32));

                cr_assert_eq(lease_is_over(LEASE_KIND_DEVICE, &signs), settled, "device %#x", bits);
                /* A group's close is the close of what was handed out. */
                cr_assert_eq(lease_is_over(LEASE_KIND_GROUP, &signs),
                             settled || (bits & (1 | 4)) == (1 | 4), "group %#x", bits);
        }
}
