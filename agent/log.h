/* log.h: messages of the agent, for the journal.
 *
 * Owns nothing. Standard error goes to the journal, which reads the level from the prefix
 * (sd-daemon(3)). */
#pragma once

#include <stdio.h>
#include <systemd/sd-daemon.h>

#define log_say(level, format, ...) fprintf(stderr, level format "\n" __VA_OPT__(, ) __VA_ARGS__)
#define log_info(...)               log_say(SD_INFO, __VA_ARGS__)
#define log_notice(...)             log_say(SD_NOTICE, __VA_ARGS__)
#define log_warning(...)            log_say(SD_WARNING, __VA_ARGS__)
#define log_error(...)              log_say(SD_ERR, __VA_ARGS__)
