#include "cli/vocabulary.h"

#include "cli/suggest.h"

#include <glib.h>

const char *const vocabulary_all[] = { "set-num-vfs", "set-autoprobe", "bind",
                                       "unbind",      "reset",         "remove",
                                       "power-off",   "disable-pasid", "open",
                                       NULL };

/* Operations stand for themselves and are not listed. */
static const struct {
        const char *verb, *operations;
} verbs[] = {
        { "set-vfs", "set-num-vfs" },
        { "unplug", "remove" },
        { "io", "open" },
        /* What an administrator's lock refuses. */
        { "lock", "set-num-vfs:set-autoprobe:reset:remove:power-off" },
        { "list", "" },
        { "show", "" },
        { "status", "" },
        { "monitor", "" },
        { "top", "" },
        { "metrics", "" },
        { "log", "" },
        { "help", "" },
        { "why", "" },
        { "users", "" },
        { "inhibitors", "" },
        { "inhibit", "" },
        { "unlock", "" },
        { "cancel-unplug", "" },
        { "release-all", "" },
        { "reload", "" },
        { "check-config", "" },
        { "record", "" },
        { "replay", "" },
        { "libvirt-hook", "" },
};

const char *vocabulary_operations(const char *word) {
        for (const char *const *operation = vocabulary_all; *operation; operation++)
                if (g_str_equal(*operation, word))
                        return *operation;
        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++)
                if (g_str_equal(verbs[i].verb, word))
                        return verbs[i].operations;
        return NULL;
}

static void add_once(GPtrArray *words, const char *word) {
        for (guint i = 0; i < words->len; i++)
                if (g_str_equal(words->pdata[i], word))
                        return;
        g_ptr_array_add(words, g_strdup(word));
}

char *vocabulary_translate(const char *what, char **ret_word) {
        g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
        g_auto(GStrv) split = g_strsplit(what, ":", -1);

        for (char **word = split; *word; word++) {
                const char *operations = vocabulary_operations(*word);

                if (operations && !*operations) {
                        *ret_word = g_strdup(*word);
                        return NULL;
                }
                g_auto(GStrv) each = g_strsplit(operations ? operations : *word, ":", -1);

                for (char **operation = each; *operation; operation++)
                        add_once(words, *operation);
                if (!operations && !**word)
                        add_once(words, ""); /* the daemon says what is wrong with that */
        }
        g_ptr_array_add(words, NULL);
        return g_strjoinv(":", (char **) words->pdata);
}

const char *vocabulary_nearest(const char *word) {
        const char *candidates[G_N_ELEMENTS(vocabulary_all) + G_N_ELEMENTS(verbs)];
        size_t n = 0;

        for (const char *const *operation = vocabulary_all; *operation; operation++)
                candidates[n++] = *operation;
        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++)
                if (*verbs[i].operations)
                        candidates[n++] = verbs[i].verb;
        candidates[n] = NULL;
        return suggest_nearest(word, candidates);
}
