#include "daemon/scan/vfio-marks.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MARKS_MAX  4096
#define PER_DEVICE 4
/* Of a file handle; tmpfs has 12. */
#define HANDLE_MAX 64

/* How fanotify identifies a node. */
typedef struct NodeId {
        uint64_t file_system;
        int32_t type;
        uint32_t size;
        uint8_t handle[HANDLE_MAX];
} NodeId;

typedef struct Mark {
        NodeId id;
        dev_t device;
        uint64_t age;                  /* the later, the higher */
        char name[VFIO_NODE_NAME_MAX]; /* when it was added; "" unknown */
} Mark;

/* The scanner writes, and the daemon reads. An odd version is that of an entry that is being
 * written. */
typedef struct MarkTable {
        _Atomic uint32_t n;
        uint64_t n_added;
        struct {
                _Atomic uint32_t version;
                Mark mark;
        } entries[MARKS_MAX];
} MarkTable;

struct VfioMarks {
        int fd;
        MarkTable *table;
};

int vfio_marks_new(VfioMarks **ret) {
        VfioMarks *marks = g_new0(VfioMarks, 1);
        int r = 0;

        marks->fd = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_CLOEXEC | FAN_NONBLOCK, 0);
        if (marks->fd < 0)
                r = -errno;
        marks->table = mmap(NULL, sizeof(*marks->table), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (marks->table == MAP_FAILED) {
                marks->table = NULL;
                r = -ENOMEM;
        }
        if (r < 0)
                vfio_marks_free(marks);
        else
                *ret = marks;
        return r;
}

VfioMarks *vfio_marks_free(VfioMarks *marks) {
        if (!marks)
                return NULL;
        closep(&marks->fd);
        if (marks->table)
                (void) munmap(marks->table, sizeof(*marks->table));
        g_free(marks);
        return NULL;
}

int vfio_marks_fd(const VfioMarks *marks) {
        return marks->fd;
}

int vfio_marks_read_node(dev_t device, VfioNode *ret, char *ret_name) {
        char path[64], target[PATH_MAX];
        const char *last;
        ssize_t n;
        int r;

        snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", major(device), minor(device));
        n = readlink(path, target, sizeof(target) - 1);
        if (n < 0)
                return -errno;
        target[n] = '\0';
        r = vfio_node_parse(target, ret);
        if (r < 0 || !ret_name)
                return r;
        last = strrchr(target, '/');
        if (!last || strlen(last + 1) >= VFIO_NODE_NAME_MAX)
                return -EINVAL;
        g_strlcpy(ret_name, last + 1, VFIO_NODE_NAME_MAX);
        return 0;
}

/* --- the scanner */

/* Returns 0, or a negative errno. */
static int read_id(int dirfd, const char *name, NodeId *ret) {
        union {
                struct file_handle handle;
                uint8_t bytes[sizeof(struct file_handle) + HANDLE_MAX];
        } buffer = { .handle.handle_bytes = HANDLE_MAX };
        NodeId id = { 0 };
        struct statfs st;
        char path[64];
        int mount;

        snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name);
        if (statfs(path, &st) < 0 ||
            name_to_handle_at(dirfd, name, &buffer.handle, &mount, AT_SYMLINK_FOLLOW) < 0)
                return -errno;
        memcpy(&id.file_system, &st.f_fsid, sizeof(id.file_system));
        id.type = buffer.handle.handle_type;
        id.size = buffer.handle.handle_bytes;
        memcpy(id.handle, buffer.handle.f_handle, id.size);
        *ret = id;
        return 0;
}

/* Where its entry is, or belongs; MARKS_MAX: there is no room. */
static uint32_t find_place(const MarkTable *table, const NodeId *id, dev_t device) {
        uint32_t n = atomic_load(&table->n), n_of_device = 0, oldest = MARKS_MAX;

        for (uint32_t i = 0; i < n; i++) {
                const Mark *mark = &table->entries[i].mark;

                if (memcmp(&mark->id, id, sizeof(*id)) == 0)
                        return i;
                if (mark->device != device)
                        continue;
                n_of_device++;
                if (oldest == MARKS_MAX || mark->age < table->entries[oldest].mark.age)
                        oldest = i;
        }
        return n_of_device >= PER_DEVICE || n == MARKS_MAX ? oldest : n;
}

static void write_entry(MarkTable *table, uint32_t place, const NodeId *id, dev_t device) {
        Mark mark = { .id = *id, .device = device, .age = ++table->n_added };
        /* A scanner that was killed may have left it odd. */
        uint32_t version = atomic_load(&table->entries[place].version) | 1;
        VfioNode node;

        (void) vfio_marks_read_node(device, &node, mark.name);
        atomic_store(&table->entries[place].version, version);
        atomic_thread_fence(memory_order_seq_cst);
        table->entries[place].mark = mark;
        atomic_store(&table->entries[place].version, version + 1);
        if (place == atomic_load(&table->n))
                atomic_store(&table->n, place + 1);
}

void vfio_marks_add(VfioMarks *marks, int dirfd, const char *name, dev_t device) {
        uint32_t place;
        NodeId id;

        if (read_id(dirfd, name, &id) < 0)
                return;
        place = find_place(marks->table, &id, device);
        if (place == MARKS_MAX)
                return;
        if (place == atomic_load(&marks->table->n) ||
            atomic_load(&marks->table->entries[place].version) % 2 != 0 ||
            memcmp(&marks->table->entries[place].mark.id, &id, sizeof(id)) != 0)
                write_entry(marks->table, place, &id, device);
        (void) fanotify_mark(marks->fd, FAN_MARK_ADD, FAN_OPEN | FAN_CLOSE, dirfd, name);
}

/* --- the daemon */

static bool find_mark(const MarkTable *table, const NodeId *id, Mark *ret) {
        uint32_t n = MIN(atomic_load(&table->n), MARKS_MAX);

        for (uint32_t i = 0; i < n; i++) {
                uint32_t version = atomic_load(&table->entries[i].version);

                if (table->entries[i].mark.id.file_system != id->file_system)
                        continue;
                *ret = table->entries[i].mark;
                atomic_thread_fence(memory_order_seq_cst);
                if (version % 2 == 0 && atomic_load(&table->entries[i].version) == version &&
                    memcmp(&ret->id, id, sizeof(*id)) == 0)
                        return true;
        }
        return false;
}

bool vfio_marks_name(const VfioMarks *marks, const struct fanotify_event_info_fid *info,
                     char ret[static VFIO_NODE_NAME_MAX]) {
        struct file_handle handle;
        NodeId id = { 0 };
        VfioNode node;
        Mark mark;
        int r;

        memcpy(&handle, info->handle, sizeof(handle));
        if (handle.handle_bytes > HANDLE_MAX)
                return false;
        memcpy(&id.file_system, &info->fsid, sizeof(id.file_system));
        id.type = handle.handle_type;
        id.size = handle.handle_bytes;
        memcpy(id.handle, info->handle + sizeof(handle), id.size);
        if (!find_mark(marks->table, &id, &mark))
                return false;
        /* The number may be another device's by now. While a driver is being unbound it is
         * nobody's, and the name of a device's own node stays. */
        r = vfio_marks_read_node(mark.device, &node, ret);
        if (r == -ENOENT && g_str_has_prefix(mark.name, "vfio")) {
                memcpy(ret, mark.name, VFIO_NODE_NAME_MAX);
                return true;
        }
        return r >= 0;
}
