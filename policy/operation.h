/* operation.h: the operations on a function.
 *
 * Owns their names. */
#pragma once

#include "policy/function.h"

typedef enum Operation {
        OPERATION_SET_NUM_VFS,
        OPERATION_SET_AUTOPROBE,
        OPERATION_BIND,
        OPERATION_UNBIND,
        OPERATION_RESET,
        OPERATION_REMOVE,
        OPERATION_POWER_OFF,
        OPERATION_DISABLE_PASID,
        OPERATION_OPEN,
        _OPERATION_MAX,
        _OPERATION_INVALID = -EINVAL,
} Operation;

/* The contract's words, e.g. "set-num-vfs". From a word: -EINVAL if there is none such. */
const char *operation_to_string(Operation operation);
Operation operation_from_string(const char *word);

/* Reads words joined by ':' into bits (1 << Operation). Returns 0; -EINVAL for an unknown, empty or
 * repeated word, with `*ret` untouched. */
int operations_parse(const char *words, unsigned *ret);

/* The words for bits (1 << Operation), joined by ':'. Free with g_free(). */
char *operations_format(unsigned operations);

/* Whether the operation exists for functions of this kind: only PFs have VFs to count. */
bool operation_on_kind(Operation operation, FunctionKind kind);
