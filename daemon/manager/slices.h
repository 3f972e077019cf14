/* slices.h: a request about many functions, of which each turn of the loop applies some.
 *
 * Owns which of the functions are applied already. Always holds: what the request changed is saved
 * before the first file is touched, and no turn applies more than APPLY_ROUND_FUNCTIONS of the
 * functions. Other calls and events are served in between. */
#pragma once

#include "daemon/manager/apply.h"

typedef struct Slices Slices;

typedef struct SlicesHandler {
        /* See apply_request(); NULL: nothing is undone. The functions that are applied already are
         * the callee's to queue. */
        ApplyUndo *undo;
        /* The first slice saves all that must outlive the daemon: no later one is undone. */
        bool saved_first;
        /* Optional: these functions were applied; borrowed. */
        void (*applied)(void *context, const GPtrArray *functions);
        /* All are applied; or the request was undone, with this negative errno. May free the
         * slices.
         */
        void (*done)(void *context, int result);
} SlicesHandler;

/* Nothing is applied yet. The keys are copied. */
Slices *slices_new(Apply *apply, const PciKey *keys, size_t n_keys, const SlicesHandler *handler,
                   void *context);
Slices *slices_free(Slices *slices);

/* Those of its functions that are there. Borrowed; free the array with g_ptr_array_unref(). */
GPtrArray *slices_functions(const Slices *slices);

/* Applies the first slice. Returns 1 when there are more, and `done` follows; 0 when that was all;
 * a negative errno when the request was undone. */
int slices_begin(Slices *slices);
