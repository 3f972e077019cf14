/* kernel-guard.h: what the kernel guard guards, and what is said about it.
 *
 * Owns the names of the guards, the lines by which vfwarden-guard says which of them it has loaded,
 * and the rule which functions may not be unbound. */
#pragma once

#include "policy/function.h"
#include "policy/guard-layout.h"
#include "policy/violation.h"

/* What the programs can refuse. */
typedef enum KernelGuard {
        KERNEL_GUARD_UNBIND,     /* a write to `unbind` that names a guarded function */
        KERNEL_GUARD_DESCRIPTOR, /* a write to a locked file, by a descriptor opened before */
        KERNEL_GUARD_CHMOD,      /* a write bit for a locked file */
        KERNEL_GUARD_MODULE,     /* unloading the driver of a guarded function */
        KERNEL_GUARD_NETWORK,    /* settings of VFs, and resets of their PF, by the network */
        _KERNEL_GUARD_MAX,
        _KERNEL_GUARD_INVALID = -EINVAL,
} KernelGuard;

/* KernelGuard= and KernelGuardNetwork= of the configuration. */
typedef enum KernelGuardMode {
        KERNEL_GUARD_MODE_REFUSE,
        KERNEL_GUARD_MODE_TELL,
        KERNEL_GUARD_MODE_OFF,
        _KERNEL_GUARD_MODE_MAX,
        _KERNEL_GUARD_MODE_INVALID = -EINVAL,
} KernelGuardMode;

/* What is configured. */
typedef struct KernelGuardConfig {
        KernelGuardMode mode, network; /* with `mode` off, `network` does not count */
        bool enforce;                  /* locks are enforced */
} KernelGuardConfig;

/* Whether the guard is to refuse; whether it is to do nothing. */
bool kernel_guard_refuses(const KernelGuardConfig *config, KernelGuard guard);
bool kernel_guard_is_off(const KernelGuardConfig *config, KernelGuard guard);

/* Whether its program is called for each read and write of any file. */
bool kernel_guard_sees_writes(KernelGuard guard);

/* Which guard an event of the kind comes from. Those that no guard can refuse count as
 * KERNEL_GUARD_DESCRIPTOR. */
KernelGuard kernel_guard_of_event(GuardEventKind kind);

const char *kernel_guard_to_string(KernelGuard guard);
KernelGuard kernel_guard_from_string(const char *name);
KernelGuardMode kernel_guard_mode_from_string(const char *name);

/* What vfwarden-guard says of one guard. */
typedef struct KernelGuardReport {
        bool loaded;
        char *text; /* how it is attached ("lsm", "fmod_ret"), or why it is not; owned */
} KernelGuardReport;

/* A line is "GUARD loaded HOW" or "GUARD missing WHY". Returns 0, with a text to be freed with
 * g_free(), or -EINVAL: nothing is written then. */
int kernel_guard_parse_line(const char *line, KernelGuard *ret_guard, KernelGuardReport *ret);

/* "unbind: refused (lsm)", "unbind: not guarded: WHY". `report` is NULL when vfwarden-guard has
 * said nothing, and `why` says why not. Free with g_free(). */
char *kernel_guard_describe(KernelGuard guard, const KernelGuardReport *report, const char *why,
                            const KernelGuardConfig *config);

/* Who did it. `unit` is NULL or "" where it is not known. */
ViolationAuthor kernel_guard_author(const GuardEvent *event, const char *unit);

/* "refused: unbind, tried by bash (pid 322, uid 0, ssh.service)". `path` is of the file that the
 * event is about, NULL where it is not known. Free with g_free(). */
char *kernel_guard_describe_event(const GuardEvent *event, const char *path,
                                  const ViolationAuthor *author);

/* Whether the kernel is to refuse that others unbind `function`, whose `lock_reasons` are current.
 * Locks of administrators and inhibitors do not count. An administrator's lock does not stand
 * against `unbind` on the bus either; and libvirt unbinds the functions of a domain between its
 * hooks `prepare` and `release`, while the hook's inhibitors stand. */
bool kernel_guard_wants(const Function *function, GuardFunction *ret);
