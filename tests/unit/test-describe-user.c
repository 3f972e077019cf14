#include "dbus/interfaces/describe/describe-user.h"

#include <criterion/criterion.h>

static const char *type_of(JsonNode *node) {
        GType type = json_node_get_value_type(node);

        return type == G_TYPE_STRING    ? "string"
               : type == G_TYPE_BOOLEAN ? "boolean"
               : type == G_TYPE_INT64   ? "number"
                                        : "?";
}

static JsonObject *object_of(const User *user, bool commands) {
        g_autoptr(JsonBuilder) builder = json_builder_new();
        g_autoptr(JsonNode) root = NULL;

        describe_user(builder, user, commands);
        root = json_builder_get_root(builder);
        return json_node_dup_object(root);
}

/* Adds "NAME (TYPE)" of each member. */
static void collect(GHashTable *members, const User *user) {
        g_autoptr(JsonObject) object = object_of(user, true);
        JsonObjectIter iter;
        const char *name;
        JsonNode *value;

        json_object_iter_init(&iter, object);
        while (json_object_iter_next(&iter, &name, &value))
                g_hash_table_add(members, g_strdup_printf("%s (%s)", name, type_of(value)));
}

/* The same of what the paragraph "Members of a user:" lists. */
static GHashTable *documented(void) {
        GHashTable *members = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autofree char *path =
                g_build_filename(g_getenv("VFWARDEN_DBUS_XML"), "org.vfwarden1.Manager.xml", NULL);
        g_autoptr(GRegex) regex =
                g_regex_new("\"(\\w+)\"\\s+\\((\\w+)\\)", G_REGEX_DEFAULT, 0, NULL);
        g_autoptr(GMatchInfo) match = NULL;
        g_autofree char *text = NULL;
        char *begin, *end;

        cr_assert(g_file_get_contents(path, &text, NULL, NULL));
        begin = strstr(text, "Members of a user:");
        cr_assert_not_null(begin);
        end = strstr(begin, "\n\n");
        cr_assert_not_null(end);
        *end = '\0';
        for (g_regex_match(regex, begin, 0, &match); g_match_info_matches(match);
             g_match_info_next(match, NULL)) {
                g_autofree char *name = g_match_info_fetch(match, 1);
                g_autofree char *type = g_match_info_fetch(match, 2);

                g_hash_table_add(members, g_strdup_printf("%s (%s)", name, type));
        }
        return members;
}

Test(describe_user, every_member_is_documented_and_there) {
        User user = { .pid = 7,
                      .uid = 8,
                      .command = (char *) "a",
                      .unit = (char *) "b",
                      .machine = (char *) "c" };
        User unknown = {
                .command = (char *) "", .unit = (char *) "", .machine = (char *) "", .unknown = true
        };
        g_autoptr(GHashTable) expected = documented();
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        GHashTableIter iter;
        gpointer member;

        user.n_others = 9;
        collect(seen, &user);
        unknown.socket_pid = 6;
        collect(seen, &unknown);
        g_hash_table_iter_init(&iter, seen);
        while (g_hash_table_iter_next(&iter, &member, NULL))
                cr_assert(g_hash_table_contains(expected, member), "%s is not documented",
                          (char *) member);
        g_hash_table_iter_init(&iter, expected);
        while (g_hash_table_iter_next(&iter, &member, NULL))
                cr_assert(g_hash_table_contains(seen, member), "%s is not there", (char *) member);
}

Test(describe_user, the_command_is_for_root) {
        User user = { .pid = 7,
                      .command = (char *) "qemu -name web",
                      .unit = (char *) "b",
                      .machine = (char *) "c" };
        g_autoptr(JsonObject) all = object_of(&user, true);
        g_autoptr(JsonObject) some = object_of(&user, false);

        cr_assert_str_eq(json_object_get_string_member(all, "Command"), "qemu -name web");
        cr_assert_str_eq(json_object_get_string_member(some, "Command"), "");
        cr_assert_str_eq(json_object_get_string_member(some, "Machine"), "c");
}
