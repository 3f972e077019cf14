/* state.h: what outlives the daemon in /run/vfwarden/state.json and nowhere else.
 *
 * Owns the file's format. It holds what the kernel cannot tell: the own modes of the files that are
 * closed, administrators' locks, which PFs are tainted, inhibitors, operations under way, and the
 * modes of device nodes that are closed for a while. Each entry bears the inode of what it speaks
 * of, for a device that was plugged anew has nothing to do with the one before. The file is
 * replaced as a whole, so a crash leaves the old or the new one. It is gone after a reboot, as all
 * of that is. Called by the manager. */
#pragma once

#include "policy/address.h"
#include "policy/inhibitor.h"
#include "policy/lease.h"
#include "policy/operation.h"

#include <glib.h>
#include <stdbool.h>

typedef struct StateFile {
        char *path;
        uint64_t inode;
        unsigned mode; /* own mode, 0..07777 */
} StateFile;

typedef struct StateFunction {
        PciKey key;
        uint64_t inode;
        char *lock_why; /* NULL: no administrator's lock */
        bool userspace_driver;
        bool tainted; /* of an older daemon: for a userspace driver, too, and it did not say so */
        bool unplugging;
} StateFunction;

typedef struct StateInhibitor {
        uint64_t number; /* under which systemd keeps its descriptor */
        PciKey key;
        Inhibitor inhibitor; /* strings owned */
} StateInhibitor;

/* An operation whose process is in the kernel. */
typedef struct StateOperation {
        PciKey key;
        uint64_t inode;
        uint32_t pid;
        uint64_t start_time; /* of the process, in clock ticks after boot: a later one may have its
                                pid */
        uint64_t since_usec; /* CLOCK_REALTIME */
        Operation operation;
} StateOperation;

/* A device node that was closed to newcomers. */
typedef struct StateNode {
        char *name; /* below /dev */
        uint64_t device;
        unsigned mode; /* before, 0..07777 */
} StateNode;

/* An I/O session that is served. */
typedef struct StateSession {
        uint64_t number; /* under which systemd keeps the control socket */
        PciKey key;
        uint64_t inode;
        uint32_t io_pid;
        uint64_t io_start_time;
        uint64_t max_mapped;
        uint32_t uid, pid;
        char *command, *unit;
        uint64_t since_usec;
} StateSession;

/* A descriptor that was opened for a client. */
typedef struct StateLease {
        PciKey key;
        uint64_t inode, binding;
        int32_t group;
        char *node;  /* below /dev/vfio */
        Lease lease; /* strings owned; systemd keeps its delivery pipe under its generation */
} StateLease;

/* A physical function that was given a token, which is not here. */
typedef struct StateVfToken {
        uint64_t number; /* under which systemd keeps it */
        PciKey key;
        uint64_t inode, binding;
        bool imposed;
} StateVfToken;

typedef struct State {
        bool released;      /* nothing is enforced; see manager_release_all() */
        GArray *files;      /* of StateFile */
        GArray *functions;  /* of StateFunction */
        GArray *inhibitors; /* of StateInhibitor */
        GArray *operations; /* of StateOperation */
        GArray *nodes;      /* of StateNode */
        GArray *sessions;   /* of StateSession */
        GArray *leases;     /* of StateLease */
        GArray *vf_tokens;  /* of StateVfToken */
} State;

State *state_new(void);
State *state_free(State *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(State, state_free)

/* Reads the state from `directory`, and removes what a killed daemon left unfinished there. Never
 * waits, whatever stands in the file's place, and reads no more than a bound. Returns 0; -ENOENT
 * when there is none (`*ret` is then empty); -EBADMSG when it is damaged: `*ret` has what could be
 * used, perhaps nothing; or another negative errno when there is something that cannot be read,
 * with an empty `*ret`. Then it is set aside as state.json.damaged, if that can be done, and
 * `*ret_reason` says what was wrong; free with g_free(). With -EMFILE, -ENFILE and -ENOMEM nothing
 * is known of it, and it is left alone: see state_is_out_of_reach(). */
int state_load(const char *directory, State **ret, char **ret_reason);

/* Whether `r`, of state_load() or of a look at what the state tells of, only says that resources
 * are used up. */
bool state_is_out_of_reach(int r);

/* Makes the directory, if it is not there. Returns 0 or a negative errno. */
int state_make_directory(const char *directory);

/* Replaces the state in `directory`. Returns 0, or a negative errno with the old state in place:
 * -ENOSPC, -EDQUOT, -EROFS, ... */
int state_save(const char *directory, const State *state);
