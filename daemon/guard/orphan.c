#include "daemon/guard/orphan.h"

#include "daemon/base/log.h"
#include "daemon/sysfs/sysfs.h"

#include <unistd.h>

void orphan_report(const PartContext *context, Function *vf) {
        PciAddress address = function_address(vf);
        g_autofree char *path = sysfs_function_path(address, NULL);

        if (!function_in_use(vf) || access(path, F_OK) < 0)
                return;
        log_full(LOG_WARNING, &address, LOG_ID_EXTERNAL_REMOVAL,
                 "its physical function has gone while it is in use");
        context->host->ask_release(context->host_context, vf, 0);
}
