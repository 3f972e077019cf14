/* problems.h: what the daemon cannot do at present, in sentences for people.
 *
 * Owns the problems, each under a key of its reporter. Always holds: at most PROBLEMS_MAX problems
 * are kept, each a line of valid UTF-8 of at most PROBLEM_TEXT_MAX bytes; a problem is logged as a
 * warning when it begins or its text changes, and as a notice when it ends, however often it is
 * reported meanwhile. When there are more problems than room, one more line says so. A problem
 * stays until its reporter resolves it: the reporter tries again, and resolves it with the first
 * success. The problems of a function have its address in their key, in their text and in the
 * journal's field. */
#pragma once

#include "policy/address.h"

#include <glib.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

typedef struct Problems Problems;

#define PROBLEMS_MAX     64
#define PROBLEM_TEXT_MAX 512

/* The list changed. Called from the event loop, once for all changes of one turn. */
typedef void ProblemsHandler(void *context);

/* Returns 0 or a negative errno. */
int problems_new(sd_event *event, ProblemsHandler *handler, void *context, Problems **ret);
Problems *problems_free(Problems *problems);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Problems, problems_free)

/* `key` names what fails, not how ("state", "users"). The text is "Failed to VERB OBJECT:
 * REASON". */
void problems_report(Problems *problems, const char *key, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Does nothing when there is no such problem. */
void problems_resolve(Problems *problems, const char *key);

/* The same for what fails with the function at `address`; `fact` is the key's other half. */
void problems_report_function(Problems *problems, PciAddress address, const char *fact,
                              const char *format, ...) __attribute__((format(printf, 4, 5)));
void problems_resolve_function(Problems *problems, PciAddress address, const char *fact);

/* The function is gone, and its problems with it. */
void problems_function_gone(Problems *problems, PciAddress address);

bool problems_has(const Problems *problems, const char *key);
unsigned problems_count(const Problems *problems);

/* The problems' texts, ordered by key. Free with g_strfreev(). */
char **problems_list(const Problems *problems);
