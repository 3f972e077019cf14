#include "daemon/base/folder.h"

#include "daemon/base/util.h"
#include "policy/absence.h"

int folder_foreach(const char *path, FolderVisit *visit, void *context) {
        _cleanup_(closedirp) DIR *dir = opendir(path);
        const struct dirent *entry;

        if (!dir)
                return errno_means_absent(-errno) ? 0 : -errno;
        while ((errno = 0, entry = readdir(dir))) {
                int r = entry->d_name[0] == '.' ? 0 : visit(context, entry->d_name);

                if (r < 0)
                        return r;
        }
        return -errno;
}
