/* grants.h: what callers were allowed a moment ago.
 *
 * Owns the questions that were answered with yes, for a second, however often they are asked meanwhile: a caller that makes
 * a run of loads is the same, wants the same and would be judged by the same rules. A question is all that the answer
 * rests on, as text: the caller's unique name on the bus (which never is another's), the action, and the details that
 * polkit was told. A rule that is taken back takes effect after that second. Called by the authority. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define GRANTS_USEC (1000 * 1000ULL)
/* More are not remembered. */
#define GRANTS_MAX 256U

typedef struct Grants Grants;

Grants *grants_new(void);
Grants *grants_free(Grants *grants);

/* `now_usec`: of any clock that only goes forward, the same for all calls. */
void grants_add(Grants *grants, const char *question, uint64_t now_usec);

/* Whether the answer was yes less than GRANTS_USEC ago. */
bool grants_find(const Grants *grants, const char *question, uint64_t now_usec);
