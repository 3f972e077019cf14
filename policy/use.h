/* use.h: what the host does with a function, besides its users: "its block device sda1 is mounted
 * on /".
 *
 * Owns the rule of what such a use stands against. A Use is a plain record of what was seen; a
 * Function owns the list of its own. The texts are valid UTF-8 without control characters: names of
 * interfaces, mount points and network namespaces are chosen by others (client-text.h). */
#pragma once

#include "policy/operation.h"
#include "policy/use-kinds.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* So many uses of one function are kept, those first that stand against operations: one is enough
 * to refuse, and anybody can make any number of warnings. */
#define USES_OF_FUNCTION_MAX 64

typedef enum UseKind {
#define USE_ROW(kind, word, subsystem, weight, before, between, lost) USE_##kind,
        USE_KINDS(USE_ROW)
#undef USE_ROW
        _USE_KIND_MAX,
        _USE_KIND_INVALID = -EINVAL,
} UseKind;

typedef struct Use {
        UseKind kind;
        char *object; /* what of the function is used: "eth3", "nvme0n1p1" */
        char *by;     /* for what: "pod1", "/", "dm-0"; "" where the kind says it all */
        uint32_t pid; /* of a process behind it, 0: none is known */
} Use;

/* What is known of the uses of all functions. */
typedef enum UsesKnown {
        USES_KNOWN,
        USES_NOT_YET,    /* the first look has not ended */
        USES_UNREADABLE, /* something cannot be looked at: what a driver of the host has may be used
                          */
        USES_UNREADABLE_OF_ALL, /* programs neither: every function may be used */
} UsesKnown;

Use *use_new(UseKind kind, const char *object, const char *by, uint32_t pid);
Use *use_free(Use *use);

/* An empty list that owns its elements; free with g_ptr_array_unref(). */
GPtrArray *use_list_new(void);

/* Takes over `use`. When the list is full, one that stands against operations is kept in the place
 * of a warning; what is left over is freed. */
void use_list_add(GPtrArray *uses, Use *use);

/* Whether two lists (GPtrArray of Use*, NULL is empty) tell the same, in order. */
bool uses_equal(const GPtrArray *a, const GPtrArray *b);

const char *use_kind_to_string(UseKind kind);
const char *use_kind_subsystem(UseKind kind);

/* Whether a use of the kind stands against operations; else it is a warning. */
bool use_kind_stands(UseKind kind);

/* Whether a use of the kind needs no driver of the host: a program drives the function itself. */
bool use_kind_needs_no_driver(UseKind kind);

/* What is lost when the function is taken away: a clause without a full stop. */
const char *use_kind_lost(UseKind kind);

/* The network namespace that the use is in: its name, or the process in it; "" where there is
 * none but the host's. Borrowed. */
const char *use_namespace(const Use *use);

/* "its block device sda1 is mounted on /": a clause. Free with g_free(). */
char *use_describe(const Use *use);

/* Whether a use stands against `operation`: whether that takes the device from its driver, or what
 * the driver has set up. */
bool use_stands_against(Operation operation);
