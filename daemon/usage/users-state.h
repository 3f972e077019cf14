/* users-state.h: what was seen of the users of functions, and what is to be looked at next.
 *
 * Owns the facts that the other files of users share. users-look.c asks the scanner and takes its
 * answers, users-openings.c knows what follows from opens and closes, users-update.c what follows
 * from all that was seen, users-refresh.c serves those who wait for a look. users.c hears the
 * events and decides when to look. Each needs only those before it.
 *
 * Always holds: a question is answered by a walk that began after it (`needs_walk`,
 * `n_walks_ended`). One walk and one round of looks at the holders is in progress at a time. */
#pragma once

#include "daemon/scan/scanner.h"
#include "daemon/scan/vfio-watch.h"
#include "daemon/usage/commands.h"
#include "daemon/usage/holders.h"
#include "daemon/usage/users-types.h"
#include "daemon/usage/vfio-closings.h"
#include "daemon/usage/vfio-device.h"
#include "daemon/usage/vfio-openings.h"
#include "policy/inventory.h"

#include <systemd/sd-login.h>

/* The processes that have sockets in which descriptors wait. */
typedef struct UsersSockets UsersSockets;

/* A node that was opened, and counts as open by that process until it was looked at so often. */
typedef struct Opened {
        pid_t pid;
        unsigned left;
} Opened;

/* A process that opened a node. */
typedef struct Opener {
        unsigned left;     /* looks, without the one in progress */
        uint64_t due_usec; /* CLOCK_MONOTONIC */
        uint64_t ticket;   /* of the look in progress, 0: none */
        GHashTable *names; /* of the nodes; set */
} Opener;

struct Users {
        sd_event *event;
        const Inventory *inventory;
        const UsersHandler *handler;
        void *context;
        VfioWatch *watch;
        Scanner *scanner;
        Commands *commands;
        Holders *holders;
        GHashTable *functions;     /* key in VfioDevice -> VfioDevice */
        GHashTable *openers;       /* pid -> Opener*, owned */
        uint64_t openers_due_usec; /* when the first is due, or earlier; UINT64_MAX: none is */
        /* Names of nodes that were opened, since the last walk began, by who is no opener here. */
        GHashTable *strays;
        bool strays_are_new; /* whose they are was not looked up, or may be another's now */
        GHashTable *opened;  /* name of a node that was not open before -> Opened*, owned */
        VfioClosings *closings;
        VfioOpenings *openings;
        GHashTable *unnamed;  /* pids whose command lines are asked for */
        GPtrArray *refreshes; /* of Refresh*, owned */
        sd_login_monitor *machines;
        sd_event_source *work, *timer, *conclusion, *machines_source;

        uint64_t last_conclusion_usec, alert_until_usec; /* CLOCK_MONOTONIC */
        uint64_t naming_until_usec; /* for so long one waits for command lines */
        uint64_t tick_cost_usec;    /* CPU time of the timer's last tick */
        uint64_t check_cost_usec;   /* from the last look at all holders to its last answer */
        uint64_t check_begun_usec;
        /* Rounds of looks at the holders are counted: */
        uint64_t n_rounds, n_rounds_ended;
        unsigned n_checks;                /* looks of this round that are not done ... */
        uint64_t first_check, last_check; /* ... of those with these tickets */
        unsigned n_lost_ticks;            /* for how many an open device had no process */
        bool check;     /* holders that released something are to be looked at ... */
        bool check_all; /* ... or all holders ... */
        bool everybody; /* ... or all processes */
        bool all_seen;  /* since the last conclusion a walk has ended that saw everybody */
        bool walking;
        /* Who has sockets in which descriptors wait, or cannot be looked at: as is certain, as the
         * last walk found them, and this one; NULL before. */
        UsersSockets *sockets, *last_sockets, *next_sockets;
        bool walk_failed;        /* the last one, which did not see all processes */
        unsigned n_socket_walks; /* that ended, and found such sockets; the next compares */
        bool any_unlookable;     /* a process, and that was reported */
        bool started; /* what VFIO is bound to from now on, it is bound to in our sight */
        uint64_t walk_not_before_usec; /* CLOCK_MONOTONIC */
        /* Walks are counted. A question needs the walk that begins after it: */
        uint64_t n_walks, n_walks_ended;
        uint64_t needs_walk; /* of all functions; of each, VfioDevice has its own */
};

/* Something is to be looked at; soon. */
void users_schedule(Users *users);
void users_set_timer(Users *users);

/* Only all processes can tell who has the function open, or any function (NULL). */
void users_need_walk(Users *users, VfioDevice *device);
bool users_is_sure(Users *users, const VfioDevice *device);

/* The opener is to be looked at when it is due. */
void users_note_due(Users *users, const Opener *opener);

/* Those who opened a node and are not known are searched for among all processes. */
void users_search_for_strays(Users *users);

/* Asks for a look at the process; its ticket is returned. `holder`: only if it has released
 * something. */
uint64_t users_ask(Users *users, pid_t pid, const Holder *holder, bool urgent);

/* The functions behind a node of that name: "12", "noiommu-12", "vfio3". */
bool users_node_is(const VfioDevice *device, const char *name);

/* users-sockets.c: what a walk finds. */
UsersSockets *users_sockets_new(void);
UsersSockets *users_sockets_free(UsersSockets *sockets);
void users_sockets_add(UsersSockets *sockets, const ScanPending *pending);

/* The processes that are in both. */
UsersSockets *users_sockets_in_both(const UsersSockets *a, const UsersSockets *b);

/* A descriptor that may be the function's waits in a socket of the process that is returned; 0: in
 * none. `sockets` may be NULL: there are none. */
pid_t users_pid_of_socket(const Users *users, const VfioDevice *device, UsersSockets *sockets);

/* The same of any function: whether `sockets` are of interest. */
bool users_any_in_socket(const Users *users, UsersSockets *sockets);

/* Whether one of the function's nodes is open by more than an assumption. */
bool users_opening_is_evident(const Users *users, const VfioDevice *device);

/* The sockets in which a descriptor of this node may wait, as is certain. */
VfioWaiting users_waiting(const Users *users, const VfioDevice *device, const char *name);

/* users-openings.c. Openings and closes may have gone unseen, of all functions. */
void users_doubt_openings(Users *users);

/* Whether that is so still of the function's nodes. */
bool users_openings_are_doubtful(const Users *users, const VfioDevice *device);

/* A walk has ended that began after the last doubt: `in_process`, a process has the function. What
 * has its group is in `explained`. */
void users_correct_openings(const Users *users, const VfioDevice *device, bool in_process,
                            GHashTable *explained);

/* VFIO has the function no more: its nodes are forgotten if they have gone. */
void users_forget_openings(const Users *users, const VfioDevice *device);

/* The groups (int32_t in pointers) that a process has, or of which a device is open; owned. */
GHashTable *users_explained_groups(const GPtrArray *functions, const GPtrArray *holders);

/* Whether a node of the function, or of its group if that is not in `explained`, was opened and not
 * closed. */
bool users_node_is_open(const Users *users, const VfioDevice *device, GHashTable *explained);

/* Notes what users_record() is to write of the function; returns whether that is new. */
bool users_note_record(const Users *users, VfioDevice *device);

/* users-look.c */
extern const ScannerHandler users_scanner_handler;
extern const HoldersHandler users_holders_handler;
void users_on_command(void *context, pid_t pid, const char *command);

void users_look_at_openers(Users *users);

/* What the process opened is its own no longer, if it was not seen to have it: somebody else has
 * it, and that counts. */
void users_end_opened(Users *users, pid_t pid);
void users_look_at_holders(Users *users);
void users_walk(Users *users);

/* users-update.c: users are updated from what was seen, in a moment; or at once, with the command
 * lines that are there. */
void users_update_soon(Users *users, bool at_once);
void users_update_now(Users *users);

/* users-refresh.c: a look has been done; all that was seen has been reported. */
void users_refresh_looked(Users *users, pid_t pid, uint64_t ticket);
void users_refresh_updated(Users *users);
void users_refresh_free(gpointer refresh);
