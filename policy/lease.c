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

bool lease_is_over(LeaseKind kind, const LeaseSigns *signs) {
        if (!signs->opened)
                return false;
        if (signs->closed && kind == LEASE_KIND_GROUP)
                return true;
        return (signs->closed || signs->missed) && !signs->in_flight && signs->looked &&
               !signs->held;
}
