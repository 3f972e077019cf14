/* method.h: a call of a D-Bus method, from the bus to its handler and back.
 *
 * Owns the calls on their way. A method without a row in the table of methods
 * (dbus/interfaces/method-table.h) is refused, whatever vtable it stands in, so none can be
 * forgotten. The bus hands that table over (Bus.find_method). */
#pragma once

#include "dbus/method-call.h"

typedef struct MethodReply MethodReply;

/* The handler that every method in a vtable names: finds the row and the caller's user, asks for
 * authorisation if need be, and runs the method, now or when the answers are there. */
int method_dispatch(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* For a method that `waits`: what replies to the call when it is known how it went, by
 * method_reply(). Returns NULL, with `error` set, when the caller's user has too many calls
 * waiting, and for any other method. */
MethodReply *method_reply_later(const MethodCall *call, sd_bus_error *error);

/* Replies, and frees `reply`, a MethodReply; a ManagerDone. */
void method_reply(void *reply, int result, const char *message);

/* Begins a reply with values: an empty message, to be filled and handed to method_reply_with().
 * Returns false when there is none to be: `result` is negative, or it cannot be made; then it was
 * replied so, and `reply` freed. */
bool method_reply_begin(MethodReply *reply, int result, const char *message, sd_bus_message **ret);

/* Replies with `message`, whose reference it takes over, unless `r` is negative: then with a
 * failure. Frees `reply`. */
void method_reply_with(MethodReply *reply, sd_bus_message *message, int r);

/* Replies to a call that failed with `r`, a negative errno, notes so in the log, and frees what is
 * in `error`. For what runs later than its handler, whose result nobody sees. */
void method_reply_error(const MethodCall *call, int r, sd_bus_error *error);

/* Sends `reply`, the answer to a call of a method that does not wait, and has it count as unread by
 * its size. Returns a negative errno if it cannot be sent. */
int method_send(const MethodCall *call, sd_bus_message *reply);

/* Sets `error` for a request that was undone since it would not have survived the daemon: `r` is
 * what the manager returned. Returns a negative errno. */
int method_fail(const MethodCall *call, int r, sd_bus_error *error);

/* No method knows as many options. A message can have a million, all of one name. */
#define METHOD_OPTIONS_MAX 16U

/* Sets `error` for a call with more options than that. Returns a negative errno. */
int method_refuse_options(sd_bus_error *error);

/* An option that a method knows. `ret` is as sd_bus_message_read() has it for the basic `type`. */
typedef struct MethodOption {
        const char *name, *type;
        void *ret;
} MethodOption;

/* Reads a dictionary of the options `known`, an array that a row without a name ends. What is not
 * given is left alone. Returns 0, or a negative errno with `error` set where it is the options'. */
int method_read_options(sd_bus_message *message, const MethodOption *known, sd_bus_error *error);

/* The function whose object was called, looked up now: it may have gone while the caller was being
 * authorised, and another may have its address. Returns NULL with `error` set then. Borrowed. */
Function *method_function(const MethodCall *call, sd_bus_error *error);

/* The function that a client names in `text`, or `error` is set and a negative number returned.
 * Borrowed. */
int method_find_function(const MethodCall *call, const char *text, Function **ret,
                         sd_bus_error *error);
