/* lasting-requests.h: requests that outlive the daemon: administrators' locks and inhibitors.
 *
 * Owns nothing but what they were given. Always holds: each is saved before it is answered, or
 * undone. */
#pragma once

#include "daemon/manager/apply.h"

typedef struct LastingRequests LastingRequests;

/* All is borrowed. */
LastingRequests *lasting_requests_new(Apply *apply);
LastingRequests *lasting_requests_free(LastingRequests *requests);

/* See the functions of the manager with the same name. */
int lasting_requests_lock(LastingRequests *requests, Function *function, const char *why);
int lasting_requests_unlock(LastingRequests *requests, Function *function);
int lasting_requests_inhibit(LastingRequests *requests, PciKey key, const Inhibitor *inhibitor,
                             int *ret_fd);
bool lasting_requests_may_inhibit(const LastingRequests *requests, uint32_t uid,
                                  size_t n_functions);
void lasting_requests_inhibit_many(LastingRequests *requests, const PciKey *keys, size_t n_keys,
                                   const Inhibitor *inhibitor, ManagerInhibited *done,
                                   void *context);
void lasting_requests_foreach_inhibitor(const LastingRequests *requests,
                                        void (*visit)(void *context, PciKey key,
                                                      const Inhibitor *inhibitor),
                                        void *context);
/* Notes the administrator's lock of the function, NULL: none. The caller saves and applies it. */
void lasting_requests_set_lock(LastingRequests *requests, Function *function, char *why);

/* The daemon ends: those that are not done yet end with -ECANCELED. */
void lasting_requests_end_calls(LastingRequests *requests, const char *why);
