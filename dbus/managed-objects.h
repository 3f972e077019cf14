/* managed-objects.h: GetManagedObjects() and Introspect() of the folder of all functions, in
 * slices.
 *
 * sd-bus makes both in one go, 45 ms for 2,000 functions; bus.c gives the calls here instead.
 * Between two slices functions change, and the signals that say so reach the client before the
 * answer does. GetManagedObjects() is what clients begin with, so it makes good for that: the
 * answer is followed by signals to this one client, with what has changed in the functions that
 * were in it already. */
#pragma once

#include "dbus/answers.h"

extern const AnswerKind managed_objects_kind, introspection_kind;

/* The kind of answer that `call` asks for, or NULL when it is for sd-bus. */
const AnswerKind *managed_objects_find_kind(sd_bus_message *call);
