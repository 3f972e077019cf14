#include "dbus/authorisation-cache.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(authorisation_cache, a_question_is_answered_for_a_second) {
        AuthorisationCache *authorisation_cache = authorisation_cache_new();

        cr_assert(!authorisation_cache_find(authorisation_cache, ":1.5 load", 5));
        authorisation_cache_add(authorisation_cache, ":1.5 load", 5);
        cr_assert(authorisation_cache_find(authorisation_cache, ":1.5 load",
                                           4 + AUTHORISATION_CACHE_USEC));
        cr_assert(!authorisation_cache_find(authorisation_cache, ":1.5 load",
                                            5 + AUTHORISATION_CACHE_USEC));
        cr_assert(!authorisation_cache_find(authorisation_cache, ":1.6 load", 6));
        authorisation_cache_free(authorisation_cache);
}

Test(authorisation_cache, asking_prolongs_nothing) {
        AuthorisationCache *authorisation_cache = authorisation_cache_new();

        authorisation_cache_add(authorisation_cache, "q", 0);
        for (uint64_t now = 0; now < AUTHORISATION_CACHE_USEC; now += AUTHORISATION_CACHE_USEC / 10)
                cr_assert(authorisation_cache_find(authorisation_cache, "q", now));
        cr_assert(!authorisation_cache_find(authorisation_cache, "q", AUTHORISATION_CACHE_USEC));
        authorisation_cache_add(authorisation_cache, "q", AUTHORISATION_CACHE_USEC);
        cr_assert(authorisation_cache_find(authorisation_cache, "q", AUTHORISATION_CACHE_USEC + 1));
        authorisation_cache_free(authorisation_cache);
}

Test(authorisation_cache, their_number_is_bounded) {
        AuthorisationCache *authorisation_cache = authorisation_cache_new();
        char question[32];

        for (unsigned i = 0; i <= AUTHORISATION_CACHE_MAX; i++) {
                snprintf(question, sizeof(question), "%u", i);
                authorisation_cache_add(authorisation_cache, question, 0);
        }
        cr_assert(authorisation_cache_find(authorisation_cache, "0", 1));
        cr_assert(!authorisation_cache_find(authorisation_cache, question, 1));
        /* Those that are over make room. */
        authorisation_cache_add(authorisation_cache, question, AUTHORISATION_CACHE_USEC);
        cr_assert(
                authorisation_cache_find(authorisation_cache, question, AUTHORISATION_CACHE_USEC));
        cr_assert(!authorisation_cache_find(authorisation_cache, "0", AUTHORISATION_CACHE_USEC));
        authorisation_cache_free(authorisation_cache);
}
