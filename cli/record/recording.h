/* recording.h: what a recording of a host consists of.
 *
 * Owns the names and the format's number. A recording is an archive (tar.h) of documents in JSON
 * and of one file for each function's configuration space. Always holds: texts in which people or
 * programs may have put a secret are empty, and so are serial numbers: see
 * recording_remove_secrets(). */
#pragma once

#include <json-glib/json-glib.h>

#define RECORDING_FORMAT     1

#define RECORDING_ABOUT      "about.json"      /* Format, Version, Kernel, Machine */
#define RECORDING_PICTURE    "picture.json"    /* Manager.Describe() */
#define RECORDING_USERS      "users.json"      /* Manager.DescribeUsers() */
#define RECORDING_USES       "uses.json"       /* Manager.DescribeUses() */
#define RECORDING_INHIBITORS "inhibitors.json" /* Manager.DescribeInhibitors() */
#define RECORDING_CHECKS     "checks.json"     /* address -> operation -> answer of Check() */
#define RECORDING_COUNTERS   "counters.json"   /* properties of org.vfwarden1.Statistics */
#define RECORDING_ACTIVITY   "activity.json"   /* Statistics.DescribeFunctions() */
#define RECORDING_FACTS      "facts.json"      /* address -> file in sysfs -> contents */
#define RECORDING_CONFIG     "config/"         /* and an address: configuration space */

/* A TarAccepts. */
gboolean recording_accepts(const char *name);

/* Empties, at every depth, the members of objects that may hold a secret. */
void recording_remove_secrets(JsonNode *node);

/* Takes the reasons away from the blockers of a Check(), [kind, subject, reason, pid]: they quote
 * command lines and what people wrote. */
#define RECORDING_NO_REASON "is in the way; the recording has no more of it"
void recording_remove_reasons(JsonArray *blockers);

/* Zeroes the device's serial number in the `size` bytes of a configuration space. */
void recording_remove_serial(guint8 *config, gsize size);

/* The document in `bytes`, the caller's, or NULL: it is no JSON, or nests deeper than the daemon's
 * documents do (json-glib parses by recursion). */
JsonNode *recording_parse(GBytes *bytes);
