/* holders.h: who uses functions, and who inhibits what is done to them.
 *
 * Owns nothing. The answers of DescribeUsers() and DescribeInhibitors() become arrays of JSON
 * objects, whose members are read with the accessors of inventory.h and printed as they are by
 * --json. A user has Address, Pid, Uid, Command, Unit, Machine (the virtual machine's name) and
 * Since (in microseconds); an inhibitor has Address, What, Who, Why, Uid, Pid and, unless an older
 * daemon lists it, Mode. */
#pragma once

#include "cli/context.h"

#include <json-glib/json-glib.h>

/* Asks the daemon. Return 0 and an array of the caller's, or a negative errno and the error.
 * `flags` are CallFlags. `address` is whose users are asked for, "" for all. */
int holders_list_users(Context *context, const char *address, unsigned flags,
                       sd_bus_error *ret_error, JsonArray **ret);
int holders_list_inhibitors(Context *context, unsigned flags, sd_bus_error *ret_error,
                            JsonArray **ret);

/* The same, but a daemon that is too old to be asked knows of nobody. */
int holders_list_both(Context *context, unsigned flags, sd_bus_error *ret_error,
                      JsonArray **ret_users, JsonArray **ret_inhibitors);

/* Those of the function at `address`; an array of the caller's, with the same objects. */
JsonArray *holders_at(JsonArray *holders, const char *address);

/* The user `pid` of the function at `address`, or NULL. Stays the array's. */
JsonObject *holders_find(JsonArray *users, const char *address, gint64 pid);

/* How many processes the users are; each that was not found counts. */
unsigned holders_count_processes(JsonArray *users);

/* "COMMAND (pid 4711, virtual machine web1)". The caller's; not escaped. */
char *holder_describe(JsonObject *user);

/* Whether an unplug asks the inhibitor's client, instead of being refused. */
bool inhibitor_delays(JsonObject *inhibitor);

/* "WHO (pid 4711) inhibits reset:remove: WHY", or "delays". The caller's; not escaped. */
char *inhibitor_describe(JsonObject *inhibitor);
