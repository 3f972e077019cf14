/* verdict.h: the answer to whether an operation is possible, with its reasons.
 *
 * Owns the list of blockers. The rule in check.h makes it. */
#pragma once

#include "policy/blocker-kinds.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum BlockerKind {
#define BLOCKER_ROW(kind, word, unplug, text) BLOCKER_##kind,
        BLOCKER_KINDS(BLOCKER_ROW)
#undef BLOCKER_ROW
        _BLOCKER_KIND_MAX,
        _BLOCKER_KIND_INVALID = -EINVAL,
} BlockerKind;

typedef struct Blocker {
        BlockerKind kind;
        char *subject; /* what is in the way: the address of a function, or who inhibits */
        char *reason;  /* a clause for people, without a full stop; has private texts */
        uint32_t pid;  /* of the process behind it, 0 if there is none */
} Blocker;

typedef struct Verdict {
        GPtrArray *blockers; /* of Blocker*, owned */
        GPtrArray *warnings; /* of char*, owned: sentences */
} Verdict;

const char *blocker_kind_to_string(BlockerKind kind);

/* What the kind means: a clause, without a full stop. */
const char *blocker_kind_text(BlockerKind kind);

/* Whether Unplug asks those behind the blocker to release the function, instead of being
 * refused. */
bool blocker_kind_is_asked(BlockerKind kind);

Verdict *verdict_new(void);
Verdict *verdict_free(Verdict *verdict);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Verdict, verdict_free)

void verdict_block(Verdict *verdict, BlockerKind kind, const char *subject, uint32_t pid,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));
void verdict_warn(Verdict *verdict, const char *format, ...) __attribute__((format(printf, 2, 3)));

bool verdict_allowed(const Verdict *verdict);

/* Whether nothing but the kernel's lack of a method stands against it: no client can change that.
 */
bool verdict_unsupported(const Verdict *verdict);

/* The blockers as one sentence: "0000:01:10.0: in use by ...; ...". The first has private texts
 * (private-text.h) and is for an error's message, whose reader is not known yet; the second is for
 * those who may see all. Free with g_free(). */
char *verdict_message(const Verdict *verdict);
char *verdict_text(const Verdict *verdict);
