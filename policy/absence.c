#include "policy/absence.h"

#include <errno.h>

bool errno_means_absent(int r) {
        return r == -ENOENT || r == -ENODEV || r == -ENXIO;
}

bool errno_means_malformed(int r) {
        return r == -EFBIG || r == -EISDIR || r == -ENOTDIR || r == -ELOOP || r == -EINVAL;
}

bool errno_means_lack(int r) {
        return r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}
