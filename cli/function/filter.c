#include "cli/function/filter.h"

static bool matches(const char *words, const char *text) {
        g_auto(GStrv) each = g_strsplit(words, ",", -1);

        for (char **word = each; *word; word++)
                if (g_pattern_match_simple(*word, text))
                        return true;
        return false;
}

/* "-" stands for nothing, as in a column. */
static bool matches_member(const char *words, JsonObject *function, const char *member) {
        const char *text = function_string(function, member);

        return matches(words, *text ? text : "-");
}

static bool matches_number(const char *words, JsonObject *function, const char *member) {
        g_autofree char *text =
                g_strdup_printf("%" G_GINT64_FORMAT, function_integer(function, member, -1));

        return matches(words, g_str_equal(text, "-1") ? "-" : text);
}

static bool matches_state(const char *words, JsonObject *function) {
        bool in_use = function_flag(function, "InUse");

        return matches(words, in_use ? "in-use" : "free") ||
               matches(words, function_string(function, "State")) ||
               (function_flag(function, "Locked") && matches(words, "locked")) ||
               (function_flag(function, "Tainted") && matches(words, "tainted"));
}

static bool matches_user(const char *words, JsonObject *user) {
        static const char *const members[] = { "Machine", "Unit", "Command" };

        for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
                const char *text = function_string(user, members[i]);

                if (*text && matches(words, text))
                        return true;
        }
        return matches_number(words, user, "Pid");
}

static bool matches_holder(const char *words, JsonObject *function) {
        JsonArray *users = function_array(function, "Users");

        for (guint i = 0; users && i < json_array_get_length(users); i++)
                if (matches_user(words, json_array_get_object_element(users, i)))
                        return true;
        return false;
}

bool function_filter_shows(const FunctionFilter *filter, JsonObject *function) {
        return (!filter->sriov || !function_is(function, "plain")) &&
               (!filter->kind || matches_member(filter->kind, function, "Kind")) &&
               (!filter->driver || matches_member(filter->driver, function, "Driver")) &&
               (!filter->state || matches_state(filter->state, function)) &&
               (!filter->holder || matches_holder(filter->holder, function)) &&
               (!filter->numa || matches_number(filter->numa, function, "NumaNode"));
}
