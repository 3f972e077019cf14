/* guarded-set.h: the functions, drivers and files that the kernel guard guards.
 *
 * Owns the list, and keeps the programs' maps equal to it while there are maps to write. */
#pragma once

#include "daemon/base/problems.h"
#include "daemon/guard/kernel-maps.h"
#include "policy/kernel-guard.h"

/* The key of the problem that a map could not be written. */
#define GUARDED_SET_PROBLEM "kernel-guard"

/* A write to sriov_numvfs has its effect within this time, or waits for a user. */
#define GUARDED_SET_AUTHOR_USEC (60 * 1000 * 1000ULL)

/* The same for a driver of which it could not be found out. */
#define GUARDED_SET_DRIVER_PROBLEM "kernel-guard-driver"

typedef struct GuardedSet GuardedSet;

GuardedSet *guarded_set_new(Problems *problems);
GuardedSet *guarded_set_free(GuardedSet *set);

/* The maps are `maps` from now on (borrowed), and get all that is in the set; NULL: none. Of what
 * was before there is no problem any more. */
void guarded_set_attach(GuardedSet *set, KernelMaps *maps);

/* Removes from the maps what is not in the set; all. */
void guarded_set_sweep(GuardedSet *set);
void guarded_set_clear(KernelMaps *maps);

/* See kernel-guard.h. */
void guarded_set_plan(GuardedSet *set, const Function *function);

/* Whether there are drivers of which it could not be found out what to guard, or entries that could
 * not be written. */
bool guarded_set_is_behind(const GuardedSet *set);

/* Tries that again. With `sweeps` also what could not be removed. */
void guarded_set_catch_up(GuardedSet *set, bool sweeps);
void guarded_set_forget(GuardedSet *set, PciKey key);
void guarded_set_set_file(GuardedSet *set, uint64_t inode, const char *path, PciKey key,
                          bool locked);

/* Remembers who wrote to the file of the event, or changed its mode, or took the function from its
 * driver, at `now_usec`. */
void guarded_set_note_author(GuardedSet *set, const GuardEvent *event,
                             const ViolationAuthor *author, uint64_t now_usec);

/* Who last did `kind` to the file with this inode, less than GUARDED_SET_AUTHOR_USEC before
 * `now_usec`. False when nobody did. */
bool guarded_set_find_author(const GuardedSet *set, uint64_t inode, GuardEventKind kind,
                             uint64_t now_usec, ViolationAuthor *ret);

/* Who last took the function from its driver, less than GUARDED_SET_AUTHOR_USEC before `now_usec`.
 * False when nobody did, or the function is not in the set any more. */
bool guarded_set_find_remover(const GuardedSet *set, PciKey key, uint64_t now_usec,
                              ViolationAuthor *ret);

unsigned guarded_set_size(const GuardedSet *set);

/* Whether there is a file to which a write is refused or reported. */
bool guarded_set_has_files(const GuardedSet *set);

/* The path of the file that the event is about, NULL without; and whether the function is known,
 * with its key. */
const char *guarded_set_find(const GuardedSet *set, const GuardEvent *event, PciKey *ret_key,
                             bool *ret_known);
