/* due-keys.h: an event loop and the keys that came due in it, for tests of what repeats things. */
#pragma once

#include "policy/address.h"

#include <criterion/criterion.h>
#include <glib.h>
#include <systemd/sd-event.h>

typedef struct DueKeys {
        sd_event *event;
        GArray *handed; /* of PciKey, in order */
} DueKeys;

static inline void due_keys_init(DueKeys *due) {
        *due = (DueKeys){ .handed = g_array_new(FALSE, FALSE, sizeof(PciKey)) };
        cr_assert_eq(sd_event_new(&due->event), 0);
}

static inline void due_keys_clear(DueKeys *due) {
        g_array_unref(due->handed);
        sd_event_unref(due->event);
}

/* The handler of either; `context` is the DueKeys. */
static inline void due_keys_on_due(void *context, PciKey key) {
        g_array_append_val(((DueKeys *) context)->handed, key);
}

/* Runs the loop until the next is handed over. */
static inline void due_keys_wait(DueKeys *due) {
        guint before = due->handed->len;

        while (due->handed->len == before)
                cr_assert_geq(sd_event_run(due->event, UINT64_MAX), 0);
}
