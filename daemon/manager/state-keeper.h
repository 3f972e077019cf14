/* state-keeper.h: when what the parts record is saved.
 *
 * Owns the place of state.json, and whether it says what is. Always holds: after
 * state_keeper_save() has returned 0 the file has all that the parts recorded; while it cannot be
 * saved, that is a problem, and it is tried again with every change and every check. */
#pragma once

#include "daemon/manager/parts/parts.h"
#include "daemon/manager/settings.h"

typedef struct StateKeeper StateKeeper;

/* All but `directory` is borrowed. */
StateKeeper *state_keeper_new(const char *directory, const PartContext *context, Parts *parts,
                              const Settings *settings);
StateKeeper *state_keeper_free(StateKeeper *keeper);

/* The records of an earlier run, to be freed with state_free(). Returns 0; or, when they are there
 * and cannot be read now, a negative errno: to begin without them would lose them for good,
 * descriptors that systemd keeps included, and a daemon that fails to start leaves all as it is.
 * `*ret_lost`: there were records, and they cannot be used. */
int state_keeper_load(StateKeeper *keeper, State **ret, bool *ret_lost);

/* What is recorded differs from the file. */
void state_keeper_mark_changed(StateKeeper *keeper);

/* Returns 0, also when there is nothing to save, or a negative errno. */
int state_keeper_save(StateKeeper *keeper);

/* Whether the last attempt failed. */
bool state_keeper_is_failing(const StateKeeper *keeper);

/* Why a request that must survive the daemon failed with `error`, for people. Free with g_free().
 */
char *state_keeper_describe_failure(const StateKeeper *keeper, int error);
