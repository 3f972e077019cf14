/* value.h: values of the D-Bus contract, as JSON and as words.
 *
 * Owns nothing. Property values arrive in two shapes: as members of the document of
 * Manager.Describe() and as D-Bus variants in signals. Both end as the same JSON nodes here, so
 * that they can be compared and are shown alike. */
#pragma once

#include <json-glib/json-glib.h>
#include <systemd/sd-bus.h>

/* Reads one complete value at the cursor of `message`. The object path of a function becomes its
 * address and "/" the empty string, as in the document. Returns 0 and a node of the caller's, or
 * the negative errno of sd-bus; -EBADMSG for a dictionary whose keys are no strings. */
int value_read(sd_bus_message *message, JsonNode **ret);

/* Reads an a{sv} at the cursor and sets each entry as a member of `object`. */
int value_read_properties(sd_bus_message *message, JsonObject *object);

/* The value of the property `name` as a person reads it: numbers in the base that is usual for
 * them, -1 of a group or node as "none", all ones of an ID as "unreadable". Not escaped; the
 * string is the caller's. */
char *value_format(const char *name, JsonNode *value);

/* CLOCK_REALTIME in microseconds as local date and time, to the minute; NULL for 0, and if the
 * calendar has no such time. The string is the caller's. */
char *value_format_time(gint64 usec);

/* The same in UTC with microseconds, as JSON has it: "2026-11-20T23:31:06.879000Z". "" for `usec`
 * that the calendar does not have. */
char *value_format_utc(gint64 usec);

/* The address of the function at `path`, the caller's, or NULL if it is no function's path. */
char *value_address_from_path(const char *path);
