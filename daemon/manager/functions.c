#include "daemon/manager/functions.h"

#include <errno.h>

static int read_function(StateReader *reader, JsonObject *object, void *ret) {
        const char *lock_why = state_section_text(object, "lock-why");
        StateFunction *function = ret;

        if (state_section_address(object, &function->key) < 0 ||
            state_section_number(object, "inode", STATE_ID_MAX, &function->inode) < 0 ||
            (json_object_has_member(object, "lock-why") && !lock_why) ||
            !state_section_is_new_number(reader, "function", function->key))
                return -EBADMSG;
        function->userspace_driver = state_section_flag(object, "userspace-driver");
        function->tainted = state_section_flag(object, "tainted");
        function->unplugging = state_section_flag(object, "unplugging");
        function->lock_why = g_strdup(lock_why);
        return 0;
}

static void write_function(JsonBuilder *builder, const void *record) {
        const StateFunction *function = record;

        state_section_add_address(builder, function->key);
        state_section_add_number(builder, "inode", function->inode);
        state_section_add_flag(builder, "userspace-driver", function->userspace_driver);
        state_section_add_flag(builder, "tainted", function->tainted);
        state_section_add_flag(builder, "unplugging", function->unplugging);
        if (function->lock_why)
                state_section_add_text(builder, "lock-why", function->lock_why);
}

static void clear_function(void *record) {
        g_free(((StateFunction *) record)->lock_why);
}

const StateSection functions_section = {
        .name = "functions",
        .record_size = sizeof(StateFunction),
        .required = true,
        .read = read_function,
        .write = write_function,
        .clear = clear_function,
};
