/* event.h: the lines of `vfwarden monitor`.
 *
 * Owns their form, for people and as JSON, one line each. Every line carries the time at which it
 * is printed, which is the moment the signal was received. */
#pragma once

#include "cli/context.h"
#include "cli/inventory.h"

typedef enum EventKind {
        EVENT_FUNCTION_ADDED,    /* function */
        EVENT_FUNCTION_REMOVED,  /* */
        EVENT_INTERFACE_ADDED,   /* name */
        EVENT_INTERFACE_REMOVED, /* name */
        EVENT_PROPERTY_CHANGED,  /* name, old, new */
        EVENT_VIOLATION,         /* name is the operation, details */
        EVENT_UNPLUG_REQUESTED,  /* deadline_usec */
        EVENT_DEVICE_FAILED,     /* name is the kernel's word for the error */
        EVENT_DAEMON_STARTED,
        EVENT_DAEMON_STOPPED,
        EVENT_WATCHING, /* inventory: it was loaded, changes are relative to it from here on */
        _EVENT_KIND_MAX,
} EventKind;

typedef struct Event {
        EventKind kind;
        const char *address; /* NULL: it is about the daemon */
        const char *name;
        JsonNode *old; /* NULL: not known */
        JsonNode *new; /* NULL: not known */
        JsonObject *function;
        JsonObject *details;
        uint64_t deadline_usec; /* CLOCK_REALTIME, 0: nobody waits */
        const Inventory *inventory;
} Event;

/* Adds the line to the output. Everything stays the caller's. */
void event_print(Context *context, const Event *event);
