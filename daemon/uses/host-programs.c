#include "daemon/uses/host-programs.h"

#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/uses/netlink.h"
#include "daemon/uses/packet-sockets.h"
#include "daemon/uses/program-files.h"
#include "daemon/uses/program-maps.h"
#include "daemon/uses/program-watch.h"
#include "policy/look-share.h"
#include "policy/number.h"

#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

/* Who hides a device behind more descriptors loses it; nobody else waits for that. */
static const LookShare descriptors_share = {
        .of_user = 65536,
        .of_users = UINT64_C(4) * 65536,
        .of_process = 128,
        .usec = 1500 * 1000,
};

typedef struct HostPrograms {
        ProgramWatch *watch;
        bool polls_inotify;
        StuckChildren *stuck;
} HostPrograms;

typedef struct ProgramLook {
        UseChild *child;
        StuckChildren *stuck;
        NodeOwners *nodes;
        GArray *sockets;      /* of PacketSocket */
        GHashTable *of_users; /* uid -> number of descriptors looked at */
        GHashTable *told;     /* "PID ADDRESS NAME": a thread's own table may begin as a copy */
        unsigned of_all_users;
        uint64_t begun_usec;
        int error;          /* some uses may be missing */
        bool stands, warns; /* there is such a use of a node, or of a mapped BAR */
} ProgramLook;

/* How many more descriptors of the user are looked at. */
static unsigned allowance_of(const ProgramLook *look, uint32_t uid) {
        guint used = GPOINTER_TO_UINT(g_hash_table_lookup(look->of_users, GUINT_TO_POINTER(uid)));

        return (unsigned) MIN(look_share_left(&descriptors_share, uid, used, look->of_all_users,
                                              now_usec() - look->begun_usec),
                              UINT_MAX);
}

static void take_from_allowance(ProgramLook *look, uint32_t uid, unsigned n) {
        gpointer key = GUINT_TO_POINTER(uid);
        guint used = GPOINTER_TO_UINT(g_hash_table_lookup(look->of_users, key));

        if (uid == 0)
                return;
        g_hash_table_insert(look->of_users, key, GUINT_TO_POINTER(used + n));
        look->of_all_users += n;
}

static char *file_of_program(uint32_t pid, PciKey key, const char *name) {
        char address[PCI_ADDRESS_STRING_MAX];

        return g_strdup_printf("%" PRIu32 " %s %s", pid,
                               pci_address_format(pci_address_from_key(key), address), name);
}

/* No event tells when a node is closed, or a mapping ends. */
static void note_endless(ProgramLook *look, UseKind kind) {
        if (kind == USE_PROGRAM_RESOURCE || kind == USE_PROGRAM_CONFIG)
                return;
        if (use_kind_stands(kind))
                look->stands = true;
        else
                look->warns = true;
}

static bool is_told(const ProgramLook *look, uint32_t pid, PciKey key, const char *name) {
        return !g_hash_table_add(look->told, file_of_program(pid, key, name));
}

static void on_file(void *context, const ProgramFile *file) {
        ProgramLook *look = context;
        g_autofree char *by = g_strdup_printf("%s (pid %" PRIu32 ")", file->program, file->pid);

        if (is_told(look, file->pid, file->key, file->name))
                return;
        note_endless(look, file->kind);
        use_child_add(look->child, file->key, file->kind, file->name, by, file->pid);
}

static void on_mapped(void *context, uint32_t pid, PciKey key, UseKind kind, const char *name) {
        ProgramLook *look = context;
        ProgramProcess process = { .proc = use_child_proc(look->child), .pid = pid };
        g_autofree char *by = NULL;
        int r;

        if (is_told(look, pid, key, name))
                return;
        r = program_open(&process);
        program_close(&process);
        if (r < 0) {
                if (!process_has_ended(r))
                        look->error = r;
                return;
        }
        by = g_strdup_printf("%s (pid %" PRIu32 ")", process.status.name, pid);
        note_endless(look, kind);
        use_child_add(look->child, key, kind, name, by, pid);
}

/* `thread`: with a table of its own; 0: the table that most threads have. */
static int look_at_program(ProgramLook *look, uint32_t pid, pid_t thread) {
        ProgramProcess process = { .proc = use_child_proc(look->child),
                                   .pid = pid,
                                   .thread = thread,
                                   .nodes = look->nodes,
                                   .sockets = look->sockets,
                                   .found = on_file,
                                   .context = look };
        unsigned n = 0;
        int r = program_open(&process);

        if (r >= 0)
                r = program_read(&process, allowance_of(look, process.status.uid), &n);
        take_from_allowance(look, process.status.uid, n);
        program_close(&process);
        return process_has_ended(r) ? 0 : r;
}

static int list_pids(const char *proc, GArray *pids) {
        _cleanup_(closedirp) DIR *dir = opendir(proc);
        const struct dirent *entry;

        if (!dir)
                return -errno;
        while ((errno = 0, entry = readdir(dir))) {
                uint64_t number;
                uint32_t pid;

                if (number_parse(entry->d_name, 10, INT_MAX, &number) < 0)
                        continue;
                pid = (uint32_t) number;
                g_array_append_val(pids, pid);
        }
        return -errno;
}

static int look_at_descriptors(ProgramLook *look, const GArray *pids) {
        int error = 0;

        for (guint i = 0; i < pids->len; i++) {
                int r = look_at_program(look, g_array_index(pids, uint32_t, i), 0);

                use_child_go_on(look->child);
                error = r < 0 ? r : error;
        }
        return error;
}

/* A process that has several of one interface is reported once. */
static bool is_packet_socket_known(const GArray *sockets, guint index) {
        const PacketSocket *socket = &g_array_index(sockets, PacketSocket, index);

        for (guint i = 0; i < index; i++) {
                const PacketSocket *other = &g_array_index(sockets, PacketSocket, i);

                if (other->pid == socket->pid && other->uid == socket->uid &&
                    strcmp(other->interface, socket->interface) == 0)
                        return true;
        }
        return false;
}

static void add_packet_sockets(UseChild *child, const GArray *sockets) {
        for (guint i = 0; i < sockets->len; i++) {
                const PacketSocket *socket = &g_array_index(sockets, PacketSocket, i);
                g_autofree char *by = NULL;

                if (is_packet_socket_known(sockets, i))
                        continue;
                by = socket->pid != 0
                             ? g_strdup_printf("%s (pid %" PRIu32 ")", socket->program, socket->pid)
                             : g_strdup_printf("a process of uid %" PRIu32, socket->uid);
                use_child_add(child, socket->key, USE_NETWORK_PACKET, socket->interface, by,
                              socket->pid);
        }
}

static void on_maps_go_on(void *context) {
        use_child_go_on(((const ProgramLook *) context)->child);
}

static void on_maps_waited(void *context, uint32_t pid) {
        g_autofree char *text = g_strdup_printf("process %" PRIu32 " of root does not let its "
                                                "mappings be read",
                                                pid);

        use_child_note(((const ProgramLook *) context)->child, text);
}

static void on_maps_table(void *context, uint32_t pid, pid_t thread) {
        ProgramLook *look = context;
        int r = look_at_program(look, pid, thread);

        if (r < 0)
                look->error = r;
}

static const ProgramMapsHandler maps_handler = { .found = on_mapped,
                                                 .table = on_maps_table,
                                                 .goes_on = on_maps_go_on,
                                                 .waited = on_maps_waited };

/* Both searches go through the same processes. */
static int look_at_processes_once(ProgramLook *look) {
        g_autoptr(GArray) pids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
        const char *proc = use_child_proc(look->child);
        int r = packet_sockets_read(proc, look->sockets), error = r;

        r = list_pids(proc, pids);
        if (r < 0)
                return r;
        r = look_at_descriptors(look, pids);
        error = use_result_join(error, r);
        r = program_maps_read(proc, pids, look->stuck, &maps_handler, look);
        error = use_result_join(error, r);
        return use_result_join(error, look->error);
}

/* What of inotify's is missing may have come with the last tick of the timer. */
static void poll_inotify(UseChild *child, HostPrograms *programs) {
        int fd = program_watch_inotify(programs->watch);

        if (fd < 0 || programs->polls_inotify)
                return;
        use_child_watch(child, fd, POLLIN);
        programs->polls_inotify = true;
}

static void note_lack(UseChild *child, const HostPrograms *programs) {
        const char *lack = program_watch_lack(programs->watch);
        g_autofree char *text = NULL;

        if (!lack)
                return;
        text = g_strdup_printf("there are too few inotify %s; uses are seen late", lack);
        use_child_note(child, text);
}

static int look_at_programs(UseChild *child, void *state) {
        HostPrograms *programs = state;
        g_autoptr(GHashTable) of_users = g_hash_table_new(NULL, NULL);
        g_autoptr(GHashTable) told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(NodeOwners) nodes = node_owners_new();
        g_autoptr(GArray) sockets = g_array_new(FALSE, FALSE, sizeof(PacketSocket));
        ProgramLook look = { .child = child,
                             .stuck = programs->stuck,
                             .nodes = nodes,
                             .sockets = sockets,
                             .of_users = of_users,
                             .told = told,
                             .begun_usec = now_usec() };
        int r;

        poll_inotify(child, programs);
        r = look_at_processes_once(&look);
        add_packet_sockets(child, sockets);
        program_watch_set_endless(programs->watch, look.stands, look.warns);
        note_lack(child, programs);
        return r;
}

/* For packet_sockets_read(). */
static int enter_host_network(const char *proc) {
        _cleanup_(closep) int fd = netlink_enter_host(proc);

        return fd < 0 ? fd : 0;
}

static int open_programs(UseChild *child, void **ret_state) {
        int r = enter_host_network(use_child_proc(child));
        HostPrograms *programs;

        if (r < 0)
                return r;
        programs = g_new0(HostPrograms, 1); /* as long as the process */
        programs->stuck = stuck_children_new();
        r = program_watch_new(use_child_proc(child), &programs->watch);
        if (r < 0)
                return r;
        use_child_watch(child, program_watch_uevents(programs->watch), POLLIN);
        use_child_watch(child, program_watch_timer(programs->watch), POLLIN);
        program_watch_all(programs->watch);
        *ret_state = programs;
        return 0;
}

static bool take_program_event(void *state, int fd) {
        return program_watch_take(((const HostPrograms *) state)->watch, fd);
}

const UseSource host_programs = {
        .name = "vfwarden-progs",
        .what = "programs",
        .of_all = true,
        .open = open_programs,
        .event = take_program_event,
        .look = look_at_programs,
};
