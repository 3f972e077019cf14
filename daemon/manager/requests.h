/* requests.h: the guarded operations that clients wait for.
 *
 * Owns the requests: each is asked about, refused or done by a worker (operations.h), and ends when
 * the inventory shows what was asked for, or cannot. Always holds: each request ends once. */
#pragma once

#include "daemon/manager/apply.h"

typedef struct Requests Requests;

/* What is wanted; see manager_set_num_vfs() and the others. */
typedef struct RequestWish {
        Operation operation;
        uint16_t count;     /* set-num-vfs: what is to be there afterwards */
        bool autoprobe;     /* set-autoprobe */
        const char *driver; /* bind: a name, or "" for any; NULL else */
        unsigned flags;     /* for check() */
} RequestWish;

Requests *requests_new(Apply *apply);
Requests *requests_free(Requests *requests);

void requests_begin(Requests *requests, Function *function, const RequestWish *wish,
                    ManagerDone *done, void *context);

/* A round of applying has ended: those whose result it shows have ended. */
void requests_verify(Requests *requests);

void requests_end_calls(Requests *requests, const char *why);

/* What is being done to the function or something related, for the error of who comes second; NULL
 * when nothing is. Free with g_free(). */
char *requests_busy_text(const Inventory *inventory, const Function *function);
