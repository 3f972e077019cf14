/* state-section.h: one list of state.json, and how a record of it is read and written.
 *
 * Owns the spelling of members. Numbers are strings in hexadecimal: JSON's numbers are doubles to
 * many a reader, and inodes have 64 bits. Each part that has records describes its list by one
 * StateSection (part.h); no other file knows what is in it. */
#pragma once

#include "policy/address.h"

#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct StateReader StateReader;
/* Writes text at once: a tree of some thousand records would take longer than a turn may. */
typedef struct StateWriter StateWriter;

typedef struct StateSection {
        const char *name; /* of the list in state.json */
        size_t record_size;
        bool required; /* every version wrote the list: a file without it is damaged */
        /* Fills `ret`, which is zeroed, and owns nothing of `object` afterwards. Returns 0, or
         * -EBADMSG with nothing in `ret` when this daemon would not have written such a record. */
        int (*read)(StateReader *reader, JsonObject *object, void *ret);
        /* Adds the members of `record` to the object that `writer` is in. */
        void (*write)(StateWriter *writer, const void *record);
        /* Frees what `record` owns; NULL: it owns nothing. */
        void (*clear)(void *record);
} StateSection;

/* Numbers that count up go on from what is read, and must not overflow. */
#define STATE_COUNTER_MAX ((uint64_t) INT64_MAX)
#define STATE_ID_MAX      (UINT64_MAX - 1) /* of inodes, bindings and devices */
#define STATE_MODE_MAX    0777U

/* Whether the record that `what` and `id` name is read for the first time; of duplicates the first
 * counts. */
bool state_section_is_new(StateReader *reader, const char *what, const char *id);
bool state_section_is_new_number(StateReader *reader, const char *what, uint64_t number);

/* A text that a client may be sent; NULL when there is none. Borrowed. */
const char *state_section_text(JsonObject *object, const char *name);
bool state_section_flag(JsonObject *object, const char *name);

/* Each returns 0 or a negative errno. */
int state_section_number(JsonObject *object, const char *name, uint64_t max, uint64_t *ret);
int state_section_number32(JsonObject *object, const char *name, uint32_t max, uint32_t *ret);
int state_section_address(JsonObject *object, PciKey *ret);
/* A process that a daemon started: neither 0 nor init. */
int state_section_child(JsonObject *object, const char *name, uint32_t *ret);

/* The names are this daemon's, and need no escapes. A text is UTF-8. */
void state_section_add_number(StateWriter *writer, const char *name, uint64_t value);
void state_section_add_text(StateWriter *writer, const char *name, const char *value);
void state_section_add_flag(StateWriter *writer, const char *name, bool value);
void state_section_add_address(StateWriter *writer, PciKey key);
/* A list of texts. */
void state_section_begin_list(StateWriter *writer, const char *name);
void state_section_add_element(StateWriter *writer, const char *value);
void state_section_end_list(StateWriter *writer);

/* For state.c. Appends to `records` what `array` holds; returns how many entries were left out.
 * `seen` is a set of strings for the whole file. */
int state_section_read(const StateSection *section, JsonArray *array, GHashTable *seen,
                       GArray *records);
void state_section_write(const StateSection *section, const GArray *records, StateWriter *writer);

/* The object that the whole file is; its text is to be freed with g_free(). */
StateWriter *state_writer_new(void);
char *state_writer_free(StateWriter *writer);
