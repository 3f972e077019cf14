#include "policy/root-share.h"

bool root_share_left(unsigned n, unsigned max, uint32_t uid) {
        return n < (uid == 0 ? max : max - ROOT_SHARE);
}
