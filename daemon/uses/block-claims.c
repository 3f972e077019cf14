#include "daemon/uses/block-claims.h"

#include "daemon/base/util.h"
#include "daemon/sysfs/sysfs.h"
#include "daemon/uses/block-devices.h"
#include "policy/absence.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glib.h>
#include <string.h>

/* Files below /sys whose text is the path of a block device. What uses it is called `by`, and has
 * the name of a folder of the file, so many parts before its end. A user may have udisks make a
 * loop device of any file, such as /dev/shm/nvme0n1; the others are root's configuration. */
static const struct {
        const char *pattern, *by;
        unsigned part;
        BlockPathTrust trust;
} claim_files[] = {
        /* loop_set_fd() opens the file, and nothing is exclusive. */
        { "block/loop*/loop/backing_file", "the loop device", 2, BLOCK_PATH_OF_USERS },
        { "kernel/config/nvmet/subsystems/*/namespaces/*/device_path", "the NVMe target", 3,
          BLOCK_PATH_OF_ROOT },
        { "kernel/config/nvmet/subsystems/*/passthru/device_path", "the NVMe target", 2,
          BLOCK_PATH_OF_ROOT },
        { "block/zram*/backing_dev", "the compressed memory", 1, BLOCK_PATH_OF_ROOT },
        { "kernel/config/target/core/iblock_*/*/udev_path", "the SCSI target", 1,
          BLOCK_PATH_OF_ROOT },
        { "kernel/config/target/core/fileio_*/*/udev_path", "the SCSI target", 1,
          BLOCK_PATH_OF_ROOT },
        { "kernel/config/target/core/pscsi_*/*/udev_path", "the SCSI target", 1,
          BLOCK_PATH_OF_ROOT },
        { "kernel/config/usb_gadget/*/functions/mass_storage.*/lun.*/file", "the USB gadget", 4,
          BLOCK_PATH_OF_ROOT },
};

/* udev's records of block devices. ZFS opens its disks from within the kernel, and says nowhere in
 * sysfs which. */
#define ZFS_MODULE "/sys/module/zfs"
#define ZFS_MEMBER "\nE:ID_FS_TYPE=zfs_member\n"

/* Calls `visit` for each file that a pattern stands for. A part with a `*` in it stands for all
 * entries of its folder that match. */
typedef int FileVisit(void *context, const char *path);

static int visit_files(const char *folder, const char *pattern, FileVisit *visit, void *context);

static int visit_entries(const char *folder, const char *part, const char *rest, FileVisit *visit,
                         void *context) {
        _cleanup_(closedirp) DIR *dir = opendir(folder);
        const struct dirent *entry;

        if (!dir)
                return errno_means_absent(-errno) ? 0 : -errno;
        while ((errno = 0, entry = readdir(dir))) {
                g_autofree char *path = g_strdup_printf("%s/%s", folder, entry->d_name);
                int r = entry->d_name[0] != '.' && fnmatch(part, entry->d_name, 0) == 0
                                ? visit_files(path, rest, visit, context)
                                : 0;

                if (r < 0)
                        return r;
        }
        return -errno;
}

static int visit_files(const char *folder, const char *pattern, FileVisit *visit, void *context) {
        const char *slash = strchr(pattern, '/'), *rest = slash ? slash + 1 : "";
        g_autofree char *part = g_strndup(pattern, strcspn(pattern, "/"));
        g_autofree char *path = g_strdup_printf("%s/%s", folder, part);

        if (pattern[0] == '\0')
                return visit(context, folder);
        if (strchr(part, '*'))
                return visit_entries(folder, part, rest, visit, context);
        return visit_files(path, rest, visit, context);
}

/* The part of `path` that stands so many parts before its end. */
static char *part_before_end(const char *path, unsigned part) {
        g_auto(GStrv) parts = g_strsplit(path, "/", -1);
        guint n = g_strv_length(parts);

        return g_strdup(part < n ? parts[n - 1 - part] : path);
}

/* A path that is too long for sysfs is no node's, and a user who has made one must not end the
 * search (loop_attr_backing_file_show() in drivers/block/loop.c). */
static bool names_nothing(int r) {
        return errno_means_absent(r) || errno_means_malformed(r) || r == -ENAMETOOLONG;
}

typedef struct ClaimSearch {
        const char *proc;
        BlockClaimVisit *visit;
        void *context;
        unsigned file; /* in `claim_files` */
} ClaimSearch;

static int visit_claim(void *userdata, const char *path) {
        const ClaimSearch *search = userdata;
        g_autofree char *name = part_before_end(path, claim_files[search->file].part);
        g_autofree char *by = g_strdup_printf("%s %s", claim_files[search->file].by, name);
        g_autofree char *device = NULL;
        char value[SYSFS_VALUE_MAX];
        ssize_t n = sysfs_read(AT_FDCWD, path, value, sizeof(value));
        int r;

        if (n < 0)
                return names_nothing((int) n) ? 0 : (int) n;
        r = block_device_by_path(search->proc, value, claim_files[search->file].trust, &device);
        return r > 0 ? search->visit(search->context, device, by) : r;
}

/* "/run/udev/data/b259:0" */
static int visit_record(void *userdata, const char *path) {
        const ClaimSearch *search = userdata;
        g_autofree char *text = NULL, *device = NULL;
        g_autoptr(GError) error = NULL;
        uint32_t major, minor;
        int r;

        if (!g_file_get_contents(path, &text, NULL, &error))
                return g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT) ? 0 : -EIO;
        if (!strstr(text, ZFS_MEMBER) ||
            number_parse_device(strrchr(path, '/') + strlen("/b"), 10, &major, &minor) < 0)
                return 0;
        r = block_device_by_number(major, minor, &device);
        return r > 0 ? search->visit(search->context, device, "a pool of ZFS") : r;
}

int block_claims(const char *proc, BlockClaimVisit *visit, void *context) {
        ClaimSearch search = { .proc = proc, .visit = visit, .context = context };

        for (; search.file < G_N_ELEMENTS(claim_files); search.file++) {
                int r = visit_files("/sys", claim_files[search.file].pattern, visit_claim, &search);

                if (r < 0)
                        return r;
        }
        return access(ZFS_MODULE, F_OK) < 0
                       ? 0
                       : visit_files("/run/udev/data", "b*", visit_record, &search);
}
