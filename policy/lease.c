#include "policy/lease.h"

#include <string.h>

static const char *const kind_names[_LEASE_KIND_MAX] = {
        [LEASE_KIND_GROUP] = "group",
        [LEASE_KIND_DEVICE] = "device",
};

const char *lease_kind_to_string(LeaseKind kind) {
        return kind_names[kind];
}

LeaseKind lease_kind_from_string(const char *word) {
        for (LeaseKind kind = 0; kind < _LEASE_KIND_MAX; kind++)
                if (strcmp(kind_names[kind], word) == 0)
                        return kind;
        return _LEASE_KIND_INVALID;
}

LeaseKind lease_choose_kind(const LeaseNodes *nodes, LeaseKind wanted) {
        bool device = nodes->device && nodes->iommufd;

        if (device && wanted != LEASE_KIND_GROUP)
                return LEASE_KIND_DEVICE;
        if (nodes->group && wanted != LEASE_KIND_DEVICE)
                return LEASE_KIND_GROUP;
        return (LeaseKind) -EOPNOTSUPP;
}

/* Of a lease whose descriptor was made and has been read, once all processes were looked at. */
static const LeaseStep steps[][2] = {
        /* by `held`:                 not closed,         closed or missed */
        [LEASE_HELD_BY_NOBODY] = { LEASE_STEP_SEARCH, LEASE_STEP_END },
        [LEASE_HELD_SOMEWHERE] = { LEASE_STEP_SEARCH, LEASE_STEP_SEARCH },
        [LEASE_HELD_BY_PROCESS] = { LEASE_STEP_CONFIRM, LEASE_STEP_CONFIRM },
};

LeaseStep lease_step(LeaseKind kind, const LeaseSigns *signs) {
        if (!signs->opened)
                return LEASE_STEP_WAIT;
        if (signs->closed && kind == LEASE_KIND_GROUP && !signs->enabled)
                return LEASE_STEP_END;
        if (!signs->looked || (signs->in_flight && signs->held != LEASE_HELD_BY_PROCESS))
                return LEASE_STEP_WAIT;
        return steps[signs->held][signs->closed || signs->missed];
}
