/* request-log.h: the requests of clients, in the journal.
 *
 * Owns the lines about requests. For each call that needs an authorisation a line has the function,
 * the method with its arguments, the client's uid, pid and command, and the result. A client must
 * not be able to make journald drop the daemon's other messages (RateLimitBurst= in
 * journald.conf(5)). So each user but root has a limit, beyond which calls are only counted. Texts
 * that a client chose, the arguments and its command, are printed without control characters. */
#pragma once

#include "dbus/method-call.h"

/* Lines of one user in an interval; root has no bound. */
#define REQUEST_LOG_BURST         40U
#define REQUEST_LOG_INTERVAL_USEC (10 * UINT64_C(1000000))

typedef struct RequestLog RequestLog;

RequestLog *request_log_new(void);
RequestLog *request_log_ref(RequestLog *log);
RequestLog *request_log_unref(RequestLog *log);

/* The call is authorised and may take a while. */
void request_log_begin(RequestLog *log, const MethodCall *call);

/* The call has ended: with `error`, or done if that is NULL. Reads the call's message. */
void request_log_end(RequestLog *log, const MethodCall *call, const sd_bus_error *error);

/* Whether a line of `uid` may be printed at `now_usec`. `*ret_left_out` is the number of lines that
 * were not, to be logged now. */
bool request_log_take(RequestLog *log, uint32_t uid, uint64_t now_usec, unsigned *ret_left_out);

/* The command (comm) of process `pid`, "?" if it has gone. Not its command line: a read of that
 * takes the process's mmap lock (proc_pid_cmdline_read() in fs/proc/base.c), which it can hold for
 * ever; comm_show() takes the task lock alone. */
void request_log_read_command(uint32_t pid, char ret[static METHOD_COMMAND_MAX]);

/* The arguments of `message`, as text for people; the caller's. */
char *request_log_arguments(sd_bus_message *message);
