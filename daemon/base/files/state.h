/* state.h: what outlives the daemon in /run/vfwarden/state.json and nowhere else.
 *
 * Owns the file. It holds what the kernel cannot tell, a list for each part that has records
 * (state-section.h, part.h). Each record bears the inode of what it speaks of, for a device that
 * was plugged anew has nothing to do with the one before. The file is replaced as a whole, so a
 * crash leaves the old or the new one. It is gone after a reboot, as all of that is. */
#pragma once

#include "daemon/base/files/state-section.h"

#include <glib.h>
#include <stdbool.h>

typedef struct State State;

/* An empty state with these lists, in the order of the file. `sections` ends with NULL and outlives
 * the state. */
State *state_new(const StateSection *const *sections);
State *state_free(State *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(State, state_free)

/* The list of `section`, which is one of those that the state was made with: borrowed records of
 * its type, to be read or appended to. */
GArray *state_records(const State *state, const StateSection *section);

/* Whether nothing is enforced; see manager_release_all(). */
bool state_is_released(const State *state);
void state_set_released(State *state, bool released);

/* Reads the state from `directory`, and removes what a killed daemon left unfinished there. Never
 * waits, whatever stands in the file's place, and reads no more than a bound. Returns 0; -ENOENT
 * when there is none (`*ret` is then empty); -EBADMSG when it is damaged: `*ret` has what could be
 * used, perhaps nothing; or another negative errno when there is something that cannot be read,
 * with an empty `*ret`. Then it is set aside as state.json.damaged, if that can be done, and
 * `*ret_reason` says what was wrong; free with g_free(). With -EMFILE, -ENFILE and -ENOMEM nothing
 * is known of it, and it is left alone: see state_is_out_of_reach(). */
int state_load(const char *directory, const StateSection *const *sections, State **ret,
               char **ret_reason);

/* Whether `r`, of state_load() or of a look at what the state names, only says that resources are
 * used up. */
bool state_is_out_of_reach(int r);

/* Makes the directory, if it is not there. Returns 0 or a negative errno. */
int state_make_directory(const char *directory);

/* Replaces the state in `directory`. Returns 0, or a negative errno with the old state in place:
 * -ENOSPC, -EDQUOT, -EROFS, ... */
int state_save(const char *directory, const State *state);
