/* thread.h: the threads besides the one that serves the client. Owns nothing. */
#pragma once

/* Starts a thread, before the list of system calls is closed; when this returns it makes no more
 * system calls than `run` does. When `run` returns the thread waits for ever, for its end would
 * take others. `context` must outlive the process. Returns 0 or a negative errno. */
int thread_start(void (*run)(void *context), void *context);
