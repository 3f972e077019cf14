/* unplug.h: taking a function away in order: the state machine of one function.
 *
 * Owns nothing: a pure table. unplug_step() gets an event and returns the actions; the caller
 * performs them, and reports the results as further events. tests/model checks the same table,
 * printed as Promela, together with a kernel, holders and a daemon that crashes. Always holds:
 *  - a caller of Unplug is answered by its deadline, whatever the kernel and the users do;
 *  - until `unbinding` everything can be cancelled; from then on nothing can;
 *  - only an unbound function is removed or powered off: an unbind waits for the users under the
 *    function's own lock, a removal would wait under the lock of all PCI hot-plug. */
#pragma once

#include "policy/function.h"

#include <errno.h>

typedef enum UnplugState {
        UNPLUG_STATE_PRESENT,
        UNPLUG_STATE_REQUESTED, /* its holders were asked, and all of them hold it still */
        UNPLUG_STATE_DRAINING,  /* some have released it, others not yet */
        UNPLUG_STATE_UNBINDING, /* we unbind it: the kernel asks and waits for who still holds it */
        UNPLUG_STATE_REMOVING,  /* it has no driver and is being removed or powered off by us */
        UNPLUG_STATE_OVERTAKEN, /* somebody else unbinds or removes it */
        UNPLUG_STATE_GONE,
        _UNPLUG_STATE_MAX,
        _UNPLUG_STATE_INVALID = -EINVAL,
} UnplugState;

typedef enum UnplugEvent {
        UNPLUG_EVENT_REQUEST,        /* Unplug() without `insist` */
        UNPLUG_EVENT_REQUEST_INSIST, /* Unplug() with it */
        UNPLUG_EVENT_RESUME,   /* an earlier run of the daemon had come to `unbinding` or further */
        UNPLUG_EVENT_CANCEL,   /* CancelUnplug() */
        UNPLUG_EVENT_DEADLINE, /* of the request */
        UNPLUG_EVENT_USER_LEFT,     /* a user of the function or of a VF of it, but not the last */
        UNPLUG_EVENT_USERS_GONE,    /* the last one; also sent at once when there was none */
        UNPLUG_EVENT_REMOVAL_SEEN,  /* sign of an unbind or removal that has begun */
        UNPLUG_EVENT_UNBOUND,       /* it has no driver any more, and can be removed */
        UNPLUG_EVENT_UNBOUND_STAYS, /* the same of a function that cannot be removed alone: a VF */
        UNPLUG_EVENT_FAILED,  /* what we began (unbind, remove, power) has ended with an error */
        UNPLUG_EVENT_REMOVED, /* the kernel says that it is gone, whether in order or not */
        _UNPLUG_EVENT_MAX,
        _UNPLUG_EVENT_INVALID = -EINVAL,
} UnplugEvent;

/* The actions, in the order of the bits. A reply goes to the caller of the pending Unplug(), if it
 * still waits; one Unplug() gets one reply. */
typedef enum UnplugAction {
        UNPLUG_ACTION_REFUSE = 1 << 0, /* the request or cancellation itself: `Busy`, or too late */
        UNPLUG_ACTION_CLOSE = 1 << 1,  /* let nobody else open it */
        UNPLUG_ACTION_ASK = 1 << 2,    /* tell the holders: signal UnplugRequested */
        UNPLUG_ACTION_ARM = 1 << 3,    /* start the timer of the deadline */
        UNPLUG_ACTION_REMEMBER = 1 << 4, /* save that it cannot be cancelled, before acting */
        UNPLUG_ACTION_UNBIND =
                1 << 5, /* in a child, VFs first, one by one; unless one is at it already */
        UNPLUG_ACTION_REMOVE = 1 << 6, /* in a child: slot power, else `remove` */
        UNPLUG_ACTION_DISARM = 1 << 7,
        UNPLUG_ACTION_FORGET = 1 << 8,        /* what was remembered */
        UNPLUG_ACTION_OPEN = 1 << 9,          /* the device nodes may be opened again */
        UNPLUG_ACTION_END_SESSIONS = 1 << 10, /* their requests fail from now on */
        UNPLUG_ACTION_REPLY_DONE = 1 << 11,
        UNPLUG_ACTION_REPLY_TIMEOUT = 1 << 12,
        UNPLUG_ACTION_REPLY_CANCELLED = 1 << 13,
        UNPLUG_ACTION_REPLY_FAILED = 1 << 14,
        UNPLUG_ACTION_REPLY_OVERTAKEN = 1 << 15, /* somebody else took it over */
        UNPLUG_ACTION_REPLY_GONE = 1 << 16,      /* it vanished before we removed it */
} UnplugAction;
#define UNPLUG_ACTIONS_MAX 17 /* the number of bits */

#define UNPLUG_ACTION_REPLIES                                                                     \
        (UNPLUG_ACTION_REPLY_DONE | UNPLUG_ACTION_REPLY_TIMEOUT | UNPLUG_ACTION_REPLY_CANCELLED | \
         UNPLUG_ACTION_REPLY_FAILED | UNPLUG_ACTION_REPLY_OVERTAKEN | UNPLUG_ACTION_REPLY_GONE)

typedef struct UnplugStep {
        UnplugState state;
        unsigned actions; /* UnplugAction bits */
} UnplugStep;

/* The step from `state` by `event`. An event that means nothing there leaves the state and asks for
 * no action; so a late deadline or an event seen twice does no harm. */
UnplugStep unplug_step(UnplugState state, UnplugEvent event);

typedef struct UnplugReply {
        int result;          /* 0 or a negative errno; see unplugs_request() */
        const char *message; /* NULL: none, or with -EIO what has failed */
} UnplugReply;

/* What the reply among `actions` says to the caller of Unplug(); NULL: there is no reply among
 * them. */
const UnplugReply *unplug_reply(unsigned actions);

/* Whether an unplug that an earlier run of the daemon remembered has to wait until every function
 * is known: a VF, or a function below it, might be overlooked. */
bool unplug_waits_for_others(const Function *function);

/* Whether the function, one of its VFs or one below it is bound to a driver. */
bool unplug_has_driver(const Function *function);

/* The processes that use the function, its VFs and those below it, in words: the kernel asks these
 * when it is unbound. Free with g_free(). */
char *unplug_users_text(const Function *function);

/* Whether all that use these now are among `asked`. */
bool unplug_users_are_among(const Function *function, const char *asked);

/* Whether it is known who uses these. */
bool unplug_users_are_known(const Function *function);

/* Whether somebody else is taking the function away. */
bool unplug_is_taken_outside(const Function *function);

/* Whether an external removal has ended, and the function is still there. */
bool unplug_is_left(const Function *function);

/* What clients see: `unbinding`, `removing` and `overtaken` are all "removing". Not for `gone`:
 * then there is no object. */
FunctionState unplug_state_shown(UnplugState state);

/* Whether CancelUnplug() is still possible. */
bool unplug_state_reversible(UnplugState state);

/* Whether new users are refused (`open` in Check, blocker kind `operation`). */
bool unplug_state_closed(UnplugState state);

/* Names for the log and for the model. */
const char *unplug_state_to_string(UnplugState state);
const char *unplug_event_to_string(UnplugEvent event);
const char *unplug_action_to_string(unsigned action);
