#include "policy/look-share.h"

#include <glib.h>

uint64_t look_share_left(const LookShare *share, uint32_t uid, uint64_t used, uint64_t of_all,
                         uint64_t spent_usec) {
        uint64_t own = share->of_user - MIN(used, share->of_user);
        uint64_t common =
                spent_usec > share->usec ? 0 : share->of_users - MIN(of_all, share->of_users);

        return uid == 0 ? UINT64_MAX : MIN(own, MAX(common, share->of_process));
}
