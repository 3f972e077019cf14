#include "policy/vfio-use.h"

#include <criterion/criterion.h>

#define NOBODY    VFIO_FOUND_NOBODY
#define SOMEWHERE VFIO_FOUND_SOMEWHERE
#define PROCESS   VFIO_FOUND_PROCESS
#define REPORT    VFIO_USE_REPORT
#define KEEP      VFIO_USE_KEEP
#define SEARCH    VFIO_USE_SEARCH

/* Each cell: the finding, and by what is reported; a bit for each of the other signs. */
Test(vfio_use, steps) {
        for (unsigned bits = 0; bits < 32; bits++)
                for (VfioFinding finding = 0; finding < _VFIO_FOUND_MAX; finding++) {
                        VfioUseSigns signs = {
                                .finding = finding,
                                .reported = bits & 1,
                                .was_lost = bits & 2,
                                .may_close = bits & 4,
                                .searched = bits & 8,
                                .group_closed = bits & 16,
                        };
                        VfioUseStep expected = REPORT;

                        if (finding == NOBODY && signs.reported && !signs.searched &&
                            !signs.group_closed)
                                expected = SEARCH;
                        if (finding == SOMEWHERE && !signs.was_lost)
                                expected = SEARCH;
                        else if (finding == SOMEWHERE &&
                                 (!signs.searched || (signs.reported && signs.may_close)))
                                expected = KEEP;
                        cr_assert_eq(vfio_use_step(&signs), expected, "finding %d, bits %#x",
                                     finding, bits);
                }
}

/* Openings (o) and closings (c) of one node, and how many are left. */
Test(vfio_use, counts) {
        static const struct {
                const char *events;
                unsigned group, device;
        } rows[] = {
                { "", 0, 0 },
                { "o", 1, 1 },
                { "oc", 0, 0 },
                { "c", 0, 0 },
                { "co", 1, 1 },
                { "oo", 1, 2 },
                { "ooc", 0, 1 },
                { "oocc", 0, 0 },
                { "oocco", 1, 1 },
                { "occc", 0, 0 },
                { "occco", 1, 1 },
                /* A doubt (d) and a look (n: nobody, p: a process). */
                { "odn", 0, 0 },
                { "odp", 1, 1 },
                { "on", 1, 1 },
                { "odpn", 1, 1 },
                { "oodn", 0, 0 },
                { "dn", 0, 0 },
                { "odnc", 0, 0 },
                { "odno", 1, 1 },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                VfioNodeCount counts[2] = { 0 };

                for (unsigned is_group = 0; is_group < 2; is_group++)
                        for (const char *event = rows[i].events; *event != '\0'; event++) {
                                VfioNodeCount *count = &counts[is_group];

                                if (*event == 'o')
                                        vfio_node_count_opened(count, is_group);
                                else if (*event == 'c')
                                        vfio_node_count_closed(count, is_group);
                                else if (*event == 'd')
                                        vfio_node_count_doubt(count);
                                else
                                        vfio_node_count_looked(count, *event == 'p');
                        }
                cr_assert_eq(counts[0].openings, rows[i].device, "device: %s", rows[i].events);
                cr_assert_eq(counts[1].openings, rows[i].group, "group: %s", rows[i].events);
                cr_assert_eq(vfio_node_count_is_open(&counts[0]), rows[i].device > 0);
        }
}
