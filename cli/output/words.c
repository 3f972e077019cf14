#include "cli/output/words.h"

#include <glib.h>

typedef struct Words {
        const char *name;
        const char *words;
} Words;

static const Words kinds[] = {
        { "pf", "physical function" },
        { "vf", "virtual function" },
        { "detached-vf",
          "virtual function, detached: its physical function is not on this system" },
        { "plain", "function without SR-IOV" },
        { NULL, NULL },
};

/* What follows from the kind and is not to be seen from it. */
static const Words consequences[] = {
        { "detached-vf", "There is no PF here to lock, only the files that remove or reset it." },
        { NULL, NULL },
};

static const Words reasons[] = {
        { "userspace-driver", "a userspace driver has this function" },
        { "vf-in-use", "one of its virtual functions is in use" },
        { "in-use", "the function is in use" },
        { "inhibitor",
          "a client inhibits an operation on it, on a VF of it or on a function below it" },
        { "administrator", "an administrator locked it" },
        { "below-in-use", "a function below it is in use" },
        { "below-locked", "an administrator locked a function below it" },
        { "vf-locked", "an administrator locked one of its virtual functions" },
        { NULL, NULL },
};

static const Words states[] = {
        { "unplug-requested", "unplug requested, its users were asked" },
        { "draining", "draining, some of its users have released it" },
        { "removing", "being removed" },
        { NULL, NULL },
};

static const Words command_memories[] = {
        { "hardwired-zero",
          "hardwired to 0, as in every VF: a virtual machine monitor must not make "
          "access to the BARs depend on it" },
        { NULL, NULL },
};

static const Words enforcements[] = {
        { "enforce", "enforce, locks write-protect files" },
        { "advise", "advise, locks are reported and write-protect nothing" },
        { NULL, NULL },
};

static const Words isolations[] = {
        { "not-isolated", "not isolated" },
        { "unknown", "unknown, which counts as no" },
        { NULL, NULL },
};

static const char *look_up(const Words *table, const char *name) {
        for (; table->name; table++)
                if (g_str_equal(table->name, name))
                        return table->words;
        return name;
}

const char *words_for_kind(const char *kind) {
        return look_up(kinds, kind);
}

const char *words_for_consequence(const char *kind) {
        const char *words = look_up(consequences, kind);

        return words == kind ? NULL : words;
}

const char *words_for_state(const char *state) {
        return look_up(states, state);
}

const char *words_for_command_memory(const char *command_memory) {
        return look_up(command_memories, command_memory);
}

const char *words_for_enforcement(const char *enforcement) {
        return look_up(enforcements, enforcement);
}

const char *words_for_isolation(const char *isolation) {
        return look_up(isolations, isolation);
}

char *words_for_reason(const char *reason) {
        const char *words = look_up(reasons, reason);

        return words == reason ? g_strdup(reason) : g_strdup_printf("%s: %s", reason, words);
}
