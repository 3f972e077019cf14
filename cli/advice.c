#include "cli/advice.h"

#include "cli/holders.h"
#include "policy/blocker-kinds.h"

static void say(GPtrArray *advice, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void say(GPtrArray *advice, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        g_ptr_array_add(advice, g_strdup_vprintf(format, arguments));
        va_end(arguments);
}

static bool asks_for(const Question *question, const char *operation) {
        return g_str_equal(question->operation, operation);
}

/* Unplug is the orderly way for what takes the function away anyway; and a VF ends unbound by it,
 * which frees its PF for all the rest. To unplug a PF for a reset of it would be too much of the
 * good. */
static void advise_unplug(const Question *question, const char *subject, GPtrArray *advice) {
        JsonObject *function = inventory_find(question->inventory, subject);

        if (asks_for(question, "remove") || asks_for(question, "power-off"))
                say(advice, "\"vfwarden unplug %s\" asks its users and removes it in order",
                    question->address);
        else if (!g_str_equal(subject, question->address) && function &&
                 function_is(function, "vf"))
                say(advice, "\"vfwarden unplug %s\" asks to release it", subject);
}

static void advise_user(const Question *question, JsonObject *blocker, GPtrArray *advice) {
        const char *subject = function_string(blocker, "Subject");
        gint64 pid = function_integer(blocker, "Pid", 0);
        JsonObject *user = holders_find(question->users, subject, pid);
        const char *machine = user ? function_string(user, "Machine") : "";
        const char *unit = user ? function_string(user, "Unit") : "";

        if (pid == 0) {
                say(advice, "ask again: it may be passing from one process to another");
                return;
        }
        if (*machine)
                say(advice, "shut the virtual machine %s down, or detach %s from it", machine,
                    subject);
        else if (g_str_has_suffix(unit, ".service"))
                say(advice, "\"systemctl stop %s\", if it can be missed", unit);
        else
                say(advice, "end the process %" G_GINT64_FORMAT ", or make it release %s", pid,
                    subject);
        advise_unplug(question, subject, advice);
}

static void advise_pasid(const Question *question, JsonObject *blocker, GPtrArray *advice) {
        advise_user(question, blocker, advice);
}

/* What a person does about each kind of use. OBJECT and BY are the use's. */
static const struct {
        const char *kind, *before, *after;
        bool by; /* and not the object stands between */
} use_advice[] = {
        { "network-namespace",
          "end the container that has the interface, or move it back: \"ip -n ",
          " link set dev INTERFACE netns 1\"", true },
        { "network-port", "\"ip link set dev ", " nomaster\", if it can be missed", false },
        { "network-lower", "\"ip link delete dev ", "\", if it can be missed", true },
        { "network-lower-elsewhere", "end the container that has ", "", true },
        { "network-address", "\"ip address flush dev ", "\", if the host can miss its addresses",
          false },
        { "network-route", "give the default route to another interface than ", "", false },
        { "network-up", "\"ip link set dev ", " down\", if the host can miss it", false },
        { "packet-socket", "end ", "", true },
        { "xdp", "\"ip link set dev ", " xdp off\", or end the program that keeps it", false },
        { "mount", "\"umount ", "\", if it can be missed", true },
        { "swap", "\"swapoff /dev/", "\"", false },
        { "block-holder", "take it out of ", ", or end what is made of it", true },
        { "block-open", "end ", ", or have it close the disk", true },
        { "storage-node", "end ", ", or have it close the device", true },
        { "rdma", "end ", "", true },
        { "mapped", "end ", "", true },
        { "vdpa", "end ", ", or have it release the device", true },
        { "mdev", "end ", ", or have it release the device", true },
};

static void say_use(JsonObject *use, GPtrArray *advice) {
        for (size_t i = 0; i < G_N_ELEMENTS(use_advice); i++)
                if (g_str_equal(function_string(use, "Kind"), use_advice[i].kind))
                        say(advice, "%s%s%s", use_advice[i].before,
                            function_string(use, use_advice[i].by ? "By" : "Object"),
                            use_advice[i].after);
}

/* How to end the use; never how to take the function away in spite of it. */
static void advise_host(const Question *question, JsonObject *blocker, GPtrArray *advice) {
        JsonObject *function =
                inventory_find(question->inventory, function_string(blocker, "Subject"));
        JsonArray *uses = function ? function_array(function, "Uses") : NULL;

        for (guint i = 0; uses && i < json_array_get_length(uses); i++) {
                JsonObject *use = json_array_get_object_element(uses, i);

                if (g_str_has_suffix(function_string(blocker, "Reason"),
                                     function_string(use, "Text")))
                        say_use(use, advice);
        }
}

static bool is_used_by_host(JsonObject *function) {
        JsonArray *uses = function ? function_array(function, "Uses") : NULL;

        return uses && json_array_get_length(uses) > 0;
}

static void advise_driver(const Question *question, JsonObject *blocker, GPtrArray *advice) {
        const char *subject = function_string(blocker, "Subject");
        JsonObject *function = inventory_find(question->inventory, subject);

        if (is_used_by_host(function)) {
                say(advice, "leave %s to the host, which uses it: see \"vfwarden show %s\"",
                    subject, subject);
                return;
        }
        say(advice, "\"vfwarden bind %s vfio-pci\" %s", subject,
            function && *function_string(function, "Driver") ? "takes it from the host"
                                                             : "gives it to VFIO");
}

/* An older daemon says "group" for a driver, too. */
static void advise_group(const Question *question, JsonObject *blocker, GPtrArray *advice) {
        const char *subject = function_string(blocker, "Subject");
        gint64 pid = function_integer(blocker, "Pid", 0);

        if (pid != 0 || holders_find(question->users, subject, 0))
                advise_user(question, blocker, advice);
        else
                advise_driver(question, blocker, advice);
}

static void advise_inhibitor(const Question *question, JsonObject *blocker, GPtrArray *advice) {
        const char *who = function_string(blocker, "Subject");
        gint64 pid = function_integer(blocker, "Pid", 0);

        for (guint i = 0; i < json_array_get_length(question->inhibitors); i++) {
                JsonObject *inhibitor = json_array_get_object_element(question->inhibitors, i);

                if (function_integer(inhibitor, "Pid", 0) != pid ||
                    !g_str_equal(function_string(inhibitor, "Who"), who))
                        continue;
                say(advice,
                    "wait for %s, or ask the user %" G_GINT64_FORMAT
                    " who started it: it ends with "
                    "the process %" G_GINT64_FORMAT,
                    who, function_integer(inhibitor, "Uid", 0), pid);
                return;
        }
        say(advice, "wait for %s, or ask its owner: it ends with the process %" G_GINT64_FORMAT,
            who, pid);
}

/* An unplug asks a client that delays it, as it asks a user. */
static void advise_delay(const Question *question, JsonObject *blocker, GPtrArray *advice) {
        static const char *const operations[] = { "remove", "power-off", "unbind", NULL };

        if (g_strv_contains(operations, question->operation))
                say(advice, "\"vfwarden unplug %s\" asks %s to release it, and waits for that",
                    question->address, function_string(blocker, "Subject"));
        advise_inhibitor(question, blocker, advice);
}

/* The reason userspace-driver is about SR-IOV alone. */
static void advise_lock(const Question *question, JsonObject *blocker, GPtrArray *advice) {
        const char *subject = function_string(blocker, "Subject");
        JsonObject *function = inventory_find(question->inventory, subject);
        g_autofree char *joined = function ? function_joined(function, "LockReasons", ",") : NULL;
        g_auto(GStrv) reasons = g_strsplit(joined ? joined : "", ",", -1);

        if (g_strv_contains((const char *const *) reasons, "administrator"))
                say(advice, "\"vfwarden unlock %s\" removes the administrator's lock", subject);
        if (!g_strv_contains((const char *const *) reasons, "userspace-driver"))
                return;
        if (asks_for(question, "set-num-vfs"))
                say(advice, "\"vfwarden set-vfs --override %s COUNT\" ignores it", subject);
        if (asks_for(question, "set-num-vfs") || asks_for(question, "set-autoprobe"))
                say(advice, "\"vfwarden bind %s\" gives it back to its driver on the host",
                    subject);
}

static void advise_operation(const Question *question, JsonObject *blocker, GPtrArray *advice) {
        const char *subject = function_string(blocker, "Subject");
        JsonObject *function = inventory_find(question->inventory, subject);
        const char *state = function ? function_string(function, "State") : "";

        if (g_str_equal(state, "unplug-requested") || g_str_equal(state, "draining"))
                say(advice, "wait, or \"vfwarden cancel-unplug %s\"", subject);
        else
                say(advice, "wait until it has ended; \"vfwarden monitor\" shows it");
}

static void advise_session(const Question *question, JsonObject *blocker, GPtrArray *advice) {
        say(advice, "end the process %" G_GINT64_FORMAT " that has the session",
            function_integer(blocker, "Pid", 0));
        advise_unplug(question, function_string(blocker, "Subject"), advice);
}

static void advise_unreadable(const Question *question, JsonObject *blocker, GPtrArray *advice) {
        say(advice,
            "wait: it is read again every few seconds; \"vfwarden status\" shows what fails");
}

static void advise_unsupported(const Question *question, JsonObject *blocker, GPtrArray *advice) {
        /* Nothing that a client can do gives the device a method. */
}

GPtrArray *advice_for(const Question *question, JsonObject *blocker) {
        static const struct {
                const char *kind;
                void (*advise)(const Question *question, JsonObject *blocker, GPtrArray *advice);
        } kinds[] = {
#define ADVICE_ROW(kind, word, unplug, text) { #word, advise_##word },
                BLOCKER_KINDS(ADVICE_ROW)
#undef ADVICE_ROW
        };
        GPtrArray *advice = g_ptr_array_new_with_free_func(g_free);

        for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
                if (g_str_equal(function_string(blocker, "Kind"), kinds[i].kind))
                        kinds[i].advise(question, blocker, advice);
        return advice;
}
