#include "daemon/sysfs/virtfn-links.h"

#include "daemon/base/util.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"
#include "policy/number.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int compare_links(gconstpointer a, gconstpointer b) {
        uint32_t x = ((const VirtfnLink *) a)->index, y = ((const VirtfnLink *) b)->index;

        return (x > y) - (x < y);
}

/* Adds the entry `name` of a PF's directory to `links` if it is a link to a VF. Returns 1 if it is,
 * existing or dangling; 0 if not; or a negative errno when that cannot be read. One whose VF
 * `inventory`, which may be NULL, has does not dangle. */
static int read_virtfn(int dirfd, const char *name, const Inventory *inventory, GArray *links) {
        char target[NAME_MAX + 1];
        VirtfnLink link;
        PciAddress vf;
        uint64_t index;
        ssize_t n;

        if (!g_str_has_prefix(name, "virtfn") ||
            number_parse(name + strlen("virtfn"), 10, UINT16_MAX, &index) < 0)
                return 0;
        n = sysfs_read_link(dirfd, name, target, sizeof(target));
        if (n < 0)
                return errno_means_absent((int) n) || errno_means_malformed((int) n) ? 0 : (int) n;
        if (pci_address_parse(target, &vf) < 0)
                return 0;
        link = (VirtfnLink){ .vf = pci_address_key(vf), .index = (uint32_t) index };
        if (!(inventory && inventory_get(inventory, link.vf)) &&
            faccessat(dirfd, name, F_OK, 0) < 0)
                return errno_means_absent(-errno) ? 1 : -errno;
        g_array_append_val(links, link);
        return 1;
}

int virtfn_links_read(int dirfd, GArray **ret, uint16_t *ret_n) {
        g_autoptr(GArray) links = g_array_new(FALSE, FALSE, sizeof(VirtfnLink));
        _cleanup_(closedirp) DIR *dir = opendir_at(dirfd, ".");
        const struct dirent *entry;
        uint16_t n = 0;
        int r;

        if (!dir)
                return -errno;
        while ((errno = 0, entry = readdir(dir))) {
                r = read_virtfn(dirfd, entry->d_name, NULL, links);
                if (r < 0)
                        return r;
                n = (uint16_t) (n + r);
        }
        if (errno != 0)
                return -errno;

        g_array_sort(links, compare_links);
        *ret_n = n;
        *ret = links->len > 0 ? g_steal_pointer(&links) : NULL;
        return 0;
}

#define VIRTFN_NAME_MAX (sizeof("virtfn") + 10)

static const char *virtfn_name(uint32_t index, char ret[static VIRTFN_NAME_MAX]) {
        (void) snprintf(ret, VIRTFN_NAME_MAX, "virtfn%" PRIu32, index);
        return ret;
}

/* Copies those links of `known` that are there. One whose VF is known is there, unless the one
 * before it has gone. */
static int keep_virtfns(int dirfd, const Inventory *inventory, const GArray *known, GArray *links) {
        bool gone = false;

        for (guint i = 0; known && i < known->len; i++) {
                const VirtfnLink *link = &g_array_index(known, VirtfnLink, i);
                char name[VIRTFN_NAME_MAX];

                if (gone || !inventory_get(inventory, link->vf)) {
                        virtfn_name(link->index, name);
                        gone = faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
                        if (gone ? !errno_means_absent(-errno)
                                 : faccessat(dirfd, name, F_OK, 0) < 0)
                                return -EAGAIN; /* it dangles, or cannot be looked at */
                }
                if (!gone)
                        g_array_append_vals(links, link, 1);
        }
        return 0;
}

/* Appends the links from number `next` on, until there is one for each VF of `wanted`. */
static int find_virtfns(int dirfd, const Inventory *inventory, uint32_t next, const GArray *wanted,
                        GArray *links) {
        for (guint i = 0; i < wanted->len; i++)
                while (!virtfn_links_have(links, g_array_index(wanted, PciKey, i))) {
                        char name[VIRTFN_NAME_MAX];
                        guint before = links->len;
                        int r = read_virtfn(dirfd, virtfn_name(next++, name), inventory, links);

                        if (r < 0 || links->len == before)
                                return r < 0 ? r : -EAGAIN;
                }
        return 0;
}

int virtfn_links_read_changes(const Inventory *inventory, const Function *pf, const GArray *wanted,
                              GArray **ret) {
        _cleanup_(closep) int dirfd = sysfs_open_function(function_address(pf));
        g_autoptr(GArray) links = g_array_new(FALSE, FALSE, sizeof(VirtfnLink));
        const GArray *known = pf->facts.virtfns;
        guint n = known ? known->len : 0;
        struct stat st;
        int r;

        if (dirfd < 0 || fstat(dirfd, &st) < 0)
                return dirfd < 0 ? dirfd : -errno;
        if (st.st_ino != pf->facts.inode || pf->facts.n_virtfn_links != n)
                return -EAGAIN;
        r = keep_virtfns(dirfd, inventory, known, links);
        if (r >= 0)
                r = find_virtfns(dirfd, inventory,
                                 n > 0 ? g_array_index(known, VirtfnLink, n - 1).index + 1 : 0,
                                 wanted, links);
        if (r < 0)
                return r;
        *ret = links->len > 0 ? g_steal_pointer(&links) : NULL;
        return 0;
}

bool virtfn_links_have(const GArray *links, PciKey vf) {
        for (guint i = 0; links && i < links->len; i++)
                if (g_array_index(links, VirtfnLink, i).vf == vf)
                        return true;
        return false;
}
