#include "policy/vfio-use.h"

#include <criterion/criterion.h>
#include <glib.h>
#include <string.h>

#define NOBODY    VFIO_FOUND_NOBODY
#define SOMEWHERE VFIO_FOUND_SOMEWHERE
#define PROCESS   VFIO_FOUND_PROCESS
#define REPORT    VFIO_USE_REPORT
#define KEEP      VFIO_USE_KEEP
#define SEARCH    VFIO_USE_SEARCH

/* Each cell: the finding, and by what is reported; a bit for each of the other signs. */
Test(vfio_use, steps) {
        for (unsigned bits = 0; bits < 256; bits++)
                for (VfioFinding finding = 0; finding < _VFIO_FOUND_MAX; finding++) {
                        VfioUseSigns signs = {
                                .finding = finding,
                                .reported = bits & 1,
                                .was_lost = bits & 2,
                                .may_close = bits & 4,
                                .searched = bits & 8,
                                .group_closed = bits & 16,
                                .failed = bits & 32,
                                .evident = bits & 64,
                                .by_process = bits & 128,
                        };
                        VfioUseStep expected = REPORT;

                        if (finding == NOBODY && signs.reported && !signs.searched &&
                            !signs.group_closed && (!signs.failed || signs.by_process))
                                expected = SEARCH;
                        if (finding == SOMEWHERE && !signs.was_lost)
                                expected = SEARCH;
                        else if (finding == SOMEWHERE && signs.failed && signs.evident &&
                                 !signs.reported)
                                expected = REPORT;
                        else if (finding == SOMEWHERE &&
                                 (!signs.searched || (signs.reported && signs.may_close)))
                                expected = KEEP;
                        cr_assert_eq(vfio_use_step(&signs), expected, "finding %d, bits %#x",
                                     finding, bits);
                }
}

/* A bit for each of: assumed, merged, doubtful, sockets of earlier users, hidden, and sockets of
 * those who opened. */
Test(vfio_use, evident) {
        for (unsigned openings = 0; openings < 3; openings++)
                for (unsigned bits = 0; bits < 64; bits++) {
                        VfioNodeCount count = {
                                .openings = openings,
                                .assumed = bits & 1,
                                .merged = bits & 2,
                                .doubtful = bits & 4,
                                .hidden = bits & 16,
                        };
                        VfioWaiting others = { .of_anybody = true, .of_openers = true };
                        VfioWaiting waiting = bits & 8 ? (VfioWaiting){ .of_users = true } : others;

                        waiting.of_seen = bits & 32;
                        cr_assert_eq(vfio_node_count_is_evident(&count, waiting),
                                     (openings > 0 && (!(bits & 4) || (bits & 8))) ||
                                             ((bits & 16) && (bits & 32)),
                                     "%u openings, bits %#x", openings, bits);
                }
}

static void count_look(VfioNodeCount *count, char how) {
        VfioWaiting waiting = {
                .of_anybody = how == 'h' || how == 's' || how == 'm' || how == 'w',
                .of_users = how == 'h',
                .of_seen = how == 'h' || how == 's',
                .of_openers = how == 'm',
        };

        vfio_node_count_looked(count, how == 'p', waiting);
}

/* Events as below, and an opening that is assumed (a): whether it is open. */
Test(vfio_use, assumed) {
        static const struct {
                const char *events;
                bool group, device;
        } rows[] = {
                { "a", true, true },
                { "an", false, false },
                { "ah", false, false },
                { "am", true, true },
                { "amm", true, true },
                { "amn", false, false },
                { "ap", true, true },
                { "apn", false, false },
                { "apm", true, true },
                { "aph", false, false },
                { "adn", false, false },
                /* A group that is opened was not open. */
                { "aoc", false, true },
                { "aocn", false, false },
                { "aocm", false, true },
                { "aon", true, true },
                { "aodn", false, false },
                { "aodh", true, true },
                /* Its close is that of its last copy; a device may have been opened more often. */
                { "ac", false, true },
                { "acn", false, false },
                { "acm", false, true },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
                for (unsigned is_group = 0; is_group < 2; is_group++) {
                        VfioNodeCount count = { 0 };

                        for (const char *event = rows[i].events; *event != '\0'; event++)
                                if (*event == 'a')
                                        vfio_node_count_assume(&count);
                                else if (*event == 'o')
                                        vfio_node_count_opened(&count, is_group, 0);
                                else if (*event == 'c')
                                        vfio_node_count_closed(&count, is_group);
                                else if (*event == 'd')
                                        vfio_node_count_doubt(&count);
                                else
                                        count_look(&count, *event);
                        cr_assert_eq(vfio_node_count_is_open(&count),
                                     is_group ? rows[i].group : rows[i].device, "%s, group %u",
                                     rows[i].events, is_group);
                        cr_assert(vfio_node_count_is_doubtful(&count) ||
                                  !vfio_node_count_is_open(&count) || strchr(rows[i].events, 'o'));
                }
}

static unsigned left(const VfioNodeCount *count) {
        return MAX(count->openings, (unsigned) count->hidden);
}

/* Openings (o) and closings (c) of one node, or a closing after which it may have been opened again
 * (C); and how many openings are left, hidden ones as one. */
Test(vfio_use, counts) {
        static const struct {
                const char *events;
                unsigned group, device;
        } rows[] = {
                { "", 0, 0 },
                { "o", 1, 1 },
                { "oc", 0, 1 },
                { "ocn", 0, 0 },
                { "ocw", 0, 0 },
                { "ocm", 0, 0 },
                { "ocs", 0, 1 },
                { "ocp", 0, 1 },
                { "ocpn", 0, 0 },
                { "ocsn", 0, 0 },
                { "oco", 1, 1 },
                { "ocon", 1, 1 },
                { "ococ", 0, 1 },
                { "oocs", 0, 1 },
                { "oC", 1, 1 },
                { "oCn", 0, 0 },
                { "oCs", 1, 1 },
                { "oCc", 0, 1 },
                { "oCo", 1, 1 },
                { "oCoc", 0, 1 },
                { "C", 0, 0 },
                { "c", 0, 0 },
                { "co", 1, 1 },
                { "oo", 1, 2 },
                { "ooc", 0, 1 },
                { "oocc", 0, 1 },
                { "oocco", 1, 1 },
                { "occc", 0, 1 },
                { "occco", 1, 1 },
                /* A doubt (d) and a look (n: nobody, p: a process), or nobody while descriptors
                 * wait in sockets of earlier users (h), of those who opened the node (s), of those
                 * who may open it (m), of others (w). */
                { "odn", 0, 0 },
                { "odp", 1, 1 },
                { "on", 1, 1 },
                { "odpn", 0, 0 },
                { "oodn", 0, 0 },
                { "dn", 0, 0 },
                { "odnc", 0, 0 },
                { "odno", 1, 1 },
                { "oocn", 0, 0 },
                { "ooch", 0, 1 },
                { "oocw", 0, 1 },
                { "oocwn", 0, 0 },
                { "oocdw", 0, 0 },
                { "odw", 0, 0 },
                { "oocpn", 0, 0 },
                { "oocpcn", 0, 0 },
                { "odh", 1, 1 },
                { "odm", 0, 0 },
                { "odhn", 0, 0 },
                { "odhc", 0, 1 },
                { "odph", 1, 1 },
                { "dh", 0, 0 },
                { "on", 1, 1 },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                VfioNodeCount counts[2] = { 0 };

                for (unsigned is_group = 0; is_group < 2; is_group++)
                        for (const char *event = rows[i].events; *event != '\0'; event++) {
                                VfioNodeCount *count = &counts[is_group];

                                if (*event == 'o')
                                        vfio_node_count_opened(count, is_group, 0);
                                else if (*event == 'c')
                                        vfio_node_count_closed(count, is_group);
                                else if (*event == 'C')
                                        vfio_node_count_closed(count, false);
                                else if (*event == 'd')
                                        vfio_node_count_doubt(count);
                                else
                                        count_look(count, *event);
                        }
                cr_assert_eq(left(&counts[0]), rows[i].device, "device: %s", rows[i].events);
                cr_assert_eq(left(&counts[1]), rows[i].group, "group: %s", rows[i].events);
                cr_assert_eq(vfio_node_count_is_open(&counts[0]), rows[i].device > 0);
        }
}

/* Earlier users, and in whose sockets a descriptor of theirs may wait. */
Test(vfio_use, had) {
        static const struct {
                VfioHad had;
                uint32_t uid;
                bool waits;
        } rows[] = {
                { { 0 }, 0, true },
                { { 0 }, 1000, true },
                { { .root = true }, 0, true },
                { { .root = true }, 1000, false },
                { { .others = true }, 0, true },
                { { .others = true }, 1000, true },
                { { .root = true, .others = true }, 0, true },
                { { .root = true, .others = true }, 1000, true },
        };
        VfioHad noted = { 0 };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
                cr_assert_eq(vfio_had_waits_with(&rows[i].had, rows[i].uid), rows[i].waits,
                             "row %zu", i);
        vfio_had_note(&noted, 0);
        cr_assert(noted.root && !noted.others);
        vfio_had_note(&noted, 1000);
        cr_assert(noted.root && noted.others);
}

Test(vfio_use, openers) {
        VfioOpeners openers = { 0 };

        for (unsigned i = 0; i < 2 * VFIO_OPENERS_MAX; i++)
                vfio_openers_note(&openers, i % VFIO_OPENERS_MAX);
        cr_assert_eq(openers.n, VFIO_OPENERS_MAX);
        cr_assert_not(openers.more);
        vfio_openers_note(&openers, 1000);
        cr_assert(openers.more, "one more than are remembered");
        openers = (VfioOpeners){ 0 };
        vfio_openers_note(&openers, UINT32_MAX);
        cr_assert(openers.n == 0 && openers.more, "unknown");
}
