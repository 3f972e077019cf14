#include "policy/operation.h"

#include <criterion/criterion.h>

Test(operation, words) {
        static const char *const words[] = { "set-num-vfs", "set-autoprobe", "bind",
                                             "unbind",      "reset",         "remove",
                                             "power-off",   "disable-pasid", "open" };

        cr_assert_eq(sizeof(words) / sizeof(*words), (size_t) _OPERATION_MAX);
        for (Operation operation = 0; operation < _OPERATION_MAX; operation++) {
                cr_assert_str_eq(operation_to_string(operation), words[operation]);
                cr_assert_eq(operation_from_string(words[operation]), operation);
        }
        cr_assert_lt(operation_from_string("Bind"), 0);
        cr_assert_lt(operation_from_string(""), 0);
}

Test(operation, lists) {
        static const struct {
                const char *words;
                int result;
                unsigned operations;
        } cases[] = {
                { "bind", 0, 1U << OPERATION_BIND },
                { "remove:power-off", 0, 1U << OPERATION_REMOVE | 1U << OPERATION_POWER_OFF },
                { "", -EINVAL, 99 },
                { ":", -EINVAL, 99 },
                { "bind:", -EINVAL, 99 },
                { ":bind", -EINVAL, 99 },
                { "bind:bind", -EINVAL, 99 },
                { "bind unbind", -EINVAL, 99 },
                { "bind:frob", -EINVAL, 99 },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                unsigned operations = 99;

                cr_assert_eq(operations_parse(cases[i].words, &operations), cases[i].result, "%s",
                             cases[i].words);
                cr_assert_eq(operations, cases[i].operations, "%s", cases[i].words);
        }
}

Test(operation, only_pfs_have_vfs_to_count) {
        for (Operation operation = 0; operation < _OPERATION_MAX; operation++)
                for (FunctionKind kind = 0; kind < _FUNCTION_KIND_MAX; kind++)
                        cr_assert_eq(operation_on_kind(operation, kind),
                                     kind == FUNCTION_KIND_PF ||
                                             (operation != OPERATION_SET_NUM_VFS &&
                                              operation != OPERATION_SET_AUTOPROBE));
}
