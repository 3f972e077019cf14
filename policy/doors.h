/* doors.h: every way to take or disturb a function that somebody uses, and what the daemon does
 * about it.
 *
 * Owns the table. docs/doors.md is printed from it (tests/lint/doors). Always holds: each file that
 * a lock closes has a row, and each row that promises something names the test that shows it. The
 * kernel guard is optional: no answer depends on it. */
#pragma once

#include "policy/lock.h"

typedef enum DoorAnswer {
        DOOR_REFUSED,      /* it fails while the function is in use */
        DOOR_ASKED,        /* the users are asked first, and it waits for them */
        DOOR_SEEN,         /* it cannot be refused; who is concerned hears of it at once */
        DOOR_OUT_OF_REACH, /* the daemon neither refuses nor sees it */
        DOOR_HARMLESS,     /* it takes nothing away */
        _DOOR_ANSWER_MAX,
} DoorAnswer;

typedef struct Door {
        const char *way;
        DoorAnswer answer;
        const char *how;
        const char *test; /* below tests/: "FILE: NAME"; NULL: nothing is promised */
        LockFile file;    /* that a lock closes; _LOCK_FILE_INVALID: none */
        /* What the programs of vfwarden-guard make of the answer, where they are loaded ... */
        DoorAnswer guarded;
        const char *guard_test; /* ... and the test that shows it; NULL: they add nothing */
} Door;

const char *door_answer_to_string(DoorAnswer answer);

const Door *doors(unsigned *ret_n);
