/* manager.h: the one that holds everything together, and the face of daemon/ for dbus/.
 *
 * Owns all parts and objects of the daemon. All goes one way: an event marks functions to be read;
 * they are read; the rules are asked; files are locked or unlocked; the observer is notified of
 * what changed. None of it waits for anything. */
#pragma once

#include "daemon/manager/manager-types.h"
#include "policy/counters.h"

#include <stdbool.h>
#include <systemd/sd-event.h>

typedef struct Manager Manager;
typedef struct Notify Notify;
typedef struct TurnMeter TurnMeter;

typedef struct ManagerOptions {
        Notify *notify; /* outlives the manager */
        const char *config_directory;
        const char *state_directory;
        int receive_buffer; /* bytes for uevents, 0: the system's */
        const char *proc;   /* where procfs is, with the host's process 1: "/proc" */
        const char *io_program, *io_user;
        const char *spawn_socket;    /* of vfwarden-spawn.service; NULL: the daemon forks itself */
        const char *guard_directory; /* where vfwarden-guard says what it has loaded */
        uint32_t fd_store_max;       /* descriptors that systemd keeps, UINT32_MAX: not known */
        bool started; /* by somebody, which ends a release; false when that is not known */
        const TurnMeter *turns; /* of the event loop; outlives the manager */
} ManagerOptions;

/* Loads configuration and state, reads all functions and sets the locks. Returns 0 or a negative
 * errno; what was wrong has been logged. */
int manager_new(sd_event *event, const ManagerOptions *options, Manager **ret);
Manager *manager_free(Manager *manager);

/* The daemon ends: pending calls end, while the bus can still carry the replies; what was begun
 * goes on. No turn of the event loop comes after it. */
void manager_end_calls(Manager *manager);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Manager, manager_free)

/* Notifies the observer from now on; there can be one. NULL for none. */
void manager_set_observer(Manager *manager, const ManagerObserver *observer, void *context);

/* To be called before a client is answered: events that are held, because many functions have some,
 * are handled now. */
void manager_catch_up(Manager *manager);

const Inventory *manager_inventory(const Manager *manager);
bool manager_enforces(const Manager *manager);

/* Whether the machine is not to suspend or shut down while a function is in use. */
bool manager_inhibits_sleep(const Manager *manager);

/* What the daemon cannot do at present, a line of text each, see problems.h. Free with
 * g_strfreev(). */
char **manager_problems(const Manager *manager);

/* The problem `key` of a face of the daemon is `text`, a sentence; NULL: there is none. */
void manager_set_problem(Manager *manager, const char *key, const char *text);

/* Which guards of the kernel are in force, and why one is not, a line each. Free with
 * g_strfreev(). */
char **manager_guards(const Manager *manager);

/* How often things happened since the daemon started, and what the turns of its event loop were
 * like. */
const Counters *manager_counters(const Manager *manager);
const LoopCounters *manager_loop_counters(const Manager *manager);

/* The counts in the function's session, if it has one, will be new ones in a moment. */
void manager_ask_counts(Manager *manager, const Function *function);

/* As function_read_handle(): what the kernel says at this moment. */
uint32_t manager_function_handle(const Function *function);

/* Adds, or takes away, the lock reason `administrator`. `why` is UTF-8 text for other people, at
 * most MANAGER_LOCK_WHY_MAX bytes; a second lock replaces the text of the first. Unlocking what is
 * not locked does nothing. Which files are closed in fact, `function->protected_files` tells
 * afterwards. Returns 0; -EINVAL when `why` is too long; or another negative errno when the state
 * cannot be saved, with nothing changed: see manager_describe_failure(). */
int manager_lock(Manager *manager, Function *function, const char *why);
int manager_unlock(Manager *manager, Function *function);

/* Why a request failed that must survive the daemon and would not have, for people.
 * `error` is what the request returned. Free with g_free(). */
char *manager_describe_failure(const Manager *manager, int error);

/* The guarded operations: refused with reasons, else carried out by a process of their own and
 * verified. `flags` (CheckFlags) are what the caller may pass over. `done` is called once, perhaps
 * before these return. The caller has seen to it that `count` is at most the PF's TotalVFs, and
 * that `driver` is a valid name or "" for whichever the kernel chooses. */
void manager_set_num_vfs(Manager *manager, Function *pf, uint16_t count, unsigned flags,
                         ManagerDone *done, void *context);
void manager_set_autoprobe(Manager *manager, Function *pf, bool enable, ManagerDone *done,
                           void *context);
void manager_bind(Manager *manager, Function *function, const char *driver, unsigned flags,
                  ManagerDone *done, void *context);
void manager_unbind(Manager *manager, Function *function, unsigned flags, ManagerDone *done,
                    void *context);
void manager_reset(Manager *manager, Function *function, unsigned flags, ManagerDone *done,
                   void *context);

/* Takes the function away in order: its users are asked and have `timeout_usec` to release it; with
 * `insist` the kernel asks them too, and the removal cannot be cancelled. With a timeout of 0
 * nobody is asked: it is refused if there is a holder. A VF ends without a driver; all others end
 * removed. `done` as above, and: -ETIMEDOUT when its users did not release it in time (without
 * `insist` nothing has changed then); -ECANCELED; -EALREADY when somebody else began to take it
 * away. */
void manager_unplug(Manager *manager, Function *function, uint64_t timeout_usec, bool insist,
                    unsigned flags, ManagerDone *done, void *context);

/* Returns 0; -EALREADY when it cannot be cancelled any more; -ENOENT when no unplug is in progress.
 */
int manager_cancel_unplug(Manager *manager, Function *function);

/* The same by somebody who was asked to release `function`, and says why that will not happen. */
int manager_refuse_unplug(Manager *manager, const Function *function, const char *why);

/* Until when the users of the function are asked to release it, CLOCK_REALTIME; 0: they are not. */
uint64_t manager_unplug_deadline(const Manager *manager, const Function *function);

/* Lets nobody do `inhibitor->operations` to the function until the descriptor in `*ret_fd`, which
 * the caller closes, has no copy left. Returns 0; -EDQUOT when the user has too many; or another
 * negative errno when it would not outlive the daemon, see manager_describe_failure(). */
int manager_inhibit(Manager *manager, PciKey key, const Inhibitor *inhibitor, int *ret_fd);

/* Whether the user may have an inhibitor on so many more functions. */
bool manager_may_inhibit(const Manager *manager, uint32_t uid, size_t n_functions);

/* The same for the functions at `keys`, each of which is there once. From the return on it counts
 * on all of them, and `done` is called, perhaps before this returns, when their files are locked:
 * for many functions that takes several turns of the loop. When it fails, nothing is inhibited on
 * any of them. */
void manager_inhibit_many(Manager *manager, const PciKey *keys, size_t n_keys,
                          const Inhibitor *inhibitor, ManagerInhibited *done, void *context);

void manager_foreach_inhibitor(const Manager *manager,
                               void (*visit)(void *context, PciKey key, const Inhibitor *inhibitor),
                               void *context);

/* See ManagerIo. */
void manager_open_session(Manager *manager, Function *function, const ManagerIo *io,
                          ManagerSessionOpened *done, void *context);

/* See ManagerAccess. */
void manager_access(Manager *manager, Function *function, const ManagerIo *io,
                    const ManagerAccess *access, ManagerAccessed *done, void *context);

/* See ManagerOpener. */
void manager_open(Manager *manager, Function *function, const ManagerOpener *opener,
                  ManagerOpened *done, void *context);

/* See ManagerVfToken. */
void manager_get_vf_token(Manager *manager, Function *pf, ManagerVfToken *done, void *context);

/* To be called before anything is done with, or said of, a function on somebody's behalf: a process
 * that served a single load or store idle, with the device open, for the next one of its user, and
 * is ended by this where it is on the function or on a related one. It stays for `uid`, who is
 * about to load or store; MANAGER_NOBODY where nobody is. `done` is called once, perhaps before
 * this returns: 0, or -ECANCELED when the daemon ends. The function may have gone then. */
void manager_let_go(Manager *manager, const Function *function, uint32_t uid, ManagerLetGo *done,
                    void *context);

/* Reads the configuration again, and ends a release. `done` is called when every file is as the
 * configuration wants it, perhaps before this returns; with -EIO when nothing was changed. */
void manager_reload(Manager *manager, ManagerDone *done, void *context);

/* Opens every file again, forgets the administrators' locks and enforces nothing from now on, until
 * an administrator reloads or starts the daemon: not after a crash either. `done` is called when
 * every file is open, perhaps before this returns; with -EIO when nothing was changed. */
void manager_release_all(Manager *manager, ManagerReleased *done, void *context);

/* The daemon ends because somebody wants it to: the next start is somebody's, and ends the release.
 * After a crash or a kill this was not called. */
void manager_end_release(Manager *manager);
