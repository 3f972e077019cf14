/* method-table.h: every D-Bus method of ours, who may call it, and its handler.
 *
 * Owns the table. tests/unit/test-method.c fails for a method in a vtable without a row. */
#pragma once

#include "dbus/method-call.h"

/* The row, or NULL. */
const Method *method_find(const char *interface, const char *member);
