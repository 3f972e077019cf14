/* kernel-guard.h: what the BPF programs of vfwarden-guard are to refuse.
 *
 * Owns the list of guarded functions, of their drivers and of locked files, and writes it into the
 * programs' maps. Without the programs the list is kept all the same, for vfwarden-guard can be
 * started later. Always holds: the lock by the mode of a file does not depend on any of this; a
 * daemon that ends leaves the maps as they are. */
#pragma once

#include "daemon/base/problems.h"
#include "daemon/sysfs/watch.h"
#include "policy/inventory.h"
#include "policy/kernel-guard.h"

#include <systemd/sd-event.h>

/* Where vfwarden-guard says what it has loaded, and where it pins that. */
#define KERNEL_GUARD_DIRECTORY "/run/vfwarden-guard"
#define KERNEL_GUARD_STATUS    "status"
#define KERNEL_GUARD_PINS      "/sys/fs/bpf/vfwarden"

typedef struct KernelGuards KernelGuards;

/* Somebody did, or tried, what is guarded. */
typedef struct KernelGuardDeed {
        const GuardEvent *event;
        ViolationAuthor author;
        const char *path; /* of the file that `event->inode` stands for, NULL without */
        PciKey key;       /* with `has_key`: of the function that it was about */
        bool has_key;
        unsigned more; /* how many like it were counted before, and not reported */
} KernelGuardDeed;

typedef struct KernelGuardHandler {
        /* kernel_guards_list() says something else. */
        void (*changed)(void *context);
        void (*deed)(void *context, const KernelGuardDeed *deed);
        /* The programs were loaded anew, and exempt none of the processes that act for the daemon:
         * kernel_guards_exempt() is to be called for each. */
        void (*loaded)(void *context);
} KernelGuardHandler;

/* `directory` is KERNEL_GUARD_DIRECTORY, but for tests. All is borrowed. */
KernelGuards *kernel_guards_new(sd_event *event, Watch *watch, Problems *problems,
                                const char *directory, const KernelGuardHandler *handler,
                                void *context);
KernelGuards *kernel_guards_free(KernelGuards *guards);

void kernel_guards_set_config(KernelGuards *guards, const KernelGuardConfig *config);

/* The function's reasons or its driver may be others; or it is gone. */
void kernel_guards_plan(KernelGuards *guards, const Function *function);
void kernel_guards_forget(KernelGuards *guards, PciKey key);

/* The file with this inode is write-protected on behalf of the function at `key`, or no longer. */
void kernel_guards_set_file(KernelGuards *guards, uint64_t inode, const char *path, PciKey key,
                            bool locked);

/* The process may do what is guarded: it acts for the daemon, after policy/check. */
void kernel_guards_exempt(KernelGuards *guards, pid_t pid);

/* Says who did it, a moment ago, if the programs have seen that. */
void kernel_guards_fill_author(KernelGuards *guards, Violation *violation);

/* Whether the programs have seen who takes the function from its driver; then `*ret` is who. */
bool kernel_guards_find_remover(KernelGuards *guards, PciKey key, ViolationAuthor *ret);

/* Every function has been planned for: what an earlier run left besides goes. */
void kernel_guards_end_adoption(KernelGuards *guards);

/* Opens all and removes the pins, by which the programs go. */
void kernel_guards_release(KernelGuards *guards);

/* A line for each guard: whether it is in force, and why not. Free with g_strfreev(). */
char **kernel_guards_list(const KernelGuards *guards);
