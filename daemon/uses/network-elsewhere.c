#include "daemon/uses/network-elsewhere.h"

#include "daemon/base/folder.h"
#include "daemon/base/util.h"
#include "daemon/uses/device-path.h"
#include "policy/absence.h"
#include "policy/number.h"
#include "policy/proc-text.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define LOOK_USEC      (1000 * 1000ULL)
#define NAMESPACES_MAX 4096
/* Of interfaces in one namespace: a container may make as many as it likes. */
#define MESSAGES_MAX 4096

#define BUSES        "/sys/bus"
/* Those whose devices have network interfaces, and are PCI functions or below one. */
static const char *const buses[] = { "pci", "virtio", "auxiliary", "usb" };

/* Where tools keep namespaces without a process: ip-netns(8) and CNI; Docker. */
static const char *const folders[] = { "run/netns", "run/docker/netns" };

typedef struct Search {
        const char *proc;
        int host;
        NetworkFind *find;
        GArray *found;    /* of NetworkElsewhere */
        GHashTable *seen; /* inode of a namespace */
        uint64_t end_usec;
        bool ended_early;
        int error; /* what was not looked at for lack of descriptors or memory may be a use */
} Search;

/* --- what the host's sysfs shows */

/* Calls `visit` for each device of a bus whose directory has the folder `folder` ("net") with
 * nothing in it. */
typedef struct EmptyFolders {
        const char *bus, *folder;
        void (*visit)(GArray *found, PciKey key);
        GArray *found;
} EmptyFolders;

/* Returns 1 if the folder is there and shows nothing; 0 if not; or a negative errno. */
static int is_folder_empty(const char *device, const char *folder) {
        g_autofree char *path = g_strdup_printf("%s/%s", device, folder);
        _cleanup_(closedirp) DIR *dir = opendir(path);
        const struct dirent *entry;

        if (!dir)
                return errno_means_absent(-errno) ? 0 : -errno;
        while ((errno = 0, entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        return 0;
        return errno != 0 ? -errno : 1;
}

static int visit_if_empty(void *context, const char *name) {
        const EmptyFolders *search = context;
        g_autofree char *device = g_strdup_printf(BUSES "/%s/devices/%s", search->bus, name);
        int r = is_folder_empty(device, search->folder);
        PciKey key;

        if (r > 0)
                r = device_path_find(device, &key);
        if (r > 0)
                search->visit(search->found, key);
        return r < 0 ? r : 0;
}

static int visit_buses(EmptyFolders search) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < G_N_ELEMENTS(buses); i++) {
                g_autofree char *path = g_strdup_printf(BUSES "/%s/devices", buses[i]);

                search.bus = buses[i];
                r = folder_foreach(path, visit_if_empty, &search);
        }
        return r;
}

static void add_missing(GArray *missing, PciKey key) {
        const NetworkElsewhere one = { .key = key };

        g_array_append_val(missing, one);
}

int network_elsewhere_missing(GArray *missing) {
        return visit_buses(
                (EmptyFolders){ .folder = "net", .visit = add_missing, .found = missing });
}

static void add_rdma(GArray *keys, PciKey key) {
        g_array_append_val(keys, key);
}

int network_elsewhere_rdma(GArray *keys) {
        return visit_buses(
                (EmptyFolders){ .folder = "infiniband", .visit = add_rdma, .found = keys });
}

/* --- where they are */

static bool is_over(Search *search) {
        if (now_usec() > search->end_usec || g_hash_table_size(search->seen) > NAMESPACES_MAX)
                search->ended_early = true;
        return search->ended_early;
}

static NetworkElsewhere *missing_at(const Search *search, PciKey key) {
        for (guint i = 0; i < search->found->len; i++) {
                NetworkElsewhere *one = &g_array_index(search->found, NetworkElsewhere, i);

                if (one->key == key && one->name[0] == '\0' && one->lower == 0)
                        return one;
        }
        return NULL;
}

static void add_found(const Search *search, const NetworkLink *link, const char *where,
                      uint32_t pid) {
        NetworkElsewhere one = { .key = link->key, .pid = pid };
        NetworkElsewhere *missing = missing_at(search, link->key);

        g_strlcpy(one.name, link->name, sizeof(one.name));
        g_strlcpy(one.where, where, sizeof(one.where));
        if (missing)
                *missing = one;
        else
                g_array_append_val(search->found, one);
}

/* Other failures are of the namespace: its owner can cause them, and hides only what is there. */
static void note_failure(Search *search, int r) {
        if (errno_means_lack(r))
                search->error = r;
}

/* One that has no function of its own. */
static void add_upper(const Search *search, const NetworkLink *link, const char *where,
                      uint32_t pid) {
        NetworkElsewhere one = { .lower = link->lower_elsewhere, .pid = pid };

        g_strlcpy(one.name, link->name, sizeof(one.name));
        g_strlcpy(one.where, where, sizeof(one.where));
        g_array_append_val(search->found, one);
}

/* The socket is of the other namespace; `links` are its interfaces. */
static void add_uppers(const Search *search, int socket, const NetworkLinks *links,
                       const char *where, uint32_t pid) {
        int32_t host;

        if (netlink_find_nsid(socket, search->host, &host) <= 0)
                return;
        for (guint i = 0; i < links->all->len; i++) {
                const NetworkLink *link = &g_array_index(links->all, NetworkLink, i);

                if (link->lower_elsewhere > 0 && link->lower_nsid == host)
                        add_upper(search, link, where, pid);
        }
}

/* Opens a socket of the namespace. Returns it, or a negative errno. */
static int open_socket_in(const Search *search, int fd) {
        int socket;

        if (setns(fd, CLONE_NEWNET) < 0)
                return -errno;
        socket = netlink_open(0);
        /* Nothing right can come of a look from the wrong namespace. */
        if (setns(search->host, CLONE_NEWNET) < 0)
                _exit(EXIT_FAILURE);
        return socket;
}

/* What cannot be looked at there stays where sysfs has shown it: elsewhere. */
static void look_into(Search *search, int fd, const char *where, uint32_t pid) {
        g_auto(NetworkLinks) links = { 0 };
        _cleanup_(closep) int socket = open_socket_in(search, fd);

        if (socket < 0) {
                note_failure(search, socket);
                return;
        }
        network_links_init(&links, search->find);
        note_failure(search, netlink_dump(socket, RTM_GETLINK, AF_UNSPEC, MESSAGES_MAX,
                                          network_links_add, &links));
        for (guint i = 0; i < links.all->len; i++) {
                const NetworkLink *link = &g_array_index(links.all, NetworkLink, i);

                if (link->on_function)
                        add_found(search, link, where, pid);
        }
        add_uppers(search, socket, &links, where, pid);
}

static bool is_new(const Search *search, uint64_t inode) {
        return g_hash_table_add(search->seen, g_memdup2(&inode, sizeof(inode)));
}

static void look_at_file(Search *search, const char *path, const char *where, uint32_t pid) {
        _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        struct stat st, host;

        if (fd < 0)
                note_failure(search, -errno);
        /* A folder may have anything: a namespace is on the same file system as the host's. */
        if (fd >= 0 && fstat(fd, &st) == 0 && fstat(search->host, &host) == 0 &&
            st.st_dev == host.st_dev && is_new(search, st.st_ino))
                look_into(search, fd, where, pid);
}

static const struct dirent *next_entry(Search *search, DIR *dir) {
        const struct dirent *entry;

        errno = 0;
        entry = readdir(dir);
        if (!entry)
                search->error = errno != 0 ? -errno : search->error;
        return entry;
}

static void look_at_names(Search *search, const char *folder) {
        g_autofree char *path = g_strdup_printf("%s/1/root/%s", search->proc, folder);
        _cleanup_(closedirp) DIR *dir = opendir(path);
        const struct dirent *entry;

        if (!dir)
                note_failure(search, -errno);
        while (dir && !is_over(search) && (entry = next_entry(search, dir))) {
                g_autofree char *file = g_strdup_printf("%s/%s", path, entry->d_name);

                if (entry->d_name[0] != '.')
                        look_at_file(search, file, entry->d_name, 0);
        }
}

/* The namespace of a process is known by its inode, without being opened. */
static bool has_new_namespace(const Search *search, const char *path) {
        char target[64];
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        uint64_t inode;

        if (n <= 0)
                return false;
        target[n] = '\0';
        return proc_link_parse(target, "net", &inode) &&
               !g_hash_table_contains(search->seen, &inode);
}

static void look_at_processes(Search *search) {
        _cleanup_(closedirp) DIR *dir = opendir(search->proc);
        const struct dirent *entry;

        if (!dir)
                note_failure(search, -errno);
        while (dir && !is_over(search) && (entry = next_entry(search, dir))) {
                g_autofree char *path = NULL, *where = NULL;
                uint64_t pid;

                if (number_parse(entry->d_name, 10, INT32_MAX, &pid) < 0)
                        continue;
                path = g_strdup_printf("%s/%s/ns/net", search->proc, entry->d_name);
                where = g_strdup_printf("of process %s", entry->d_name);
                if (has_new_namespace(search, path))
                        look_at_file(search, path, where, (uint32_t) pid);
        }
}

int network_elsewhere_locate(const char *proc, int host, NetworkFind *find, GArray *found) {
        g_autoptr(GHashTable) seen =
                g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        Search search = { .proc = proc,
                          .host = host,
                          .find = find,
                          .found = found,
                          .seen = seen,
                          .end_usec = now_usec() + LOOK_USEC };
        struct stat st;

        if (fstat(host, &st) < 0)
                return -errno;
        (void) is_new(&search, st.st_ino);
        for (size_t i = 0; i < G_N_ELEMENTS(folders); i++)
                look_at_names(&search, folders[i]);
        look_at_processes(&search);
        return search.error < 0 ? search.error : search.ended_early;
}
