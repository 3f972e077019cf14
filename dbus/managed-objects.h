/* managed-objects.h: GetManagedObjects() and Introspect() of the folder of all functions, in
 * slices.
 *
 * sd-bus makes both in one go, 45 ms for 2,000 functions; bus.c passes the calls to this module
 * instead. Functions can change between two slices, and the signals about that reach the client
 * before the answer does. Clients begin with GetManagedObjects(), so after the answer this one
 * client gets the signals again, with the changes of functions that were in the answer already. */
#pragma once

#include "dbus/answers.h"

extern const AnswerKind managed_objects_kind, introspection_kind;

/* The kind of answer that `call` asks for, or NULL when it is for sd-bus. */
const AnswerKind *managed_objects_find_kind(sd_bus_message *call);
