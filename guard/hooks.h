/* hooks.h: which of the programs this kernel can take.
 *
 * Owns the table of guards and programs, and how a hook is attached to: as an LSM program where
 * `bpf` is an active LSM, and by fmod_ret elsewhere. An LSM program attaches without an error where
 * `bpf` is not active, and never runs (seen on 7.2). So the list of active LSMs decides. */
#pragma once

#include <bpf/btf.h>

#include <stdbool.h>

typedef struct GuardHook {
        const char *pin;      /* of the link, below the directory of the pins */
        const char *program;  /* in programs.bpf.c */
        const char *how;      /* "lsm", "fmod_ret", "fentry" */
        const char *function; /* of the kernel, that the program's arguments are those of */
        unsigned n_arguments; /* of `function` */
        /* The guards that it gives, one bit each (1 << KernelGuard); 0: it helps others. */
        unsigned guards;
        /* Who attaches it: NULL: vfwarden-guard; else the daemon, when it is needed, and the
         * program is pinned by this name. */
        const char *program_pin;
} GuardHook;

/* `lsms` is the text of /sys/kernel/security/lsm, "" when it cannot be read. */
bool hooks_bpf_is_lsm(const char *lsms);

/* The hook number `index` of those that suit the kernel with the types `btf`, NULL after the last.
 */
const GuardHook *hooks_next(const struct btf *btf, bool bpf_is_lsm, unsigned *index);
