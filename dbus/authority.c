#include "dbus/authority.h"

#include "daemon/log.h"
#include "dbus/error.h"
#include "dbus/grants.h"
#include "dbus/quota.h"

#include <errno.h>
#include <string.h>

/* Time for a person to type a password, and for polkit to answer by itself. */
#define INTERACTIVE_TIMEOUT_USEC (5 * 60 * 1000 * 1000ULL)
#define TIMEOUT_USEC             (25 * 1000 * 1000ULL)

/* CheckAuthorizationFlags of polkit's D-Bus interface. */
#define POLKIT_ALLOW_USER_INTERACTION 1U

typedef struct Question {
        Authority *authority;
        MethodCall call; /* holds a reference to the message */
        const char *action;
        AuthorityCallback *callback;
        void *userdata;
        sd_bus_slot *slot;
        sd_bus_slot *departure; /* of the caller from the bus; NULL if nobody is to be asked */
        char id[32];            /* for polkit, which knows it by this while `asked` */
        bool asked;
        bool counted; /* in the authority's quota */
        bool repeats; /* a yes is remembered */
} Question;

struct Authority {
        Bus *bus;
        GHashTable *questions; /* set of Question*, owned */
        Quota *quota;          /* of questions asked of polkit */
        Grants *grants;
        uint64_t next_id;
};

static void question_free(gpointer data) {
        Question *question = data;

        if (question->counted)
                quota_give(question->authority->quota, question->call.uid);
        sd_bus_slot_unref(question->slot);
        sd_bus_slot_unref(question->departure);
        sd_bus_message_unref(question->call.message);
        g_free(question);
}

Authority *authority_new(Bus *bus) {
        Authority *authority = g_new0(Authority, 1);

        authority->bus = bus;
        authority->questions = g_hash_table_new_full(NULL, NULL, question_free, NULL);
        authority->quota = quota_new();
        authority->grants = grants_new();
        return authority;
}

Authority *authority_free(Authority *authority) {
        if (!authority)
                return NULL;
        g_hash_table_unref(authority->questions);
        quota_unref(authority->quota);
        grants_free(authority->grants);
        g_free(authority);
        return NULL;
}

static void question_end(Question *question) {
        g_hash_table_remove(question->authority->questions, question);
}

/* What polkit is told of the function concerned. */
typedef struct Details {
        char address[PCI_ADDRESS_STRING_MAX], pf[PCI_ADDRESS_STRING_MAX];
        const char *kind, *driver;
} Details;

/* Whether there is one. */
static bool find_details(const Authority *authority, const MethodCall *call, Details *ret) {
        const Inventory *inventory = manager_inventory(authority->bus->manager);
        const Function *function = NULL;

        if (call->inode != 0)
                function = inventory_get(inventory, call->key);
        if (!function)
                return false;
        *ret = (Details){ .kind = function_kind_to_string(function->kind),
                          .driver = function->facts.driver };
        pci_address_format(function_address(function), ret->address);
        if (function->pf)
                pci_address_format(function_address(function->pf), ret->pf);
        return true;
}

/* All that the answer rests on; see grants.h. */
static char *question_text(const Authority *authority, const MethodCall *call, const char *action) {
        Details details = { .kind = "", .driver = "" };

        (void) find_details(authority, call, &details);
        return g_strjoin("\n", sd_bus_message_get_sender(call->message), action, details.address,
                         details.kind, details.driver, details.pf, NULL);
}

static void question_allow(Question *question) {
        Authority *authority = question->authority;

        if (question->repeats) {
                g_autofree char *text = question_text(authority, &question->call, question->action);

                grants_add(authority->grants, text,
                           &(Grant){ question->call.uid, question->call.pid },
                           (uint64_t) g_get_monotonic_time());
        }
        question->callback(question->userdata, &question->call);
        question_end(question);
}

static void question_refuse(Question *question, int r, const char *why) {
        sd_bus_error error = SD_BUS_ERROR_NULL;

        (void) bus_error_set(&error, r, "%s needs %s: %s",
                             sd_bus_message_get_member(question->call.message), question->action,
                             why);
        (void) sd_bus_reply_method_error(question->call.message, &error);
        sd_bus_error_free(&error);
        question_end(question);
}

/* No polkit on this bus: nobody can say yes to anybody but root. */
static void question_decide_alone(Question *question) {
        if (question->call.uid == 0)
                question_allow(question);
        else
                question_refuse(question, -EACCES, "polkit is not there to allow it");
}

/* Not installed, not to be started, or masked by the administrator. */
static bool polkit_is_absent(sd_bus_message *reply) {
        static const char *const errors[] = {
                SD_BUS_ERROR_SERVICE_UNKNOWN,
                SD_BUS_ERROR_NAME_HAS_NO_OWNER,
                "org.freedesktop.systemd1.NoSuchUnit",
                "org.freedesktop.systemd1.UnitMasked",
        };

        for (unsigned i = 0; i < G_N_ELEMENTS(errors); i++)
                if (sd_bus_message_is_method_error(reply, errors[i]))
                        return true;
        return false;
}

static int on_polkit_answer(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Question *question = userdata;
        int authorized, challenge;

        question->asked = false;

        if (polkit_is_absent(reply)) {
                question_decide_alone(question);
                return 0;
        }
        if (sd_bus_message_is_method_error(reply, NULL)) {
                log_warning("polkit did not answer for %s: %s", question->action,
                            sd_bus_message_get_error(reply)->message);
                question_refuse(question, -EACCES, "polkit did not answer");
                return 0;
        }
        if (sd_bus_message_enter_container(reply, 'r', "bba{ss}") < 0 ||
            sd_bus_message_read(reply, "bb", &authorized, &challenge) < 0)
                question_refuse(question, -EACCES, "polkit's answer was not understood");
        else if (authorized)
                question_allow(question);
        else
                question_refuse(question, -EACCES,
                                challenge ? "authentication is required" : "polkit refused");
        return 0;
}

static int append_details(sd_bus_message *message, const Question *question) {
        Details details;

        if (!find_details(question->authority, &question->call, &details))
                return sd_bus_message_append(message, "a{ss}", 0);
        return sd_bus_message_append(message, "a{ss}", 4, "address", details.address, "kind",
                                     details.kind, "driver", details.driver, "pf", details.pf);
}

static int ask_polkit(Question *question) {
        sd_bus *connection = question->authority->bus->connection;
        bool interactive =
                sd_bus_message_get_allow_interactive_authorization(question->call.message) > 0;
        sd_bus_message *message = NULL;
        int r;

        r = sd_bus_message_new_method_call(connection, &message, "org.freedesktop.PolicyKit1",
                                           "/org/freedesktop/PolicyKit1/Authority",
                                           "org.freedesktop.PolicyKit1.Authority",
                                           "CheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(message, "(sa{sv})s", "system-bus-name", 1, "name", "s",
                                          sd_bus_message_get_sender(question->call.message),
                                          question->action);
        if (r >= 0)
                r = append_details(message, question);
        if (r >= 0)
                r = sd_bus_message_append(message, "us",
                                          interactive ? POLKIT_ALLOW_USER_INTERACTION : 0U,
                                          question->id);
        question->slot = sd_bus_slot_unref(question->slot);
        if (r >= 0)
                r = sd_bus_call_async(connection, &question->slot, message, on_polkit_answer,
                                      question,
                                      interactive ? INTERACTIVE_TIMEOUT_USEC : TIMEOUT_USEC);
        sd_bus_message_unref(message);
        question->asked = r >= 0;
        return r;
}

/* Who was to be asked for a password need not answer any more. */
static int on_departure(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
        Question *question = userdata;
        const char *name, *before, *owner;

        if (sd_bus_message_read(signal, "sss", &name, &before, &owner) < 0 || owner[0] != '\0')
                return 0;
        if (question->asked)
                (void) sd_bus_call_method_async(
                        question->authority->bus->connection, NULL, "org.freedesktop.PolicyKit1",
                        "/org/freedesktop/PolicyKit1/Authority",
                        "org.freedesktop.PolicyKit1.Authority", "CancelCheckAuthorization", NULL,
                        NULL, "s", question->id);
        question_end(question);
        return 0;
}

/* sd-bus would take an error for the end of the connection; without the match the person is asked in vain. */
static int on_match_installed(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return 0;
}

/* Not by sd_bus_track, which waits for the bus. Where no person is asked, polkit answers at once by itself. */
static void watch_departure(Question *question) {
        sd_bus_message *call = question->call.message;
        g_autofree char *match = NULL;

        if (sd_bus_message_get_allow_interactive_authorization(call) <= 0)
                return;
        match = g_strdup_printf("type='signal',sender='org.freedesktop.DBus',"
                                "path='/org/freedesktop/DBus',interface='org.freedesktop.DBus',"
                                "member='NameOwnerChanged',arg0='%s'",
                                sd_bus_message_get_sender(call));
        (void) sd_bus_add_match_async(question->authority->bus->connection, &question->departure,
                                      match, on_departure, on_match_installed, question);
}

/* Takes UnixUserID and ProcessID from the credentials. Returns 0, or a negative errno when the uid is not
 * among them. */
static int read_credentials(sd_bus_message *reply, MethodCall *call) {
        const char *name;
        int r;

        r = sd_bus_message_enter_container(reply, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
                r = sd_bus_message_read(reply, "s", &name);
                if (r >= 0 && g_str_equal(name, "UnixUserID"))
                        r = sd_bus_message_read(reply, "v", "u", &call->uid);
                else if (r >= 0 && g_str_equal(name, "ProcessID"))
                        r = sd_bus_message_read(reply, "v", "u", &call->pid);
                else if (r >= 0)
                        r = sd_bus_message_skip(reply, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        if (r < 0)
                return r;
        return call->uid == METHOD_UID_UNKNOWN ? -ENODATA : 0;
}

static int on_credentials(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Question *question = userdata;

        /* The bus does not know the caller any more: there is nobody to answer. */
        if (sd_bus_message_is_method_error(reply, NULL) ||
            read_credentials(reply, &question->call) < 0) {
                question_end(question);
                return 0;
        }

        if (quota_take(question->authority->quota, question->call.uid) < 0) {
                question_refuse(question, -EDQUOT, "too many requests of this user are waiting");
                return 0;
        }
        question->counted = true;
        if (ask_polkit(question) < 0)
                question_refuse(question, -EACCES, "polkit cannot be asked");
        return 0;
}

/* Whether the caller was allowed the same a moment ago; then the call is theirs to run. */
static bool is_granted(const Authority *authority, MethodCall *call, const char *action) {
        g_autofree char *text = question_text(authority, call, action);
        Grant grant;

        if (!grants_find(authority->grants, text, (uint64_t) g_get_monotonic_time(), &grant))
                return false;
        call->uid = grant.uid;
        call->pid = grant.pid;
        return true;
}

int authority_ask(Authority *authority, const MethodCall *call, const char *action, bool repeats,
                  AuthorityCallback *callback, void *userdata, sd_bus_error *error) {
        MethodCall granted = *call;
        Question *question;
        int r;

        /* Where a person may be asked, the yes may be theirs, and is for once. */
        repeats = repeats && sd_bus_message_get_allow_interactive_authorization(call->message) <= 0;
        if (repeats && is_granted(authority, &granted, action)) {
                callback(userdata, &granted);
                return 1;
        }
        question = g_new0(Question, 1);
        question->repeats = repeats;
        question->authority = authority;
        question->call = *call;
        question->action = action;
        question->callback = callback;
        question->userdata = userdata;
        sd_bus_message_ref(call->message);
        g_snprintf(question->id, sizeof(question->id), "vfwarden-%" G_GUINT64_FORMAT,
                   authority->next_id++);
        g_hash_table_add(authority->questions, question);
        watch_departure(
                question); /* first: one who has left before is not known to the bus below */

        r = sd_bus_call_method_async(
                authority->bus->connection, &question->slot, "org.freedesktop.DBus",
                "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetConnectionCredentials",
                on_credentials, question, "s", sd_bus_message_get_sender(call->message));
        if (r < 0) {
                question_end(question);
                return bus_error_set(error, r, "the caller's user cannot be asked for");
        }
        return 1;
}
