#include "dbus/authority.h"

#include "daemon/base/log.h"
#include "dbus/authorisation-cache.h"
#include "dbus/error.h"
#include "dbus/quota.h"
#include "dbus/request-log.h"
#include "dbus/senders.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* Time for a person to type a password, and for polkit to answer by itself. */
#define INTERACTIVE_TIMEOUT_USEC (5 * 60 * 1000 * 1000ULL)
#define TIMEOUT_USEC             (25 * 1000 * 1000ULL)

/* dbus-daemon lets one connection wait for 128 replies (max_replies_per_connection), and both this
 * daemon and polkitd, which asks the users' agents, wait for one for each question. Hence half of
 * that for questions whose caller waits. A cancelled question counts until polkit has confirmed
 * that, for all users and for each. */
#define OPEN_MAX          64U
#define ASKED_MAX         96U
#define ASKED_PER_UID_MAX 48U

/* With fewer questions a user gets a place even when there is none: the user with the most loses
 * one. */
#define GUARANTEED 4U

/* CheckAuthorizationFlags of polkit's D-Bus interface. */
#define POLKIT_ALLOW_USER_INTERACTION 1U

#define POLKIT_NAME                   "org.freedesktop.PolicyKit1"
#define POLKIT_PATH                   "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE              "org.freedesktop.PolicyKit1.Authority"

typedef struct Question {
        Authority *authority;
        MethodCall call; /* holds a reference to the message */
        const char *action;
        AuthorityCallback *callback;
        void *userdata;
        sd_bus_slot *slot; /* of polkit's reply */
        sd_event_source *deadline;
        uint64_t number; /* they count up; polkit knows the question by it */
        bool open;       /* the caller waits; else only polkit's reply is to come */
        char *text;      /* a yes to this is remembered; NULL: none is */
} Question;

struct Authority {
        Bus *bus;
        GHashTable *questions; /* set of Question*, owned */
        Quota *asked;          /* of questions without polkit's reply, as the bus counts them */
        Quota *open;           /* of those whose caller waits */
        AuthorisationCache *authorisation_cache;
        uint64_t next_number;
};

/* The caller has its reply, or has left. */
static void question_close(Question *question) {
        if (!question->open)
                return;
        question->open = false;
        quota_give(question->authority->open, question->call.uid);
        question->deadline = sd_event_source_unref(question->deadline);
}

static void question_free(gpointer data) {
        Question *question = data;

        question_close(question);
        quota_give(question->authority->asked, question->call.uid);
        sd_bus_slot_unref(question->slot);
        sd_bus_message_unref(question->call.message);
        g_free(question->text);
        g_free(question);
}

static void on_client_left(void *userdata, const char *name);

Authority *authority_new(Bus *bus) {
        Authority *authority = g_new0(Authority, 1);

        authority->bus = bus;
        authority->questions = g_hash_table_new_full(NULL, NULL, question_free, NULL);
        authority->asked = quota_new(ASKED_PER_UID_MAX, ASKED_MAX);
        authority->open = quota_new(QUOTA_PER_UID_MAX, OPEN_MAX);
        authority->authorisation_cache = authorisation_cache_new();
        senders_watch(bus->senders, on_client_left, authority);
        return authority;
}

Authority *authority_free(Authority *authority) {
        if (!authority)
                return NULL;
        g_hash_table_unref(authority->questions);
        quota_unref(authority->asked);
        quota_unref(authority->open);
        authorisation_cache_free(authority->authorisation_cache);
        g_free(authority);
        return NULL;
}

/* The details of the function for polkit. */
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

/* All that the answer rests on, see authorisation-cache.h, as polkit gets it if it is asked now. */
static char *question_text(const Authority *authority, const MethodCall *call, const char *action) {
        Details details = { .kind = "", .driver = "" };

        (void) find_details(authority, call, &details);
        return g_strdup_printf("%s\n%s\n%s\n%s\n%s\n%s\n%" G_GUINT64_FORMAT,
                               sd_bus_message_get_sender(call->message), action, details.address,
                               details.kind, details.driver, details.pf, call->inode);
}

static void question_allow(Question *question) {
        Authority *authority = question->authority;

        if (question->text)
                authorisation_cache_add(authority->authorisation_cache, question->text,
                                        (uint64_t) g_get_monotonic_time());
        question_close(question);
        question->callback(question->userdata, &question->call);
}

static void question_refuse(Question *question, int r, const char *why) {
        sd_bus_error error = SD_BUS_ERROR_NULL;

        (void) bus_error_set(&error, r, "%s needs %s: %s",
                             sd_bus_message_get_member(question->call.message), question->action,
                             why);
        request_log_end(question->authority->bus->requests, &question->call, &error);
        (void) sd_bus_reply_method_error(question->call.message, &error);
        sd_bus_error_free(&error);
        question_close(question);
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

static void question_judge(Question *question, sd_bus_message *reply) {
        int authorized, challenge;

        /* No polkit on this bus: nobody can say yes to anybody but root, who is not asked about. */
        if (polkit_is_absent(reply))
                question_refuse(question, -EACCES, "polkit is not there to allow it");
        else if (sd_bus_message_is_method_error(reply, SD_BUS_ERROR_LIMITS_EXCEEDED))
                question_refuse(question, -EDQUOT, "the bus has no room for a question to polkit");
        else if (sd_bus_message_is_method_error(reply, NULL)) {
                log_warning("polkit did not answer for %s: %s", question->action,
                            sd_bus_message_get_error(reply)->message);
                question_refuse(question, -EACCES, "polkit did not answer");
        } else if (sd_bus_message_enter_container(reply, 'r', "bba{ss}") < 0 ||
                   sd_bus_message_read(reply, "bb", &authorized, &challenge) < 0)
                question_refuse(question, -EACCES, "polkit's answer was not understood");
        else if (authorized)
                question_allow(question);
        else
                question_refuse(question, -EACCES,
                                challenge ? "authentication is required" : "polkit refused");
}

static int on_polkit_answer(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Question *question = userdata;

        if (question->open)
                question_judge(question, reply);
        g_hash_table_remove(question->authority->questions, question);
        return 0;
}

static int append_details(sd_bus_message *message, const Question *question) {
        Details details;

        if (!find_details(question->authority, &question->call, &details))
                return sd_bus_message_append(message, "a{ss}", 0);
        return sd_bus_message_append(message, "a{ss}", 4, "address", details.address, "kind",
                                     details.kind, "driver", details.driver, "pf", details.pf);
}

static void format_id(const Question *question, char id[static 32]) {
        g_snprintf(id, 32, "vfwarden-%" G_GUINT64_FORMAT, question->number);
}

static int question_ask(Question *question, bool interactive) {
        sd_bus *connection = question->authority->bus->questions;
        sd_bus_message *message = NULL;
        char id[32];
        int r;

        format_id(question, id);
        r = sd_bus_message_new_method_call(connection, &message, POLKIT_NAME, POLKIT_PATH,
                                           POLKIT_INTERFACE, "CheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(message, "(sa{sv})s", "system-bus-name", 1, "name", "s",
                                          sd_bus_message_get_sender(question->call.message),
                                          question->action);
        if (r >= 0)
                r = append_details(message, question);
        if (r >= 0)
                r = sd_bus_message_append(message, "us",
                                          interactive ? POLKIT_ALLOW_USER_INTERACTION : 0U, id);
        /* Without a timeout of sd-bus, after which the bus would go on counting the question. */
        if (r >= 0)
                r = sd_bus_call_async(connection, &question->slot, message, on_polkit_answer,
                                      question, UINT64_MAX);
        sd_bus_message_unref(message);
        return r;
}

/* The question counts until polkit replies: until then the bus counts it, too. */
static void question_take_back(Question *question) {
        char id[32];

        question_close(question);
        format_id(question, id);
        (void) sd_bus_call_method_async(question->authority->bus->questions, NULL, POLKIT_NAME,
                                        POLKIT_PATH, POLKIT_INTERFACE, "CancelCheckAuthorization",
                                        NULL, NULL, "s", id);
}

/* The person that was asked for a password need not answer any more. */
static void on_client_left(void *userdata, const char *name) {
        Authority *authority = userdata;
        GHashTableIter iter;
        Question *question;

        g_hash_table_iter_init(&iter, authority->questions);
        while (g_hash_table_iter_next(&iter, (gpointer *) &question, NULL))
                if (question->open &&
                    g_str_equal(sd_bus_message_get_sender(question->call.message), name))
                        question_take_back(question);
}

static int on_authority_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        Question *question = userdata;

        question_refuse(question, -EACCES, "nobody answered in time");
        question_take_back(question);
        return 0;
}

static Question *youngest_question(const Authority *authority, uint32_t uid) {
        Question *question, *youngest = NULL;
        GHashTableIter iter;

        g_hash_table_iter_init(&iter, authority->questions);
        while (g_hash_table_iter_next(&iter, (gpointer *) &question, NULL))
                if (question->open && question->call.uid == uid &&
                    (!youngest || question->number > youngest->number))
                        youngest = question;
        return youngest;
}

/* Makes room for a question of `uid`, if there has to be some. */
static bool authority_make_room(Authority *authority, uint32_t uid) {
        Question *question = NULL;
        uint32_t greedy;

        if (quota_count(authority->open, uid) < GUARANTEED &&
            quota_find_greedy(authority->open, uid, &greedy))
                question = youngest_question(authority, greedy);
        if (!question)
                return false;
        question_refuse(question, -EDQUOT,
                        "too many requests wait for polkit, and this user has the most");
        question_take_back(question);
        return true;
}

/* Both quotas, or none. */
static int take_place(Authority *authority, uint32_t uid) {
        int r = quota_take(authority->asked, uid);

        if (r < 0)
                return r;
        r = quota_take(authority->open, uid);
        if (r == -ENOSPC && authority_make_room(authority, uid))
                r = quota_take(authority->open, uid);
        if (r < 0)
                quota_give(authority->asked, uid);
        return r;
}

static Question *question_new(Authority *authority, const MethodCall *call, const char *action,
                              AuthorityCallback *callback, void *userdata) {
        Question *question = g_new0(Question, 1);

        *question = (Question){
                .authority = authority,
                .call = *call,
                .action = action,
                .callback = callback,
                .userdata = userdata,
                .number = authority->next_number++,
                .open = true,
        };
        sd_bus_message_ref(call->message);
        g_hash_table_add(authority->questions, question);
        return question;
}

int authority_ask(Authority *authority, const MethodCall *call, const char *action, bool repeats,
                  AuthorityCallback *callback, void *userdata, sd_bus_error *error) {
        bool interactive = sd_bus_message_get_allow_interactive_authorization(call->message) > 0;
        g_autofree char *text = NULL;
        Question *question;
        int r;

        /* Where a person may be asked, the yes may be theirs, and is for once. */
        if (repeats && !interactive)
                text = question_text(authority, call, action);
        /* polkit says yes to root before it looks at any rule (check_authorization_sync() in
         * polkitbackendinteractiveauthority.c), unless it is called with ALWAYS_CHECK. */
        if (call->uid == 0 ||
            (text && authorisation_cache_find(authority->authorisation_cache, text,
                                              (uint64_t) g_get_monotonic_time()))) {
                callback(userdata, call);
                return 1;
        }
        r = take_place(authority, call->uid);
        if (r < 0)
                return bus_error_set(error, -EDQUOT, "%s needs %s: %s",
                                     sd_bus_message_get_member(call->message), action,
                                     r == -ENOSPC ? "too many requests wait for polkit"
                                                  : "too many requests of this user wait for it");
        question = question_new(authority, call, action, callback, userdata);
        question->text = g_steal_pointer(&text);
        r = question_ask(question, interactive);
        if (r >= 0)
                r = sd_event_add_time_relative(
                        sd_bus_get_event(authority->bus->connection), &question->deadline,
                        CLOCK_MONOTONIC, interactive ? INTERACTIVE_TIMEOUT_USEC : TIMEOUT_USEC, 0,
                        on_authority_deadline, question);
        if (r >= 0)
                r = sd_event_source_set_description(question->deadline,
                                                    "authority: answer of polkit");
        if (r < 0) {
                g_hash_table_remove(authority->questions, question);
                return bus_error_set(error, -EACCES, "%s needs %s: polkit cannot be asked",
                                     sd_bus_message_get_member(call->message), action);
        }
        return 1;
}
