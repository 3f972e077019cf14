/* config.h: what the administrator configured in vfwarden.conf and vfwarden.conf.d/.
 *
 * Owns the list of keys and their defaults. A configuration is immutable once loaded; a reload
 * makes a new one. The files are read in order: vfwarden.conf, then vfwarden.conf.d/ files ending
 * in ".conf" by name; a later line replaces what an earlier one said of the same key. Anything not
 * understood is an error, so that a typing error never quietly means the default. */
#pragma once

#include "policy/address.h"
#include "policy/kernel-guard.h"
#include "policy/pattern-list.h"

#include <glib.h>
#include <stdbool.h>

typedef struct Config {
        PatternList *userspace_drivers; /* [Lock] UserspaceDrivers= */
        bool enforce;                   /* [Lock] Enforcement= */
        KernelGuardMode kernel_guard;   /* [Lock] KernelGuard= */
        KernelGuardMode guard_network;  /* [Lock] KernelGuardNetwork= */
        GHashTable *emulated;           /* [Io] EmulatedFunctions=: set of PciKey* */
        bool inhibit_sleep;             /* [Lock] InhibitSleep= */
        bool allow_msix;                /* [Io] AllowMsix= */
        unsigned max_sessions;          /* [Io] MaxSessionsPerUser= */
        uint64_t max_mapped;            /* [Io] MaxMappedMemoryPerUser=, in bytes */
        uint64_t drain_usec;            /* [Io] DrainSeconds=, in microseconds */
        unsigned max_leases;            /* [Open] MaxLeasesPerUser= */
} Config;

/* Whether sessions with the function go to emulated memory and never to the device. */
bool config_emulates(const Config *config, PciKey key);

/* The configuration without any file. */
Config *config_new_default(void);

/* Reads the files in `directory`; none at all give the defaults. Never waits, whatever stands in
 * the files' places, and reads no more than a bound; a file that is masked by a link to /dev/null
 * is empty. Returns 0; -EINVAL when a line is wrong; another negative errno when a file cannot be
 * read. On failure `*ret_error` says file, line and reason ("DIR/vfwarden.conf:3: ..."), in UTF-8;
 * free with g_free(). */
int config_load(const char *directory, Config **ret, char **ret_error);

Config *config_free(Config *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Config, config_free)
