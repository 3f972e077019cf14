#include "policy/operation.h"

#include "policy/names.h"

static const char *const operation_names[_OPERATION_MAX] = {
        [OPERATION_SET_NUM_VFS] = "set-num-vfs",
        [OPERATION_SET_AUTOPROBE] = "set-autoprobe",
        [OPERATION_BIND] = "bind",
        [OPERATION_UNBIND] = "unbind",
        [OPERATION_RESET] = "reset",
        [OPERATION_REMOVE] = "remove",
        [OPERATION_POWER_OFF] = "power-off",
        [OPERATION_DISABLE_PASID] = "disable-pasid",
        [OPERATION_OPEN] = "open",
};

const char *operation_to_string(Operation operation) {
        return operation_names[operation];
}

Operation operation_from_string(const char *word) {
        return name_table_find(operation_names, _OPERATION_MAX, word);
}

int operations_parse(const char *words, unsigned *ret) {
        g_auto(GStrv) split = g_strsplit(words, ":", _OPERATION_MAX + 1);
        unsigned operations = 0;

        for (char **word = split; *word; word++) {
                Operation operation = operation_from_string(*word);

                if (operation < 0 || (operations & (1U << operation)))
                        return -EINVAL;
                operations |= 1U << operation;
        }
        if (operations == 0)
                return -EINVAL;
        *ret = operations;
        return 0;
}

char *operations_format(unsigned operations) {
        g_autoptr(GString) words = g_string_new(NULL);

        for (Operation operation = 0; operation < _OPERATION_MAX; operation++)
                if (operations & (1U << operation))
                        g_string_append_printf(words, "%s%s", words->len > 0 ? ":" : "",
                                               operation_names[operation]);
        return g_string_free(g_steal_pointer(&words), FALSE);
}

bool operation_on_kind(Operation operation, FunctionKind kind) {
        if (operation == OPERATION_SET_NUM_VFS || operation == OPERATION_SET_AUTOPROBE)
                return kind == FUNCTION_KIND_PF;
        return true;
}
