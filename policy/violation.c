#include "policy/violation.h"

#include <glib.h>

char *violation_author_format(const ViolationAuthor *author) {
        const char *separator = author->unit[0] != '\0' ? ", " : "";

        return g_strdup_printf("%s (pid %u, uid %u%s%s)", author->command, author->pid, author->uid,
                               separator, author->unit);
}

bool violation_tally_take(ViolationTally *tally, uint64_t now_usec) {
        if (tally->n_reported == 0 && tally->n_counted == 0)
                tally->since_usec = now_usec;
        if (tally->n_reported < VIOLATION_TALLY_MAX) {
                tally->n_reported++;
                return true;
        }
        tally->n_counted++;
        return false;
}

uint64_t violation_tally_end_usec(const ViolationTally *tally) {
        return tally->since_usec + VIOLATION_TALLY_USEC;
}

unsigned violation_tally_end(ViolationTally *tally, uint64_t now_usec) {
        unsigned n = tally->n_counted;

        *tally = (ViolationTally){ .since_usec = now_usec,
                                   .n_reported = n > 0 ? VIOLATION_TALLY_MAX : 0 };
        return n;
}
