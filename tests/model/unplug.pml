/* The unplug of one function with its surroundings, for spin. unplug-table.pml is printed from the table of
 * policy/unplug.c by unplug-table; what is here is who lives around that table:
 *
 *   Daemon    the event loop: takes what happened, steps, acts. One event is atomic, as in a loop that never
 *             waits. Callers call Unplug and CancelUnplug at any time, the deadline comes at any time. It may crash and start again; it keeps what it has written down, the kernel keeps the rest.
 *   Unbinder, Remover   the children that are in the kernel for it. They live on when the daemon crashes.
 *   Holder    a process that opens the function, does I/O, and releases it when D-Bus asks, or only when the kernel
 *             asks, or never, or dies at any time.
 *   Delayer   a process with an inhibitor that delays: releases it when D-Bus asks, or never, or dies.
 *   Outsider  root, a hypervisor or a hand that pulls: unbinds, removes, or removes without a word.
 *
 * Everybody does only so many things, so every run comes to rest; Rest looks at what is left then. So no
 * fairness need be assumed, and "always ends" is checked as safety. */

#include "unplug-table.pml"

/* How often each thing can happen in one run. */
#ifndef REQUESTS
#define REQUESTS 2
#endif
#ifndef CANCELS
#define CANCELS 1
#endif
#ifndef INHIBITS
#define INHIBITS 0
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef FAILURES
#define FAILURES 1
#endif

mtype = { bound, unbinding, none };      /* the driver, as the kernel has it */
mtype = { on_dbus, on_vfio, by_nothing };     /* what makes a holder let go */

/* The kernel's. */
mtype driver = bound;
bool there = true;          /* the function exists */
byte users;                 /* who has it open */
byte delays;                /* inhibitors that delay an unplug */
bool vfio_asks;             /* the kernel has signalled the holders' request eventfds */
bool unbinder_busy, remover_busy;
bool hotplug_lock;          /* under which all PCI hot-plug of the host runs */
bool node_closed;           /* the device node may not be opened (its mode, which outlives the daemon) */
bool stays;                 /* a VF: cannot be removed alone */

/* The daemon's, gone with it. */
bool alive = true;
byte state = PRESENT;
int actions;
byte known_awaited;
bool insisting;             /* the pending request leaves the users to the kernel */
bool armed;
bool signalled;             /* UnplugRequested was sent */
bool ended;                 /* sessions answer with errors */

/* Written down. */
bool remembered;

/* Events under way to the daemon. */
bool seen, unbound, unbind_failed, remove_failed;

/* For the assertions alone. */
bool waiting;               /* the caller of Unplug has no answer yet */
bool insisted;              /* some Unplug so far was called with `insist` */
bool newcomer;              /* somebody opened it since the last Unplug, while there was no daemon */
bool outside;               /* an outsider had a hand in it */
byte failures = FAILURES, crashes = CRASHES, requests = REQUESTS, cancels = CANCELS, inhibits = INHIBITS;

/* Those that the daemon waits for before it unbinds. */
#define AWAITED (delays + (insisting -> 0 : users))

inline act() {
    if :: actions & DO_CLOSE -> node_closed = true :: else fi;
    if :: actions & DO_ASK -> signalled = true :: else fi;
    if :: actions & DO_ARM -> armed = true :: else fi;
    if :: actions & DO_REMEMBER -> remembered = true :: else fi;
    /* Of an earlier run: who came since was not asked, so it is over. */
    if
    :: (actions & DO_UNBIND) && event == ON_RESUME && newcomer && !unbinder_busy -> unbind_failed = true
    :: (actions & DO_UNBIND) && (event != ON_RESUME || !newcomer || unbinder_busy) ->
            unbinder_busy = true; unbind_failed = false
    :: else
    fi;
    if :: actions & DO_REMOVE -> remover_busy = true; remove_failed = false :: else fi;
    if :: actions & DO_DISARM -> armed = false :: else fi;
    if :: actions & DO_FORGET -> remembered = false :: else fi;
    if :: actions & DO_OPEN -> node_closed = false :: else fi;
    if :: actions & DO_END_SESSIONS -> ended = true :: else fi;
    if
    :: actions & DO_REPLIES ->
        /* The truth, and nothing but. */
        assert(!(actions & DO_REPLY_DONE) || !there || (stays && driver == none));
        assert(!(actions & DO_REPLY_GONE) || !there);
        assert(!(actions & DO_REPLY_OVERTAKEN) || outside);
        assert(!(actions & DO_REPLY_TIMEOUT) || event == ON_DEADLINE);
        assert(!(actions & DO_REPLY_CANCELLED) || event == ON_CANCEL);
        assert(!(actions & DO_REPLY_FAILED) || event == ON_FAILED);
        waiting = false
    :: else
    fi
}

/* What must hold after an event, whatever it was. */
inline check_step() {
    if
    :: event == ON_REQUEST || event == ON_REQUEST_INSIST ->
        /* Either the request is under way and somebody sees to its deadline, or it is refused at once. */
        assert((actions & DO_REFUSE) || (waiting && armed && signalled))
    :: event == ON_CANCEL ->
        /* What may have begun in the kernel is not said to be cancelled, all else is. */
        assert((actions & DO_REFUSE) || (!unbinder_busy && !remover_busy && state == PRESENT));
        assert(!(actions & DO_REFUSE) || !waiting || remembered)
    :: event == ON_DEADLINE ->
        assert(!waiting);
        /* Without insist it is over: all is as it was, or nobody is left who could hold it up. */
        assert(insisted || outside || state == PRESENT || state == GONE || users == 0)
    /* Who waits for nobody goes on; what is gone is known to be. Else it would go round for ever. */
    :: event == ON_USERS_GONE -> assert(state != REQUESTED && state != DRAINING)
    :: event == ON_REMOVED -> assert(state == GONE)
    :: else
    fi;
    assert(!there || state != GONE);
    assert(state != PRESENT || (!node_closed && !armed && !waiting));
    assert(!waiting || armed);
    /* No way back is written down before anything of that kind is done. */
    assert(remembered || (!unbinder_busy && !remover_busy) || !there || outside)
}

/* A daemon that starts goes on with what is written down, and sees what is under way, before anything else. */
#define READY (alive && !resume)
/* Signs come in their order, and what a child of ours does has happened when it has ended. */
#define DRIVERLESS (unbound && !seen && !unbinder_busy)

active proctype Daemon() {
    byte event;
    bool resume, insist;

    if :: stays = true :: stays = false fi;
end:
    do
    :: atomic { READY && requests > 0 -> requests--; event = ON_REQUEST; goto step }
    :: atomic { READY && requests > 0 && delays == 0 -> requests--; event = ON_REQUEST_INSIST; goto step }
    /* The kernel asks users only: inhibitors are waited for before it does. */
    :: atomic { READY && requests > 0 && delays > 0 -> requests--; event = ON_REQUEST; insist = true; goto step }
    /* Inhibit(), or none. A function that is being unbound already is not kept by it. */
    :: atomic { READY && inhibits > 0 && !unbinder_busy && (state == PRESENT || state == REQUESTED || state == DRAINING) ->
            inhibits--; delays++ }
    :: atomic { READY && inhibits > 0 -> inhibits-- }
    :: atomic { READY && cancels > 0 -> cancels--; event = ON_CANCEL; goto step }
    :: atomic { READY && armed -> armed = false; event = ON_DEADLINE; goto step }
    /* It looks, and what it sees is an event. */
    :: atomic { READY && known_awaited > AWAITED && AWAITED > 0 ->
            known_awaited = AWAITED; event = ON_USER_LEFT; goto step }
    :: atomic { READY && known_awaited > AWAITED && AWAITED == 0 ->
            known_awaited = AWAITED; event = ON_USERS_GONE; goto step }
    :: atomic { READY && known_awaited < AWAITED -> known_awaited = AWAITED }
    :: atomic { READY && AWAITED == 0 && (state == REQUESTED || state == DRAINING) ->
            known_awaited = AWAITED; event = ON_USERS_GONE; goto step }
    :: atomic { alive && there && seen && driver == unbinding -> seen = false; event = ON_REMOVAL_SEEN; goto step }
    :: atomic { alive && there && seen && driver != unbinding -> seen = false }   /* over before it was seen */
    :: atomic { READY && there && DRIVERLESS && !stays -> unbound = false; event = ON_UNBOUND; goto step }
    :: atomic { READY && there && DRIVERLESS && stays -> unbound = false; event = ON_UNBOUND_STAYS; goto step }
    /* A failure counts while what failed is what we wait for, not when it is a child of before a crash. */
    :: atomic { READY && there && unbind_failed && state == UNBINDING ->
            unbind_failed = false; event = ON_FAILED; goto step }
    :: atomic { READY && there && remove_failed && state == REMOVING ->
            remove_failed = false; event = ON_FAILED; goto step }
    :: atomic { alive && !there && state != GONE -> resume = false; event = ON_REMOVED; goto step }
    :: atomic { alive && there && resume -> resume = false; event = ON_RESUME; goto step }

    :: atomic { alive && crashes > 0 ->
            crashes--;
            alive = false;
            state = PRESENT; armed = false; signalled = false; ended = false;
            waiting = false;              /* the bus itself answers for who has left it */
            /* A child that is not in the kernel yet may be killed with it. */
            if :: unbinder_busy && driver == bound -> unbinder_busy = false :: skip fi }
    :: atomic { !alive && !there ->
            alive = true; state = GONE; remembered = false; node_closed = false; ended = true }
    :: atomic { !alive && there ->
            alive = true;
            insisting = false;
            known_awaited = AWAITED;
            /* What was not taken before the crash is lost; what became of it is looked at. */
            unbind_failed = false; remove_failed = false; unbound = false;
            resume = remembered;
            seen = false;
            /* What a request of the last run closed is opened, unless that goes on. */
            node_closed = (resume || driver == unbinding);
            if
            :: driver == unbinding -> event = ON_REMOVAL_SEEN; goto step
            :: driver == unbinding && resume -> resume = false; seen = true; event = ON_RESUME; goto step
            :: driver != unbinding && resume -> resume = false; event = ON_RESUME; goto step
            :: driver != unbinding && !resume
            fi }
    od;
step:
    atomic {
        unplug_step(event);
        if
        :: (event == ON_REQUEST || event == ON_REQUEST_INSIST) && !(actions & DO_REFUSE) ->
            waiting = true;
            insisting = insist || (event == ON_REQUEST_INSIST);
            newcomer = false;
            known_awaited = AWAITED;
            insisted = insisted || insisting
        :: else
        fi;
        act();
        check_step();
        actions = 0; event = 0; insist = false;
        goto end
    }
}

active proctype Unbinder() {
end:
    do
    :: unbinder_busy ->
        if
        :: atomic { !unbinder_busy -> goto end }           /* killed */
        :: atomic { unbinder_busy && (driver == none || !there) -> skip }
        :: atomic { unbinder_busy && there && driver == bound && failures > 0 ->
                failures--; unbind_failed = true; unbinder_busy = false; goto end }
        :: atomic { unbinder_busy && there && driver == bound ->
                /* Without insist no holder is ever disturbed by us. */
                assert(users == 0 || (insisted && !newcomer) || outside);
                /* And never one that delays. */
                assert(delays == 0 || outside);
                /* Here and until the end of the wait it holds the function's own lock, and no other. */
                driver = unbinding; seen = true;
                vfio_asks = users > 0 };
            assert(!hotplug_lock || outside);
end_held:   atomic { users == 0 || driver == none || !there -> driver = none }
        :: atomic { unbinder_busy && there && driver == unbinding -> skip };     /* by another: waits for the function's lock */
end_locked: (driver == none || !there)
        fi;
        atomic { unbound = true; unbinder_busy = false }
    od
}

active proctype Remover() {
end:
    do
    :: atomic { remover_busy ->
            /* The one lock that everybody needs is never held while waiting: nobody has it open, and without a
             * driver nobody can. */
            assert(!there || (users == 0 && driver == none));
            assert(!stays);
            hotplug_lock = true }
        atomic {
            if
            :: there && failures > 0 -> failures--; remove_failed = true
            :: there = false
            fi;
            hotplug_lock = false; remover_busy = false }
    od
}

bool io_asked;

/* The process that does a client's I/O: takes no part in the unplug and never waits for it. */
active proctype Session() {
end:
    do
    :: atomic { io_asked ->
            /* From the moment that the daemon knows. Before that it is the kernel that answers for the device. */
            assert(ended || state != GONE);
            io_asked = false }
    od
}

proctype Holder(byte opens; byte io) {
    mtype will;
    bool open;

    if :: will = on_dbus :: will = on_vfio :: will = by_nothing fi;
end:
    do
    /* Who is root may open it all the same, and does where there is no daemon to ask. */
    :: atomic { !open && opens > 0 && there && driver == bound && (!node_closed || (!alive && !unbinder_busy)) ->
            assert(state == PRESENT);     /* no new user after the request */
            newcomer = newcomer || !alive;
            opens--; open = true; users++ }
    :: atomic { open && io > 0 -> io--; io_asked = true }
    /* Lets go. A guest's own shutdown touches its device, and waits for the answer. */
    :: atomic { open && will == on_dbus && signalled -> io_asked = (io > 0); io = 0; goto wind_down }
    :: atomic { open && will != by_nothing && vfio_asks -> io_asked = (io > 0); io = 0; goto wind_down }
    /* Dies, or has had enough. Who has opened it for the last time may keep it for ever. */
    :: atomic { open && opens > 0 -> open = false; users-- }
    od;
wind_down:
    atomic { !io_asked -> open = false; users--; goto end }
}

active proctype Delayer() {
end:
    delays > 0 ->
    if
    :: atomic { signalled -> delays-- }          /* asked */
    :: delays--                                  /* it ends by itself */
    :: skip                                      /* it keeps it for ever */
    fi
}

active proctype Outsider() {
    /* Nothing at all, or one of these. */
    if
    :: goto end
    :: atomic { there -> outside = true; there = false; driver = none }   /* pulled out */
    :: atomic { there && driver == bound ->
            outside = true; driver = unbinding; seen = true; vfio_asks = users > 0 }
end_held:
        atomic { users == 0 && driver == unbinding -> driver = none; unbound = true }
        if
        :: goto end                                                     /* it was an unbind */
        :: atomic { !remover_busy -> there = false }
        :: remover_busy && !there
        fi
    fi;
end:
    skip
}

/* When nobody can do anything any more. */
active proctype Rest() {
end:
    timeout ->
    atomic {
        assert(alive && !waiting && !armed && !hotplug_lock && !remover_busy);
        assert(!io_asked);
        /* Whoever holds it may hold it for ever; else it is over. */
        assert(state == PRESENT || state == GONE || ((state == UNBINDING || state == OVERTAKEN) && users > 0));
        assert(state != UNBINDING || insisted || outside);
        assert(there == (state != GONE));
        assert(unbinder_busy == (state == UNBINDING) || outside);
        /* At rest nothing is left of a request. */
        assert(state != PRESENT || (!node_closed && !remembered));
        assert(state != GONE || (!remembered && ended && !node_closed));
        /* Nobody's device went who was not asked to give it. */
        assert(insisted || outside || users == 0 || driver == bound);
    }
}

init {
    atomic {
        run Holder(2, 1);
        run Holder(1, 0)
    }
}
