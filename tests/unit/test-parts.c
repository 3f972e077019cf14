#include "daemon/manager/parts/parts.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <glib/gstdio.h>

/* A part that writes down what is done to it, and remembers numbers. */
typedef struct MadeUp {
        const char *name;
        GArray *numbers; /* of uint64_t */
} MadeUp;

typedef struct StateNumber {
        uint64_t number;
} StateNumber;

static GString *story;
static int new_result, adopt_result, changed_result;

static void tell(const MadeUp *part, const char *what) {
        g_string_append_printf(story, "%s%s %s", story->len > 0 ? ", " : "", part->name, what);
}

/* What has happened since the last time. */
static void assert_story(const char *expected) {
        cr_assert_str_eq(story->str, expected);
        g_string_truncate(story, 0);
}

static int read_number(StateReader *reader, JsonObject *object, void *ret) {
        return state_section_number(object, "number", UINT64_MAX - 1,
                                    &((StateNumber *) ret)->number);
}

static void write_number(StateWriter *writer, const void *record) {
        state_section_add_number(writer, "number", ((const StateNumber *) record)->number);
}

static const StateSection numbers_section = {
        .name = "numbers",
        .record_size = sizeof(StateNumber),
        .read = read_number,
        .write = write_number,
};

static int make(const char *name, void **ret) {
        MadeUp *part = g_new0(MadeUp, 1);

        part->name = name;
        part->numbers = g_array_new(FALSE, FALSE, sizeof(uint64_t));
        tell(part, "new");
        *ret = part;
        return 0;
}

static int new_first(const PartContext *context, void **ret) {
        return make("first", ret);
}

static int new_second(const PartContext *context, void **ret) {
        return new_result < 0 ? new_result : make("second", ret);
}

static int new_third(const PartContext *context, void **ret) {
        return make("third", ret);
}

static int adopt(void *self, const GArray *records) {
        MadeUp *part = self;

        tell(part, "adopt");
        for (guint i = 0; i < records->len; i++)
                g_array_append_val(part->numbers, g_array_index(records, StateNumber, i).number);
        return adopt_result;
}

static void record(void *self, GArray *records) {
        const MadeUp *part = self;

        for (guint i = 0; i < part->numbers->len; i++) {
                StateNumber number = { g_array_index(part->numbers, uint64_t, i) };

                g_array_append_val(records, number);
        }
}

static void attach(void *self, Function *function) {
        tell(self, "attach");
}

static int function_changed(void *self, Function *function, unsigned news) {
        tell(self, "changed");
        return changed_result;
}

static void function_gone(void *self, Function *function) {
        tell(self, "gone");
}

static void end_calls(void *self, const char *why) {
        tell(self, why);
}

static PartCheck wants_check_sometimes(const void *self) {
        return PART_CHECK_SOMETIMES;
}

static PartCheck wants_check_soon(const void *self) {
        return PART_CHECK_SOON;
}

static void check_it(void *self) {
        tell(self, "check");
}

static void free_it(void *self) {
        MadeUp *part = self;

        tell(part, "free");
        g_array_unref(part->numbers);
        g_free(part);
}

static const Part first_part = {
        .name = "first",
        .new = new_first,
        .attach = attach,
        .hears = PART_NEWS_READ | PART_NEWS_USERS,
        .reads = "the first file",
        .function_changed = function_changed,
        .function_gone = function_gone,
        .end_calls = end_calls,
        .wants_check = wants_check_soon,
        .check = check_it,
        .free = free_it,
};
static const Part second_part = {
        .name = "second",
        .section = &numbers_section,
        .new = new_second,
        .adopt = adopt,
        .record = record,
        .attach = attach,
        .hears = PART_NEWS_READ,
        .reads = "the second file",
        .function_changed = function_changed,
        .function_gone = function_gone,
        .wants_check = wants_check_sometimes,
        .check = check_it,
        .free = free_it,
};
/* With nothing but what every part has. */
static const Part third_part = { .name = "third", .new = new_third, .free = free_it };

static const Part *const table[] = { &first_part, &second_part, &third_part, NULL };

static void set_up(void) {
        story = g_string_new(NULL);
}

static void tear_down(void) {
        g_string_free(story, TRUE);
}

TestSuite(parts, .init = set_up, .fini = tear_down);

Test(parts, are_made_in_order_and_end_in_reverse) {
        g_autoptr(Parts) parts = parts_new(table);

        cr_assert_null(parts_find(parts, &second_part), "it is not made yet");
        cr_assert_eq(parts_make(parts, &(PartContext){ 0 }), 0);
        assert_story("first new, second new, third new");
        cr_assert_str_eq(((const MadeUp *) parts_find(parts, &second_part))->name, "second");
        parts_attach(parts, NULL);
        assert_story("first attach, second attach");
        parts_function_gone(parts, NULL);
        assert_story("second gone, first gone");
        parts_end_calls(parts, "calls end");
        assert_story("first calls end");
        g_clear_pointer(&parts, parts_free);
        assert_story("third free, second free, first free");
}

Test(parts, those_made_before_a_failure_are_freed) {
        Parts *parts = parts_new(table);

        new_result = -ENOMEM;
        cr_assert_eq(parts_make(parts, &(PartContext){ 0 }), -ENOMEM);
        parts_free(parts);
        assert_story("first new, first free");
}

Test(parts, hear_what_they_asked_for) {
        g_autoptr(Parts) parts = parts_new(table);
        const char *reads = NULL;

        parts_make(parts, &(PartContext){ 0 });
        g_string_truncate(story, 0);
        cr_assert_eq(parts_function_changed(parts, NULL, PART_NEWS_READ, &reads), 0);
        assert_story("first changed, second changed");
        cr_assert_eq(parts_function_changed(parts, NULL, PART_NEWS_USERS, &reads), 0);
        assert_story("first changed");
        cr_assert_eq(parts_function_changed(parts, NULL, PART_NEWS_OPERATION, &reads), 0);
        assert_story("");
        cr_assert_null(reads);

        /* All hear of it, and the first failure is what is reported. */
        changed_result = -EIO;
        cr_assert_eq(parts_function_changed(parts, NULL, PART_NEWS_READ, &reads), -EIO);
        assert_story("first changed, second changed");
        cr_assert_str_eq(reads, "the first file");
}

Test(parts, are_checked_as_soon_as_one_wants) {
        g_autoptr(Parts) parts = parts_new(table);

        cr_assert_eq(parts_wants_check(parts), PART_CHECK_NEVER);
        parts_make(parts, &(PartContext){ 0 });
        cr_assert_eq(parts_wants_check(parts), PART_CHECK_SOON);
        g_string_truncate(story, 0);
        parts_check(parts);
        assert_story("first check, second check");
}

/* What a part records, the same part of the next daemon adopts, by way of the file. */
Test(parts, records_come_back) {
        g_autofree char *directory = g_dir_make_tmp("vfwarden-parts-XXXXXX", NULL);
        g_autofree char *path = g_build_filename(directory, "state.json", NULL);
        g_autofree char *reason = NULL;
        g_autoptr(Parts) before = parts_new(table), after = parts_new(table);
        g_autoptr(State) saved = state_new(parts_sections(before)), loaded = NULL;
        const MadeUp *second;

        parts_make(before, &(PartContext){ 0 });
        parts_make(after, &(PartContext){ 0 });
        second = parts_find(before, &second_part);
        for (uint64_t number = 1ULL << 60; number < (1ULL << 60) + 3; number++)
                g_array_append_val(second->numbers, number);
        parts_record(before, saved);
        cr_assert_eq(state_save(directory, saved), 0);

        cr_assert_eq(state_load(directory, parts_sections(after), &loaded, &reason), 0);
        cr_assert_eq(parts_adopt(after, loaded), 0);
        second = parts_find(after, &second_part);
        cr_assert_eq(second->numbers->len, 3);
        cr_assert_eq(g_array_index(second->numbers, uint64_t, 2), (1ULL << 60) + 2);

        adopt_result = -EMFILE;
        cr_assert_eq(parts_adopt(after, loaded), -EMFILE);
        (void) g_remove(path);
        (void) g_rmdir(directory);
}

/* --- the daemon's own table */

static unsigned row(const Part *part) {
        for (unsigned i = 0; parts_table[i]; i++)
                if (parts_table[i] == part)
                        return i;
        cr_assert_fail("%s is not in the table", part->name);
        return 0;
}

/* Why, parts.c says. */
Test(parts, order_of_the_table) {
        static const struct {
                const Part *above, *below;
        } rules[] = {
                { &spawner_part, &sessions_part },
                { &spawner_part, &leases_part },
                { &spawner_part, &vf_tokens_part },
                { &protected_files_part, &operations_part },
                { &operations_part, &unplugs_part },
                { &users_part, &leases_part },
                { &users_part, &vf_tokens_part },
                { &users_part, &sessions_part },
                { &users_part, &external_removals_part },
                { &operations_part, &device_nodes_part },
                { &sessions_part, &device_nodes_part },
                { &device_nodes_part, &unplugs_part },
                { &function_marks_part, &unplugs_part },
                { &sessions_part, &unplugs_part },
                { &leases_part, &unplugs_part },
        };

        for (unsigned i = 0; i < G_N_ELEMENTS(rules); i++)
                cr_assert_lt(row(rules[i].above), row(rules[i].below), "%s above %s",
                             rules[i].above->name, rules[i].below->name);
}

Test(parts, every_row_is_whole) {
        g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(GHashTable) lists = g_hash_table_new(g_str_hash, g_str_equal);

        for (unsigned i = 0; parts_table[i]; i++) {
                const Part *part = parts_table[i];

                cr_assert(g_hash_table_add(names, (gpointer) part->name), "%s is there twice",
                          part->name);
                cr_assert_not_null(part->new, "%s", part->name);
                cr_assert_eq(part->section != NULL, part->record != NULL, "%s", part->name);
                cr_assert_eq(part->section != NULL,
                             (part->adopt != NULL) + (part->adopt_known != NULL), "%s", part->name);
                cr_assert_eq(part->hears != 0, part->function_changed != NULL, "%s", part->name);
                cr_assert_eq(part->wants_check != NULL, part->check != NULL, "%s", part->name);
                cr_assert(!part->section || g_hash_table_add(lists, (gpointer) part->section->name),
                          "%s", part->name);
        }
}
