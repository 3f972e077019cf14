/* answers.h: the answers that are too large to be made in one turn of the event loop.
 *
 * Owns the calls that wait for them. Always holds: an answer is built in slices of some
 * milliseconds; between them the loop goes on. Users take turns (policy/call-queue.h). One large
 * answer is sent at a time, when nothing else waits to be written, so a small answer waits for one
 * large one at most; a client gets one only when it has read the one before (dbus/clients.h). No
 * answer has more than ANSWER_MAX bytes: one that lists functions leaves out the rest and says how
 * many, and one that cannot is refused.
 *
 * A list is made function by function; a function that changes between two slices is listed as it
 * was, or as it has become. GetManagedObjects() makes good for that (managed-objects.h). */
#pragma once

#include "dbus/method.h"

#include <systemd/sd-event.h>

/* dbus-daemon disconnects a sender of more than 32 MiB (max_message_size). */
#define ANSWER_MAX (24U * 1024 * 1024)

/* So many users of one function are listed; the others are counted. Each user is a process, and
 * those are cheap. */
#define USERS_LISTED_MAX 256U

typedef struct Answers Answers;
typedef struct AnswerKind AnswerKind;

typedef struct Answer {
        MethodCall call; /* holds a reference to the message */
        const AnswerKind *kind;
        sd_bus_message *reply; /* NULL before the first slice */
        GString *text;         /* with .is_text: what the reply consists of */
        GArray *keys;          /* of PciKey: the functions that were there at the first slice ... */
        guint next;            /* ... and the first of them that is still to be added */
        size_t bytes;          /* of the reply so far, or a little less than that */
        guint left_out;        /* functions */
        GArray *changes;       /* of AnswerChange, since they were added; NULL: none */
        uint64_t since_usec;
        uint64_t number; /* of the call, then of the last call that had come when it was begun */
        uint64_t begun_changes; /* the inventory's number of changes when it was begun */
        bool complete;
} Answer;

/* A function that is in the answer as it was before, or is not in it. */
typedef struct AnswerChange {
        PciKey key;
        unsigned interfaces; /* of which the client knows; bits */
} AnswerChange;

/* Each returns 0 or a negative errno. */
struct AnswerKind {
        int (*begin)(Answer *answer);
        int (*add)(Answer *answer, Function *function); /* NULL: it lists no functions */
        int (*end)(Answer *answer);
        void (*sent)(Answer *answer); /* or NULL */
        bool is_text;                 /* the reply is one string; calls of one user share it */
        bool is_whole; /* leaves nothing out: refused when it would be larger than ANSWER_MAX */
};

Answers *answers_new(Bus *bus);

/* The answers that are pending are not sent. */
Answers *answers_free(Answers *answers);

/* Before it, answers wait. Returns 0 or a negative errno. */
int answers_attach(Answers *answers, sd_event *event);

/* Answers `call`, soon. Returns 1, or a negative errno with `error` set when too many of this user
 * or client are pending. */
int answers_add(Answers *answers, const MethodCall *call, const AnswerKind *kind,
                sd_bus_error *error);

/* `function` was added, changed or removed, or, where it is NULL, something else that answers
 * contain has changed. `interfaces` are the bits of those that it had so far as clients know, 0 if
 * they know nothing of it. */
void answers_note_change(Answers *answers, const Function *function, unsigned interfaces);
