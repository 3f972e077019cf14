#include "daemon/usage/vfio-openings.h"

#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define MODULE "/sys/module/vfio"

struct VfioOpenings {
        GHashTable *counts; /* name -> VfioNodeCount*, owned */
};

static bool is_group(const char *name) {
        return g_ascii_isdigit(name[0]);
}

VfioOpenings *vfio_openings_new(void) {
        VfioOpenings *openings = g_new0(VfioOpenings, 1);

        openings->counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        return openings;
}

VfioOpenings *vfio_openings_free(VfioOpenings *openings) {
        if (!openings)
                return NULL;
        g_hash_table_unref(openings->counts);
        g_free(openings);
        return NULL;
}

static VfioNodeCount *vfio_openings_find_or_make(VfioOpenings *openings, const char *name) {
        VfioNodeCount *count = g_hash_table_lookup(openings->counts, name);

        if (!count) {
                count = g_new0(VfioNodeCount, 1);
                g_hash_table_insert(openings->counts, g_strdup(name), count);
        }
        return count;
}

static void drop_if_closed(VfioOpenings *openings, const char *name, const VfioNodeCount *count) {
        if (!vfio_node_count_is_open(count))
                (void) g_hash_table_remove(openings->counts, name);
}

void vfio_openings_opened(VfioOpenings *openings, const char *name, uint32_t uid) {
        vfio_node_count_opened(vfio_openings_find_or_make(openings, name), is_group(name), uid);
}

void vfio_openings_closed(VfioOpenings *openings, const char *name, bool again) {
        VfioNodeCount *count = g_hash_table_lookup(openings->counts, name);

        if (!count)
                return;
        vfio_node_count_closed(count, is_group(name) && !again);
        drop_if_closed(openings, name, count);
}

void vfio_openings_forget(VfioOpenings *openings, const char *name) {
        (void) g_hash_table_remove(openings->counts, name);
}

void vfio_openings_doubt(VfioOpenings *openings, const char *name) {
        VfioNodeCount *count = g_hash_table_lookup(openings->counts, name);

        if (count)
                vfio_node_count_doubt(count);
}

void vfio_openings_assume(VfioOpenings *openings, const char *name) {
        vfio_node_count_assume(vfio_openings_find_or_make(openings, name));
}

const VfioNodeCount *vfio_openings_get(const VfioOpenings *openings, const char *name) {
        return g_hash_table_lookup(openings->counts, name);
}

/* `prefix`: "noiommu-" or "", of a group. */
static char *path_of(const char *prefix, const char *name) {
        g_autofree char *file = g_strconcat(prefix, name, NULL);

        return g_build_filename(process_system_dev(), "vfio", is_group(name) ? "" : "devices", file,
                                NULL);
}

static bool has_gone(const char *prefix, const char *name) {
        g_autofree char *path = path_of(prefix, name);
        struct stat st;

        return stat(path, &st) < 0 && errno == ENOENT;
}

void vfio_openings_forget_gone(VfioOpenings *openings, const char *name) {
        if (g_hash_table_contains(openings->counts, name) && has_gone("", name) &&
            (!is_group(name) || has_gone("noiommu-", name)))
                vfio_openings_forget(openings, name);
}

VfioNodeAccess vfio_openings_access(const char *name) {
        g_autofree char *path = path_of("", name);
        VfioNodeAccess access = { 0 };
        struct stat st;

        if (stat(path, &st) < 0)
                return access;
        access.uid = st.st_uid;
        access.gid = st.st_gid;
        access.everybody = (st.st_mode & 06) != 0;
        access.group = (st.st_mode & 060) != 0;
        /* With a list the bits of the group are its mask (acl(5)). */
        if (access.group && getxattr(path, "system.posix_acl_access", NULL, 0) > 0)
                access.everybody = true;
        return access;
}

void vfio_openings_looked(VfioOpenings *openings, const char *name, bool in_process,
                          VfioWaiting waiting) {
        VfioNodeCount *count = g_hash_table_lookup(openings->counts, name);

        if (!count)
                return;
        vfio_node_count_looked(count, in_process, waiting);
        drop_if_closed(openings, name, count);
}

static int count_entries(const char *path) {
        _cleanup_(closedirp) DIR *dir = opendir(path);
        const struct dirent *entry;
        int n = 0;

        if (!dir)
                return -errno;
        while ((errno = 0, entry = readdir(dir)))
                n += entry->d_name[0] != '.';
        return errno != 0 ? -errno : n;
}

/* Each open file of a group, a device, or the container has a reference to the module (fops_get()),
 * and so has each module that uses it; these are its holders. */
static bool nothing_is_open(void) {
        char value[SYSFS_VALUE_MAX];
        uint64_t references;
        int n_modules = count_entries(MODULE "/holders");

        return n_modules >= 0 && sysfs_read(AT_FDCWD, MODULE "/refcnt", value, sizeof(value)) > 0 &&
               number_parse(value, 10, INT_MAX, &references) >= 0 &&
               references == (uint64_t) n_modules;
}

void vfio_openings_update(VfioOpenings *openings) {
        if (g_hash_table_size(openings->counts) > 0 && nothing_is_open())
                g_hash_table_remove_all(openings->counts);
}

bool vfio_openings_is_open(const VfioOpenings *openings, const char *name) {
        return g_hash_table_contains(openings->counts, name);
}

static gboolean is_doubtful(gpointer name, gpointer count, gpointer unused) {
        return vfio_node_count_is_doubtful(count);
}

bool vfio_openings_is_doubtful(const VfioOpenings *openings, const char *name) {
        const VfioNodeCount *count = name ? g_hash_table_lookup(openings->counts, name) : NULL;

        return name ? count && vfio_node_count_is_doubtful(count)
                    : g_hash_table_find(openings->counts, is_doubtful, NULL) != NULL;
}

uint32_t vfio_openings_of(const VfioOpenings *openings, const char *name) {
        const VfioNodeCount *count = g_hash_table_lookup(openings->counts, name);

        return count ? MAX(count->openings, (uint32_t) count->hidden) : 0;
}

void vfio_openings_adopt(VfioOpenings *openings, const char *name, uint32_t n) {
        VfioNodeCount *count;

        if (n == 0)
                return;
        count = vfio_openings_find_or_make(openings, name);
        count->openings = MAX(count->openings, n);
        vfio_node_count_doubt(count);
}

/* --- state.json */

/* "vfio3", or nothing. */
static bool is_name(const char *name) {
        const char *digits = g_str_has_prefix(name, "vfio") ? name + strlen("vfio") : "";
        size_t n = strspn(digits, "0123456789");

        return name[0] == '\0' || (n > 0 && n < 10 && digits[n] == '\0');
}

static int read_opening(StateReader *reader, JsonObject *object, void *ret) {
        const char *name = state_section_text(object, "name");
        StateOpening *record = ret;

        if (!name || !is_name(name) || state_section_address(object, &record->key) < 0 ||
            state_section_number(object, "inode", STATE_ID_MAX, &record->inode) < 0 ||
            state_section_number(object, "node", STATE_ID_MAX, &record->node) < 0 ||
            state_section_number32(object, "own", INT32_MAX, &record->own) < 0 ||
            state_section_number32(object, "group", INT32_MAX, &record->group) < 0 ||
            !state_section_is_new_number(reader, "opening-of", record->key))
                return -EBADMSG;
        record->in_process = state_section_flag(object, "in-process");
        record->had.root = state_section_flag(object, "had-root");
        record->had.others = state_section_flag(object, "had-others");
        record->name = g_strdup(name);
        return 0;
}

static void write_opening(StateWriter *writer, const void *data) {
        const StateOpening *record = data;

        state_section_add_address(writer, record->key);
        state_section_add_number(writer, "inode", record->inode);
        state_section_add_number(writer, "node", record->node);
        state_section_add_text(writer, "name", record->name);
        state_section_add_number(writer, "own", record->own);
        state_section_add_number(writer, "group", record->group);
        state_section_add_flag(writer, "in-process", record->in_process);
        state_section_add_flag(writer, "had-root", record->had.root);
        state_section_add_flag(writer, "had-others", record->had.others);
}

static void clear_opening(void *data) {
        StateOpening *record = data;

        g_free(record->name);
}

const StateSection openings_section = {
        .name = "openings",
        .record_size = sizeof(StateOpening),
        .read = read_opening,
        .write = write_opening,
        .clear = clear_opening,
};
