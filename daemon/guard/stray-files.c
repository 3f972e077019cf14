#include "daemon/guard/stray-files.h"

#include "daemon/base/log.h"
#include "daemon/sysfs/file-mode.h"

#include <sys/stat.h>

void stray_files_unlock(const ProtectedFiles *files, Reserve *reserve, const Function *function,
                        GPtrArray *paths) {
        for (LockFile which = 0; which < _LOCK_FILE_MAX; which++) {
                g_autofree char *path = NULL;
                struct stat st;
                int r;

                if (file_mode_path(function, which, reserve, &path) < 0 ||
                    protected_files_know(files, path) || lstat(path, &st) < 0 ||
                    !S_ISREG(st.st_mode) || (st.st_mode & 0222) != 0)
                        continue;
                r = file_mode_set(path, st.st_ino, lock_file_kernel_mode(which), reserve);
                if (r < 0)
                        log_error("Failed to unlock %s: %s", path, g_strerror(-r));
                else if (paths)
                        g_ptr_array_add(paths, g_steal_pointer(&path));
        }
}
