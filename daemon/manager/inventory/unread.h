/* unread.h: functions that cannot be read at present.
 *
 * Owns which they are, and when each is tried again. What is known of them stays, nothing is opened
 * on their account. Of some nothing is known at all: a PF that lists such a VF is locked, since the
 * VF may be in use. */
#pragma once

#include "daemon/manager/apply.h"
#include "daemon/sysfs/function-reader.h"

typedef struct Unread Unread;

/* The function at `key` is to be read again; RETRIES_EVERYTHING: all are to be listed again. */
typedef void UnreadDue(void *context, PciKey key);

/* Returns 0 or a negative errno. */
int unread_new(Apply *apply, UnreadDue *due, void *due_context, Unread **ret);
Unread *unread_free(Unread *unread);

/* `failure` keeps the function from being read, or some of its facts; it is tried again. */
void unread_add(Unread *unread, PciKey key, const FunctionReadFailure *failure);

/* All of it was read. It is tried again, too, where its files cannot be watched. */
void unread_drop(Unread *unread, PciKey key, bool watched);

/* There is no such function. */
void unread_forget(Unread *unread, PciKey key);

/* The functions could, with 0, or could not be listed; then it is tried again. */
void unread_note_list(Unread *unread, int r);

/* Marks the PFs that list VFs of which nothing can be read; queues those to which that is new. To
 * be called when functions have been read. */
void unread_mark_pfs(Unread *unread);

/* Whether something is known of every function, and all could be listed. */
bool unread_is_empty(const Unread *unread);
