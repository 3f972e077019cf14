#include "daemon/guard/function-marks.h"

#include <errno.h>

struct FunctionMarks {
        const PartContext *context;
        GArray *records;    /* of StateFunction, of an earlier run; NULL when all are known */
        GHashTable *by_key; /* PciKey in the record -> StateFunction in `records` */
        GHashTable *linked; /* set of PciKey*: VFs in use, which are recorded with their PFs */
};

static int read_link(JsonObject *object, StateFunction *function) {
        const char *physfn = state_section_text(object, "physfn");
        PciAddress address;

        if (!json_object_has_member(object, "physfn"))
                return 0;
        if (!physfn || pci_address_parse(physfn, &address) < 0 ||
            state_section_number32(object, "index", VF_INDEX_UNKNOWN, &function->index) < 0)
                return -EBADMSG;
        function->physfn = pci_address_key(address);
        function->linked = true;
        return 0;
}

static int read_function(StateReader *reader, JsonObject *object, void *ret) {
        const char *lock_why = state_section_text(object, "lock-why");
        const char *unplug_asked = state_section_text(object, "unplug-asked");
        StateFunction *function = ret;

        if (state_section_address(object, &function->key) < 0 ||
            state_section_number(object, "inode", STATE_ID_MAX, &function->inode) < 0 ||
            (json_object_has_member(object, "lock-why") && !lock_why) ||
            (json_object_has_member(object, "unplug-asked") && !unplug_asked) ||
            read_link(object, function) < 0 ||
            !state_section_is_new_number(reader, "function", function->key))
                return -EBADMSG;
        function->userspace_driver = state_section_flag(object, "userspace-driver");
        function->tainted = state_section_flag(object, "tainted");
        function->unplugging = state_section_flag(object, "unplugging");
        function->lock_why = g_strdup(lock_why);
        function->unplug_asked = g_strdup(unplug_asked);
        return 0;
}

static void write_function(StateWriter *writer, const void *record) {
        const StateFunction *function = record;

        state_section_add_address(writer, function->key);
        state_section_add_number(writer, "inode", function->inode);
        state_section_add_flag(writer, "userspace-driver", function->userspace_driver);
        state_section_add_flag(writer, "tainted", function->tainted);
        state_section_add_flag(writer, "unplugging", function->unplugging);
        if (function->lock_why)
                state_section_add_text(writer, "lock-why", function->lock_why);
        if (function->unplug_asked)
                state_section_add_text(writer, "unplug-asked", function->unplug_asked);
        if (function->linked) {
                char address[PCI_ADDRESS_STRING_MAX];

                state_section_add_text(
                        writer, "physfn",
                        pci_address_format(pci_address_from_key(function->physfn), address));
                state_section_add_number(writer, "index", function->index);
        }
}

static void clear_function(void *record) {
        StateFunction *function = record;

        g_free(function->lock_why);
        g_free(function->unplug_asked);
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
        marks->linked = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        *ret = marks;
        return 0;
}

static void free_function_marks(void *self) {
        FunctionMarks *marks = self;

        g_hash_table_unref(marks->by_key);
        g_hash_table_unref(marks->linked);
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

/* A PF is read after its VFs. */
static void restore_vfs(const FunctionMarks *marks, const Function *pf) {
        for (guint i = 0; marks->records && i < marks->records->len; i++) {
                const StateFunction *record = &g_array_index(marks->records, StateFunction, i);
                Function *vf = record->linked && record->physfn == pf->facts.key
                                       ? inventory_get_device(marks->context->inventory,
                                                              record->key, record->inode)
                                       : NULL;

                if (vf)
                        inventory_restore_vf(marks->context->inventory, vf, record->physfn,
                                             record->index);
        }
}

/* What an earlier run knew of this very device. */
static void attach_function_marks(void *self, Function *function) {
        const FunctionMarks *marks = self;
        const StateFunction *record = g_hash_table_lookup(marks->by_key, &function->facts.key);

        if (function->kind == FUNCTION_KIND_PF)
                restore_vfs(marks, function);
        if (!record || record->inode != function->facts.inode)
                return;
        function->userspace_driver = record->userspace_driver;
        function->tainted = record->tainted;
        function->lock_why = g_strdup(record->lock_why);
        function->unplugging = record->unplugging;
        function->unplug_asked = g_strdup(record->unplug_asked);
        if (record->linked)
                inventory_restore_vf(marks->context->inventory, function, record->physfn,
                                     record->index);
}

static bool is_linked(const Function *function) {
        return function->pf && function_in_use(function);
}

static int function_marks_hear(void *self, Function *function, unsigned news) {
        const FunctionMarks *marks = self;
        PciKey key = function->facts.key;
        bool linked = is_linked(function);

        if (linked == g_hash_table_contains(marks->linked, &key))
                return 0;
        if (linked)
                g_hash_table_add(marks->linked, g_memdup2(&key, sizeof(key)));
        else
                g_hash_table_remove(marks->linked, &key);
        marks->context->host->record_changed(marks->context->host_context);
        return 0;
}

static bool has_marks(const Function *function) {
        return function->userspace_driver || function->tainted || function->lock_why ||
               function->unplugging || is_linked(function);
}

static void function_marks_function_gone(void *self, Function *function) {
        const FunctionMarks *marks = self;
        const PartContext *context = marks->context;

        if (g_hash_table_remove(marks->linked, &function->facts.key) || has_marks(function))
                context->host->record_changed(context->host_context);
}

/* What an earlier run knew of functions that cannot be read yet. */
static void record_unknown(const FunctionMarks *marks, GArray *records) {
        for (guint i = 0; marks->records && i < marks->records->len; i++) {
                StateFunction copy = g_array_index(marks->records, StateFunction, i);

                if (inventory_get(marks->context->inventory, copy.key))
                        continue;
                copy.lock_why = g_strdup(copy.lock_why);
                copy.unplug_asked = g_strdup(copy.unplug_asked);
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
                        .linked = is_linked(function),
                        .physfn = function->pf ? function->pf->facts.key : 0,
                        .index = function->index,
                };

                if (!has_marks(function))
                        continue;
                record.lock_why = g_strdup(function->lock_why);
                record.unplug_asked = g_strdup(function->unplug_asked);
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
        .hears = PART_NEWS_READ | PART_NEWS_USERS,
        .function_changed = function_marks_hear,
        .function_gone = function_marks_function_gone,
        .free = free_function_marks,
};
