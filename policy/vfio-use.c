#include "policy/vfio-use.h"

void vfio_node_count_opened(VfioNodeCount *count, bool is_group) {
        if (is_group)
                count->openings = 1;
        else if (count->openings < UINT32_MAX)
                count->openings++;
}

void vfio_node_count_closed(VfioNodeCount *count, bool is_group) {
        if (is_group)
                count->openings = 0;
        else if (count->openings > 0)
                count->openings--;
}

void vfio_node_count_doubt(VfioNodeCount *count) {
        count->doubtful = count->openings > 0;
}

void vfio_node_count_looked(VfioNodeCount *count, bool in_process) {
        if (count->doubtful && !in_process)
                count->openings = 0;
        count->doubtful = false;
}

bool vfio_node_count_is_open(const VfioNodeCount *count) {
        return count->openings > 0;
}

/* The device is enabled, or a node is open, and no process has it. */
static VfioUseStep step_somewhere(const VfioUseSigns *signs) {
        if (!signs->was_lost)
                return VFIO_USE_SEARCH;
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
                /* What was held and not closed is held by another process. */
                return !signs->reported || signs->searched || signs->group_closed ? VFIO_USE_REPORT
                                                                                  : VFIO_USE_SEARCH;
        }
}
