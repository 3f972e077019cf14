#include "policy/vfio-use.h"

void vfio_openers_note(VfioOpeners *openers, uint32_t uid) {
        for (unsigned i = 0; i < openers->n; i++)
                if (openers->uids[i] == uid)
                        return;
        if (uid == UINT32_MAX || openers->n == VFIO_OPENERS_MAX)
                openers->more = true;
        else
                openers->uids[openers->n++] = uid;
}

void vfio_node_count_opened(VfioNodeCount *count, bool is_group, uint32_t uid) {
        if (is_group)
                *count = (VfioNodeCount){ .openings = 1, .openers = count->openers };
        else if (count->openings < UINT32_MAX)
                count->openings++;
        vfio_openers_note(&count->openers, uid);
}

void vfio_node_count_closed(VfioNodeCount *count, bool is_last) {
        if (is_last)
                *count = (VfioNodeCount){ 0 };
        else if (count->openings > 0) {
                count->merged = --count->openings > 0;
                count->hidden |= count->openings == 0;
        }
}

void vfio_node_count_doubt(VfioNodeCount *count) {
        count->doubtful = count->openings > 0;
}

void vfio_node_count_assume(VfioNodeCount *count) {
        count->assumed = true;
}

void vfio_node_count_looked(VfioNodeCount *count, bool in_process, VfioWaiting waiting) {
        /* Perhaps by the other node. */
        if (in_process)
                return;
        if ((count->merged && !waiting.of_anybody) || (count->doubtful && !waiting.of_users)) {
                count->openings = 0;
                count->merged = count->doubtful = false;
        }
        count->hidden &= waiting.of_seen;
        count->assumed &= waiting.of_openers;
}

bool vfio_node_count_is_open(const VfioNodeCount *count) {
        return count->openings > 0 || count->hidden || count->assumed;
}

bool vfio_node_count_is_doubtful(const VfioNodeCount *count) {
        return count->merged || count->doubtful || count->hidden || count->assumed;
}

bool vfio_node_count_is_evident(const VfioNodeCount *count, VfioWaiting waiting) {
        return (count->openings > 0 && (!count->doubtful || waiting.of_users)) ||
               (count->hidden && waiting.of_seen);
}

void vfio_had_note(VfioHad *had, uint32_t uid) {
        had->root |= uid == 0;
        had->others |= uid != 0;
}

bool vfio_had_waits_with(const VfioHad *had, uint32_t uid) {
        return uid == 0 || had->others || !had->root;
}

/* The device is enabled, or a node is open, and no process has it. */
static VfioUseStep step_somewhere(const VfioUseSigns *signs) {
        if (!signs->was_lost)
                return VFIO_USE_SEARCH;
        /* A user may have a process that cannot be looked at, for as long as they like: what is in
         * use must not be reported to be free meanwhile, and what is free must not be kept. */
        if (signs->failed && signs->evident && !signs->reported)
                return VFIO_USE_REPORT;
        /* The last process is still reported while the kernel resets the device. */
        if (!signs->searched || (signs->reported && signs->may_close))
                return VFIO_USE_KEEP;
        return VFIO_USE_REPORT;
}

VfioUseStep vfio_use_step(const VfioUseSigns *signs) {
        switch (signs->finding) {
        case VFIO_FOUND_PROCESS:
                return VFIO_USE_REPORT;
        case VFIO_FOUND_SOMEWHERE:
                return step_somewhere(signs);
        default:
                /* What was held and not closed is held by another process. What was reported by
                 * evidence alone ends with it, when no search may ever be complete. */
                return !signs->reported || signs->searched || signs->group_closed ||
                                       (signs->failed && !signs->by_process)
                               ? VFIO_USE_REPORT
                               : VFIO_USE_SEARCH;
        }
}
