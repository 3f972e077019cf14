#include "daemon/guard/function-marks.h"

#include <errno.h>

struct FunctionMarks {
        const PartContext *context;
        GArray *records;    /* of StateFunction, of an earlier run; NULL when all are known */
        GHashTable *by_key; /* PciKey in the record -> StateFunction in `records` */
};

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

const StateSection function_marks_section = {
        .name = "functions",
        .record_size = sizeof(StateFunction),
        .required = true,
        .read = read_function,
        .write = write_function,
        .clear = clear_function,
};

/* --- the part */

void function_marks_end_adoption(FunctionMarks *marks) {
        g_hash_table_remove_all(marks->by_key);
        g_clear_pointer(&marks->records, g_array_unref);
}

static int new_function_marks(const PartContext *context, void **ret) {
        FunctionMarks *marks = g_new0(FunctionMarks, 1);

        marks->context = context;
        marks->by_key = g_hash_table_new(g_int64_hash, g_int64_equal);
        *ret = marks;
        return 0;
}

static void free_function_marks(void *self) {
        FunctionMarks *marks = self;

        g_hash_table_unref(marks->by_key);
        g_clear_pointer(&marks->records, g_array_unref);
        g_free(marks);
}

static int adopt_function_marks(void *self, const GArray *records) {
        FunctionMarks *marks = self;

        marks->records = g_array_ref((GArray *) records);
        for (guint i = 0; i < records->len; i++) {
                StateFunction *record = &g_array_index(records, StateFunction, i);

                g_hash_table_replace(marks->by_key, &record->key, record);
        }
        return 0;
}

/* What an earlier run knew of this very device. */
static void attach_function_marks(void *self, Function *function) {
        const FunctionMarks *marks = self;
        const StateFunction *record = g_hash_table_lookup(marks->by_key, &function->facts.key);

        if (!record || record->inode != function->facts.inode)
                return;
        function->userspace_driver = record->userspace_driver;
        function->tainted = record->tainted;
        function->lock_why = g_strdup(record->lock_why);
        function->unplugging = record->unplugging;
}

static bool has_marks(const Function *function) {
        return function->userspace_driver || function->tainted || function->lock_why ||
               function->unplugging;
}

static void function_marks_function_gone(void *self, Function *function) {
        const PartContext *context = ((const FunctionMarks *) self)->context;

        if (has_marks(function))
                context->host->record_changed(context->host_context);
}

/* What an earlier run knew of functions that cannot be read yet. */
static void record_unknown(const FunctionMarks *marks, GArray *records) {
        for (guint i = 0; marks->records && i < marks->records->len; i++) {
                StateFunction copy = g_array_index(marks->records, StateFunction, i);

                if (inventory_get(marks->context->inventory, copy.key))
                        continue;
                copy.lock_why = g_strdup(copy.lock_why);
                g_array_append_val(records, copy);
        }
}

static void record_function_marks(void *self, GArray *records) {
        const FunctionMarks *marks = self;
        const Function *function;

        record_unknown(marks, records);
        inventory_foreach (marks->context->inventory, function) {
                StateFunction record = {
                        .key = function->facts.key,
                        .inode = function->facts.inode,
                        .userspace_driver = function->userspace_driver,
                        .tainted = function->tainted,
                        .unplugging = function->unplugging,
                };

                if (!has_marks(function))
                        continue;
                record.lock_why = g_strdup(function->lock_why);
                g_array_append_val(records, record);
        }
}

const Part function_marks_part = {
        .name = "function-marks",
        .section = &function_marks_section,
        .new = new_function_marks,
        .adopt = adopt_function_marks,
        .record = record_function_marks,
        .attach = attach_function_marks,
        .function_gone = function_marks_function_gone,
        .free = free_function_marks,
};
