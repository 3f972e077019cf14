/* admission.h: which calls are served, before anything is done for them.
 *
 * Owns the users' allowances (policy/allowance.h) and the filter that sees each call first. The bus
 * delivers the calls of all users in one queue, so each call waits for the calls before it. There
 * are up to 32,768 of them, when one user has all connections that dbus-daemon allows
 * (max_connections_per_user) and on each all pending calls that it allows; dbus-daemon walks the
 * list of these for each call (bus_connections_expect_reply()) and each reply
 * (bus_connections_check_reply() in bus/connection.c). So a call of a user beyond their share costs
 * as little as with a service that answers every call with nothing: it is refused with
 * LimitsExceeded, or, if its client reads no answers, dropped. Root's calls are always served. A
 * call that wants no answer and would change nothing is dropped.
 *
 * Calls that ask for large answers go from here to answers.h, all others to the objects. */
#pragma once

#include "dbus/bus-parts.h"

typedef struct Admission Admission;

/* Returns 0 or a negative errno. The bus's senders, clients and answers must live as long. */
int admission_new(Bus *bus, sd_event *event, Admission **ret);
Admission *admission_free(Admission *admission);
