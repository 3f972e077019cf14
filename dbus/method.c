#include "dbus/method.h"

#include "dbus/authority.h"
#include "dbus/call-functions.h"
#include "dbus/clients.h"
#include "dbus/error.h"
#include "dbus/path.h"
#include "dbus/quota.h"
#include "dbus/request-log.h"
#include "dbus/senders.h"
#include "policy/private-text.h"

#include <errno.h>
#include <string.h>

void method_reply_error(const MethodCall *call, int r, sd_bus_error *error) {
        if (!sd_bus_error_is_set(error))
                (void) sd_bus_error_set_errno(error, r);
        request_log_end(call->bus->requests, call, error);
        (void) sd_bus_reply_method_error(call->message, error);
        clients_replied_error(call->bus->clients, call->message, error);
        sd_bus_error_free(error);
}

static void run_now(const Method *method, const MethodCall *call) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        if (method->waits)
                request_log_begin(call->bus->requests, call);
        r = method->run(call, &error);
        if (r < 0)
                method_reply_error(call, r, &error);
        else if (!method->waits) /* else its MethodReply ends it */
                request_log_end(call->bus->requests, call, NULL);
}

/* A call on its way to its method. */
typedef struct Pending {
        const Method *method;
        MethodCall call; /* holds a reference to the message */
        guint n_awaited; /* idle processes, and one while more may come */
        int result;      /* of those that have ended */
} Pending;

static Pending *pending_new(const Method *method, const MethodCall *call) {
        Pending *pending = g_new(Pending, 1);

        *pending = (Pending){ .method = method, .call = *call };
        sd_bus_message_ref(call->message);
        return pending;
}

static Pending *pending_free(Pending *pending) {
        sd_bus_message_unref(pending->call.message);
        g_free(pending);
        return NULL;
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pending, pending_free)

/* An idle process on one of the functions has ended. */
static void on_let_go(void *context, int result) {
        Pending *pending = context;
        sd_bus_error error = SD_BUS_ERROR_NULL;

        pending->result = result < 0 ? result : pending->result;
        if (--pending->n_awaited > 0)
                return;
        if (pending->result < 0)
                method_reply_error(&pending->call,
                                   bus_error_set(&error, pending->result, "the daemon ends"),
                                   &error);
        else
                run_now(pending->method, &pending->call);
        pending_free(pending);
}

/* When idle processes on the functions are no obstacle any more. */
static void run_when_let_go(const Method *method, const MethodCall *call) {
        g_autoptr(GPtrArray) functions = NULL;
        Pending *pending;

        if (!method->wants) {
                run_now(method, call);
                return;
        }
        functions = call_functions_find(call);
        pending = pending_new(method, call);
        pending->n_awaited = functions->len + 1;
        for (guint i = 0; i < functions->len; i++)
                manager_let_go(call->bus->manager, functions->pdata[i],
                               method->repeats ? call->uid : MANAGER_NOBODY, on_let_go, pending);
        on_let_go(pending, 0);
}

static void ask_polkit(const Method *method, const MethodCall *call);

/* The caller may do it: to the first of several functions, and perhaps to the next. So a rule for
 * one function holds for several. Root, whom polkit always allows (authority.h), is not asked about
 * so often. */
static void on_authorized(void *userdata, const MethodCall *call) {
        const Method *method = userdata;
        MethodCall next = *call;

        next.n_asked++;
        if (method->several && call->uid != 0 && call_functions_select(&next, next.n_asked))
                ask_polkit(method, &next);
        else
                run_when_let_go(method, call);
}

static void ask_polkit(const Method *method, const MethodCall *call) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = authority_ask(call->bus->authority, call, method->action, method->repeats,
                          on_authorized, (void *) method, &error);
        if (r < 0)
                method_reply_error(call, r, &error);
}

/* Whether it would be refused after many questions to polkit. */
static bool names_too_many(const Method *method, const MethodCall *call) {
        MethodCall other = *call;

        return method->several && call->uid != 0 && call_functions_select(&other, method->several);
}

/* The caller is known. */
static void on_method_sender(void *userdata, int result, const Sender *sender) {
        g_autoptr(Pending) pending = userdata;
        const Method *method = pending->method;
        MethodCall *call = &pending->call;
        sd_bus_error error = SD_BUS_ERROR_NULL;

        if (result == -ENXIO) /* and has left: there is nobody to answer */
                return;
        if (result < 0) {
                (void) bus_error_set(&error, result == -EDQUOT ? -EDQUOT : -EIO,
                                     result == -EDQUOT ? "too many calls of this client are pending"
                                                       : "the bus does not name the caller's user");
                (void) sd_bus_reply_method_error(call->message, &error);
                sd_bus_error_free(&error);
                return;
        }
        call->uid = sender->uid;
        call->pid = sender->pid;
        g_strlcpy(call->command, sender->command, sizeof(call->command));
        if (!method->action)
                run_when_let_go(method, call);
        else if (names_too_many(method, call))
                method_reply_error(call,
                                   bus_error_set(&error, -EDQUOT,
                                                 "this user may name %u functions, and not more",
                                                 method->several),
                                   &error);
        else
                ask_polkit(method, call);
}

/* The question who calls takes a round of the bus, in which a flooded one reads a piece of every
 * connection. An answer that is the same for everybody does not wait for it. */
static bool run_open(const Method *method, MethodCall *call) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        if (!method->open ||
            senders_peek(call->bus->senders, sd_bus_message_get_sender(call->message)))
                return false;
        call->uid = METHOD_UID_UNKNOWN;
        r = method->run(call, &error);
        if (r == -EAGAIN) {
                /* It has read the arguments, and reads them again. */
                r = sd_bus_message_rewind(call->message, true);
                if (r >= 0)
                        return false;
        }
        if (r < 0)
                method_reply_error(call, r, &error);
        return true;
}

int method_dispatch(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        /* The userdata of a fallback vtable's method is the found object; the slot's is the Bus. */
        sd_bus_slot *slot = sd_bus_get_current_slot(sd_bus_message_get_bus(message));
        const char *interface = sd_bus_message_get_interface(message);
        const char *member = sd_bus_message_get_member(message);
        Bus *bus = sd_bus_slot_get_userdata(slot);
        const Method *method = bus->find_method(interface, member);
        MethodCall call = { .bus = bus, .message = message, .method = method };

        if (!method)
                return bus_error_set(error, -EACCES, "%s.%s has no rule that allows it", interface,
                                     member);
        (void) call_functions_select(&call, 0);
        if (!run_open(method, &call))
                senders_find(bus->senders, sd_bus_message_get_sender(message), on_method_sender,
                             pending_new(method, &call));
        return 1;
}

/* All answers with values leave here, but for those that answers.h counts itself and those to
 * sd-bus's own methods (property.h). */
static int send_measured(Clients *clients, sd_bus_message *reply) {
        int r = sd_bus_message_send(reply);

        if (r >= 0)
                clients_replied(clients, reply);
        return r;
}

int method_send(const MethodCall *call, sd_bus_message *reply) {
        return send_measured(call->bus->clients, reply);
}

/* The manager may end calls when the Bus has gone; hence references, and `call` without its Bus. */
struct MethodReply {
        MethodCall call; /* holds a reference to the message */
        Quota *quota;
        RequestLog *requests;
        Clients *clients;
};

MethodReply *method_reply_later(const MethodCall *call, sd_bus_error *error) {
        const Method *method = call->method;
        MethodReply *reply;

        g_assert(method);
        if (!method->waits) {
                (void) bus_error_set(error, -EACCES, "%s has no rule that lets it wait",
                                     sd_bus_message_get_member(call->message));
                return NULL;
        }
        if (quota_take(call->bus->waiting, call->uid) < 0) {
                (void) bus_error_set(error, -EDQUOT,
                                     "%s: too many requests of this user are in progress",
                                     method->member);
                return NULL;
        }
        reply = g_new(MethodReply, 1);
        *reply = (MethodReply){ *call, quota_ref(call->bus->waiting),
                                request_log_ref(call->bus->requests),
                                clients_ref(call->bus->clients) };
        reply->call.bus = NULL;
        sd_bus_message_ref(call->message);
        return reply;
}

static void reply_free(MethodReply *reply) {
        quota_give(reply->quota, reply->call.uid);
        quota_unref(reply->quota);
        request_log_unref(reply->requests);
        clients_unref(reply->clients);
        sd_bus_message_unref(reply->call.message);
        g_free(reply);
}

void method_reply(void *userdata, int result, const char *message) {
        MethodReply *reply = userdata;
        sd_bus_error error = SD_BUS_ERROR_NULL;

        if (result < 0) {
                g_autofree char *text = private_text_for(message, reply->call.uid == 0);

                (void) bus_error_set(&error, result, "%s", text);
                request_log_end(reply->requests, &reply->call, &error);
                (void) sd_bus_reply_method_error(reply->call.message, &error);
                clients_replied_error(reply->clients, reply->call.message, &error);
                sd_bus_error_free(&error);
        } else {
                request_log_end(reply->requests, &reply->call, NULL);
                (void) sd_bus_reply_method_return(reply->call.message, NULL);
        }
        reply_free(reply);
}

#define REPLY_FAILED "the reply cannot be made"

bool method_reply_begin(MethodReply *reply, int result, const char *message, sd_bus_message **ret) {
        if (result >= 0) {
                if (sd_bus_message_new_method_return(reply->call.message, ret) >= 0)
                        return true;
                result = -EIO;
                message = REPLY_FAILED;
        }
        method_reply(reply, result, message);
        return false;
}

void method_reply_with(MethodReply *reply, sd_bus_message *message, int r) {
        if (r >= 0)
                r = send_measured(reply->clients, message);
        sd_bus_message_unref(message);
        if (r < 0) {
                method_reply(reply, -EIO, REPLY_FAILED);
                return;
        }
        request_log_end(reply->requests, &reply->call, NULL);
        reply_free(reply);
}

int method_fail(const MethodCall *call, int r, sd_bus_error *error) {
        g_autofree char *text = manager_describe_failure(call->bus->manager, r);

        return bus_error_set(error, -EIO, "%s", text);
}

Function *method_function(const MethodCall *call, sd_bus_error *error) {
        Function *function = call_functions_called(call);
        char address[PCI_ADDRESS_STRING_MAX] = "";
        PciKey key;

        if (function && function->facts.inode == call->inode)
                return function;
        if (function_path_parse(sd_bus_message_get_path(call->message), &key) == 0)
                pci_address_format(pci_address_from_key(key), address);
        (void) bus_error_set(error, -ENODEV, "the PCI function %s has gone since it was called",
                             address);
        return NULL;
}

int method_find_function(const MethodCall *call, const char *text, Function **ret,
                         sd_bus_error *error) {
        PciAddress address;
        Function *function;

        if (pci_address_parse(text, &address) < 0)
                return bus_error_set(error, -EINVAL,
                                     "'%s' is no address of a PCI function (DDDD:BB:DD.F)", text);
        function = inventory_get(manager_inventory(call->bus->manager), pci_address_key(address));
        if (!function)
                return bus_error_set(error, -ENXIO, "there is no PCI function %s", text);
        *ret = function;
        return 0;
}

static const MethodOption *find_option(const MethodOption *known, const char *name) {
        while (known->name && strcmp(known->name, name) != 0)
                known++;
        return known->name ? known : NULL;
}

static int method_read_option(sd_bus_message *message, const MethodOption *known,
                              sd_bus_error *error) {
        const MethodOption *option;
        const char *name;
        int r = sd_bus_message_read(message, "s", &name);

        if (r < 0)
                return r;
        option = find_option(known, name);
        if (!option)
                return bus_error_set(error, -EINVAL, "there is no option '%s'", name);
        r = sd_bus_message_read(message, "v", option->type, option->ret);
        if (r < 0)
                return bus_error_set(error, -EINVAL, "the option '%s' is of type '%s'",
                                     option->name, option->type);
        return sd_bus_message_exit_container(message);
}

int method_refuse_options(sd_bus_error *error) {
        return bus_error_set(error, -EINVAL, "more than %u options are given", METHOD_OPTIONS_MAX);
}

int method_read_options(sd_bus_message *message, const MethodOption *known, sd_bus_error *error) {
        unsigned n = 0;
        int r;

        r = sd_bus_message_enter_container(message, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                if (n++ >= METHOD_OPTIONS_MAX)
                        return method_refuse_options(error);
                r = method_read_option(message, known, error);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}
