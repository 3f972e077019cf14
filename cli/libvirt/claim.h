/* claim.h: the one call by which a domain gets its functions: it inhibits what would take them
 * away, and says what stands against the domain's having them.
 *
 * Owns the call, and then its reply. The rule which blockers count for a domain is here, too. */
#pragma once

#include "cli/client.h"
#include "cli/libvirt/domain.h"

#include <glib.h>

typedef struct Claim {
        ClientCall ping, call;
        int fd;              /* holds the inhibitors, -1 until claim_finish() */
        GPtrArray *blockers; /* of ClaimBlocker*, owned; NULL until claim_finish() */
        unsigned n_more;     /* blockers that the daemon did not list */
} Claim;

/* Sends the call for the functions at `addresses` (of char*) in the name of `who`, and does not
 * wait for the reply. The claim stays where it is until claim_done(). Returns 0 or a negative
 * errno. */
int claim_begin(Context *context, const GPtrArray *addresses, const char *who, Claim *claim);

/* Waits for the reply. Returns 0, or a negative errno and the error; nothing is inhibited then. */
int claim_finish(Context *context, Claim *claim, sd_bus_error *ret_error);

/* Ends the call or the inhibitors. */
void claim_done(Claim *claim);

/* Whether the domain's guard, a process in the scope `unit`, had an inhibitor on every function of
 * the domain before. */
bool claim_was_held(const Claim *claim, const Domain *domain, const char *unit);

/* The blockers that count for the domain `name`, a sentence for each (char*, owned). */
GPtrArray *claim_obstacles(const Claim *claim, const Domain *domain, const char *name,
                           const char *unit);
