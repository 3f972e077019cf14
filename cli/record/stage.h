/* stage.h: a recording in the daemon's place.
 *
 * Owns the name org.vfwarden1 on a bus that nobody else uses. Always holds: what only reads is
 * answered from the recording, as the daemon answered when it was made; everything else is refused.
 */
#pragma once

#include <glib.h>
#include <systemd/sd-bus.h>

typedef struct Stage {
        GHashTable *documents; /* name of the recording's file -> JsonNode* */
        char *text;            /* the document of Describe() */
} Stage;

/* Parses the documents of a recording. Returns 0, or -EBADMSG and which one is wrong (NULL: it is
 * of another version), a string of the caller's. */
int stage_init(Stage *stage, GHashTable *members, char **ret_wrong);
void stage_done(Stage *stage);

/* Takes the daemon's name on `bus`, which `stage` must outlive. Returns 0 or a negative errno. */
int stage_open(const Stage *stage, sd_bus *bus);

/* Answers calls until the bus ends. Returns a negative errno. */
int stage_serve(sd_bus *bus);
