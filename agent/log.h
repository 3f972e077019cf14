/* log.h: messages of the agent, for the journal.
 *
 * Owns nothing. Standard error goes to the journal, which reads the level from the prefix
 * (sd-daemon(3)). */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

__attribute__((format(printf, 2, 3))) static inline void log_say(const char *level,
                                                                 const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        (void) fputs(level, stderr);
        (void) vfprintf(stderr, format, arguments);
        (void) fputc('\n', stderr);
        va_end(arguments);
}

#define log_info(...)    log_say(SD_INFO, __VA_ARGS__)
#define log_notice(...)  log_say(SD_NOTICE, __VA_ARGS__)
#define log_warning(...) log_say(SD_WARNING, __VA_ARGS__)
#define log_error(...)   log_say(SD_ERR, __VA_ARGS__)
