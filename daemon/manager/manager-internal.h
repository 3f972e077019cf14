/* manager-internal.h: what the files of the manager share.
 *
 * manager.c: life; manager-requests.c: requests that outlive the
 * daemon; manager-operate.c: guarded operations; manager-open.c: opening for
 * others; manager-inventory.c: from events to the inventory; manager-unread.c: what of it cannot be
 * read at present; manager-sources.c: what other parts tell; manager-users.c: who uses what;
 * manager-apply.c: from the inventory through the rules to files and observer. */
#pragma once

#include "daemon/base/children.h"
#include "daemon/base/config.h"
#include "daemon/base/problems.h"
#include "daemon/base/rate-limit.h"
#include "daemon/base/reserve.h"
#include "daemon/base/retries.h"
#include "daemon/base/state.h"
#include "daemon/broker/leases.h"
#include "daemon/broker/records.h"
#include "daemon/broker/sessions.h"
#include "daemon/broker/spawner.h"
#include "daemon/broker/vf-tokens.h"
#include "daemon/guard/device-nodes.h"
#include "daemon/guard/inhibitors.h"
#include "daemon/guard/operations.h"
#include "daemon/guard/protected-files.h"
#include "daemon/guard/records.h"
#include "daemon/guard/unplug.h"
#include "daemon/manager/functions.h"
#include "daemon/manager/manager.h"
#include "daemon/sysfs/config-space.h"
#include "daemon/sysfs/function-reader.h"
#include "daemon/sysfs/lost-overrides.h"
#include "daemon/sysfs/msi-source.h"
#include "daemon/sysfs/override-reader.h"
#include "daemon/sysfs/pci-names.h"
#include "daemon/sysfs/uevents.h"
#include "daemon/sysfs/watch.h"
#include "daemon/usage/external-removals.h"
#include "daemon/usage/users.h"
#include "daemon/usage/vfio-openings.h"

struct Manager {
        sd_event *event;
        const TurnMeter *turns;
        char *config_directory;
        char *state_directory;
        Config *config;
        bool released; /* by manager_release_all(): the configuration's Enforcement= is overruled */

        Notify *notify; /* borrowed */
        Problems *problems;
        Reserve *reserve;
        PciNames *names;
        Watch *watch;
        Uevents *uevents;
        sd_event_source *check_timer;
        sd_event_source *status_timer;
        ProtectedFiles *closed;
        FdStore *store;
        Inhibitors *inhibitors;
        Operations *operations;
        DeviceNodes *device_nodes;
        Unplugs *unplugs;
        Children *children;
        Spawner *spawner;
        Sessions *sessions;
        Leases *leases;
        VfTokens *vf_tokens;
        ExternalRemovals *external_removals;
        Users *users;
        ConfigSpace *config_space;
        MsiSource *msi_source;

        Inventory *inventory;
        OverrideReader *override_reader;
        LostOverrides *lost_overrides;
        GHashTable *arrivals;  /* PciKey* -> Arrival*: answered, and not yet read */
        GHashTable *stale;     /* set of PciKey* to be read again */
        sd_event_source *work; /* runs when there is something stale or queued */
        GHashTable *watches;   /* PciKey* -> number of the watch on the function's directory */
        Retries *rereads;      /* of functions, all or some facts of which cannot be read */
        RateLimit *bindings;   /* of functions whose driver changes: their driver_override is asked
                                  for */
        Retries *overrides;    /* of functions whose driver_override cannot be read */
        Retries *relocks;      /* of functions whose files cannot all be closed */
        Retries *closings;     /* of functions whose device nodes cannot all be closed */
        bool unknown_changed;  /* since the PFs were told */
        GHashTable *unknown;   /* set of PciKey* that exist, and of which nothing can be read */
        GHashTable
                *remembered; /* PciKey* -> StateFunction*, of an earlier run; NULL after takeover */
        State *earlier;      /* what `remembered` points into */
        bool earlier_lost;   /* there was an earlier run, and its records cannot be used */
        uint64_t check_usec; /* how soon the closed files are looked at again */
        GPtrArray *queue;    /* borrowed Function* to be applied */
        GPtrArray *requests; /* all that are in progress; see manager-operate.c */
        GPtrArray *unverified;                /* of those the ones that wait for the inventory */
        GPtrArray *unplug_calls;              /* who waits for an unplug */
        unsigned published_count, told_count; /* of functions; what the observer knows */
        unsigned locked_count;                /* functions with a lock reason */
        bool state_dirty;  /* a function's taint or lock differs from what was saved */
        bool state_failed; /* the last attempt to save; it has been complained of */

        const ManagerObserver *observer;
        void *observer_context;
};

/* manager.c: the lists of state.json. */
extern const StateSection *const manager_sections[];

/* manager-inventory.c */
extern const UeventsHandler manager_uevents_handler;
void manager_mark_stale(Manager *manager, PciKey key);
void manager_arrival_free(gpointer data);
void manager_on_override(void *context, PciKey key, const OverrideAnswer *answer);
void manager_mark_all_stale(Manager *manager);
void manager_queue_related(Manager *manager, Function *function);
void manager_read_stale(Manager *manager);

/* manager-unread.c */
/* `failure` keeps the function from being read, or some of its facts; it is tried again. */
void manager_unread(Manager *manager, PciKey key, const FunctionReadFailure *failure);
/* All of it was read. It is tried again, too, where its files cannot be watched. */
void manager_read(Manager *manager, PciKey key, bool watched);
/* There is no such function. */
void manager_forget_unread(Manager *manager, PciKey key);
/* Finds out whether a descriptor is to be had, and fills the reserve. */
#define MANAGER_PROBLEM_DESCRIPTORS "descriptors"
#define MANAGER_PROBLEM_CONFIG      "configuration"
void manager_check_descriptors(Manager *manager);
void manager_list_failed(Manager *manager, int r);
void manager_listed(Manager *manager);
void manager_on_reread(void *context, PciKey key);
void manager_on_override_due(void *context, PciKey key);
void manager_on_relock(void *context, PciKey key);
void manager_on_closing_due(void *context, PciKey key);
/* Tells PFs whether VFs of theirs are among those of which nothing can be read; queues those to
 * which that is new. */
void manager_note_unknown(Manager *manager);
/* Whether every function that exists has been read. */
bool manager_knows_all(const Manager *manager);
/* Gives up what is left of an earlier run's records, once every function has been read: until then
 * a file may be closed on behalf of a function that is not known yet. */
void manager_end_takeover(Manager *manager);

/* manager-users.c */
extern const UsersHandler manager_users_handler;
void manager_on_users_changed(void *context, PciKey key);

/* Who uses the function, and all that is related, is known now. `function` is looked up again: NULL
 * with -ENODEV and -ECANCELED. -EBUSY when it could not be found out in time. `message` is for
 * people, NULL with 0. */
typedef void ManagerRefreshed(void *context, Function *function, int result, const char *message);

/* `done` is called once, perhaps before this returns. */
void manager_refresh_users(Manager *manager, const Function *function, ManagerRefreshed *done,
                           void *context);

/* manager-sources.c */
extern const LeasesHandler manager_leases_handler;
extern const VfTokensHandler manager_vf_tokens_handler;
extern const ConfigSpaceHandler manager_config_space_handler;
void manager_on_msi_changed(void *context, PciKey key);
void manager_on_inhibitor_ended(void *context, PciKey key);
extern const UnplugsHandler manager_unplugs_handler;
extern const ExternalRemovalsHandler manager_external_removals_handler;
extern const SessionsHandler manager_sessions_handler;
extern const ChildrenHandler manager_children_handler;
void manager_tell_unplugs(Manager *manager, Function *function);
extern const OperationsHandler manager_operations_handler;

/* manager-operate.c */
void manager_verify_requests(Manager *manager);
void manager_tell_unplug_calls(Manager *manager);

/* manager-apply.c */
void manager_queue(Manager *manager, Function *function);
void manager_queue_all(Manager *manager);

/* Shows as a problem that nothing is locked since release-all, or that this is over. */
void manager_show_release(Manager *manager);
void manager_apply(Manager *manager);
/* The same for a request that is to outlive the daemon. When the state cannot be saved, `undo`
 * (NULL: nothing) takes back what the request changed, before a file was touched or anybody was
 * told. Returns 0 or a negative errno. */
typedef void ManagerUndo(void *context);
int manager_apply_request(Manager *manager, ManagerUndo *undo, void *context);
/* Returns 0, also when there is nothing to save, or a negative errno; it is tried again every few
 * seconds. */
int manager_save_state(Manager *manager);
#define MANAGER_CHECK_ACCURACY_USEC (1000 * 1000ULL)
int manager_on_check_timer(sd_event_source *source, uint64_t usec, void *userdata);
int manager_on_status_timer(sd_event_source *source, uint64_t usec, void *userdata);
void manager_report(Manager *manager, const Violation *violation);
extern const ProtectedFilesHandler manager_protected_files_handler;
