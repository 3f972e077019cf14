/* parts.h: the parts of the manager.
 *
 * Owns the table, and what each part made of itself. Always holds: whatever concerns all parts goes
 * through the table, in its order or, where parts end, in the reverse order. To add a part, write
 * its Part beside its module, or in parts-*.c where it takes several rooms, and add its row. */
#pragma once

#include "daemon/base/files/state.h"
#include "daemon/base/part.h"

typedef struct Parts Parts;

extern const Part descriptors_part, device_nodes_part, external_removals_part, function_marks_part,
        inhibitors_part, leases_part, lost_overrides_part, operations_part, protected_files_part,
        sessions_part, spawner_part, unplugs_part, users_part, vf_tokens_part, config_space_part,
        msi_source_part, slot_table_part, uses_part, kernel_guard_part;

/* What is said of processes that do not end; its context is the Problems. */
extern const ChildrenHandler children_handler;

/* All parts of the daemon, ending with NULL. */
extern const Part *const parts_table[];

/* PART_NEWS_BLOCKERS of the function: an unplug of it, or of its PF, may wait for that. */
void parts_tell_blockers(const PartContext *context, Function *function);

/* What `part` is for the caller's own type. */
#define part_find(context, part) ((context)->host->find((context)->host_context, &(part)))

/* `table` outlives it. */
Parts *parts_new(const Part *const *table);
Parts *parts_free(Parts *parts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Parts, parts_free)

/* Makes each part. Returns 0 or a negative errno; parts_free() frees those that were made. */
int parts_make(Parts *parts, const PartContext *context);

/* What the part made; NULL while it is not made. */
void *parts_find(const Parts *parts, const Part *part);

/* The lists of state.json, in the order of the table and ending with NULL. */
const StateSection *const *parts_sections(const Parts *parts);
int parts_adopt(Parts *parts, const State *state);
/* When every function has been read. */
void parts_adopt_known(Parts *parts, const State *state);
void parts_record(Parts *parts, State *state);

void parts_attach(Parts *parts, Function *function);
/* Returns 0, or the negative errno of the first part that could not read what `*ret_reads` names.
 */
int parts_function_changed(Parts *parts, Function *function, unsigned news, const char **ret_reads);
void parts_function_gone(Parts *parts, Function *function);

/* The most urgent wish of all. */
PartCheck parts_wants_check(const Parts *parts);
void parts_check(Parts *parts);

void parts_end_calls(Parts *parts, const char *why);
