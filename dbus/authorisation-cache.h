/* authorisation-cache.h: polkit's answers, remembered for a second.
 *
 * Owns the questions that polkit answered with yes, for a second, however often they are asked
 * meanwhile: a caller that makes a run of loads is the same, wants the same and would be judged by
 * the same rules. A question is all that the answer rests on, as text: the caller's unique name on
 * the bus (which never is another's), the action, the details that polkit got, and which device
 * had them. A removed rule takes effect after that second. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define AUTHORISATION_CACHE_USEC (1000 * 1000ULL)
/* More are not remembered. */
#define AUTHORISATION_CACHE_MAX 256U

typedef struct AuthorisationCache AuthorisationCache;

AuthorisationCache *authorisation_cache_new(void);
AuthorisationCache *authorisation_cache_free(AuthorisationCache *authorisation_cache);

/* `now_usec`: of any clock that only goes forward, the same for all calls. */
void authorisation_cache_add(AuthorisationCache *authorisation_cache, const char *question,
                             uint64_t now_usec);

/* Whether the answer was yes less than AUTHORISATION_CACHE_USEC ago. */
bool authorisation_cache_find(const AuthorisationCache *authorisation_cache, const char *question,
                              uint64_t now_usec);
