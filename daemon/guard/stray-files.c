#include "daemon/guard/stray-files.h"

#include "daemon/base/log.h"
#include "daemon/sysfs/file-mode.h"
#include "policy/absence.h"

#include <errno.h>
#include <sys/stat.h>

/* Returns 1 when it was unlocked, 0 when there is nothing to unlock, or a negative errno; the path
 * in any case if it is known. */
static int unlock_stray(const ProtectedFiles *files, Reserve *reserve, const Function *function,
                        LockFile which, char **ret_path) {
        int r = file_mode_path(function, which, reserve, ret_path);
        struct stat st;

        if (r < 0)
                return r;
        if (protected_files_know(files, *ret_path))
                return 0;
        if (lstat(*ret_path, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || (st.st_mode & 0222) != 0)
                return 0;
        r = file_mode_set(*ret_path, st.st_ino, lock_file_kernel_mode(which), reserve);
        return r < 0 ? r : 1;
}

void stray_files_unlock(const ProtectedFiles *files, Reserve *reserve, const Function *function,
                        GPtrArray *paths, GPtrArray *failures) {
        char address[PCI_ADDRESS_STRING_MAX];

        pci_address_format(function_address(function), address);
        for (LockFile which = 0; which < _LOCK_FILE_MAX; which++) {
                g_autofree char *path = NULL;
                int r = unlock_stray(files, reserve, function, which, &path);

                if (r > 0 && paths)
                        g_ptr_array_add(paths, g_steal_pointer(&path));
                if (r >= 0 || errno_means_absent(r))
                        continue;
                if (!path)
                        path = g_strdup_printf("%s of %s", lock_file_to_string(which), address);
                log_error("Failed to unlock %s: %s", path, g_strerror(-r));
                if (failures)
                        g_ptr_array_add(failures, g_strdup_printf("%s stays locked: %s", path,
                                                                  g_strerror(-r)));
        }
}
