/* write-hook.h: whether the kernel guard looks at every read and write of the machine.
 *
 * Owns the link of that program, which vfwarden-guard has loaded and pinned and not attached: each
 * read and write of any file calls it and takes 200 to 215 instructions more (guard_cost, on Linux
 * 6.12), so it is attached only while there is a file to guard. Always holds: the link is pinned,
 * so it stays in force when the daemon ends. No capability is needed: the directory of the pins is
 * root's own, and the kernel asks for none to attach a program that is loaded
 * (bpf_tracing_prog_attach()). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

/* So long it stays attached without need: who opens and closes a function in a loop must not have
 * the kernel's code changed each time. */
#define WRITE_HOOK_REST_USEC (10 * 1000 * 1000ULL)

/* How soon it is tried again where it could not be attached for now. */
#define WRITE_HOOK_RETRY_USEC (100 * 1000ULL)

typedef struct WriteHook WriteHook;

/* It was tried again to attach it; `r` is 0 or a negative errno. It may free the hook. */
typedef void WriteHookRetried(void *context, int r);

/* In `directory` are the pins. It is as an earlier run has left it: attached, or not. */
WriteHook *write_hook_new(sd_event *event, const char *directory, uint64_t rest_usec,
                          WriteHookRetried *retried, void *context);
WriteHook *write_hook_free(WriteHook *hook);

/* Attaches it at once where it is `needed`, and detaches it a while after it is not. Returns 0 or a
 * negative errno. */
int write_hook_set(WriteHook *hook, bool needed);

/* Whether it is tried again after this error, until it succeeds or is not needed. */
bool write_hook_retries(int error);
