/* log.h: the daemon's messages, to the journal or to standard error.
 *
 * Owns the one global of the program: level and target, which org.freedesktop.LogControl1 can
 * change at run time. Messages name their function; those that may need an action have a message id
 * of their own. policy/ never logs. */
#pragma once

#include "policy/address.h"

#include <syslog.h>

typedef enum LogTarget {
        LOG_TARGET_JOURNAL,
        LOG_TARGET_CONSOLE, /* standard error */
        LOG_TARGET_NULL,
        _LOG_TARGET_MAX,
        _LOG_TARGET_INVALID = -22,
} LogTarget;

/* The table of message ids: units/vfwarden.catalog explains each, and tests/lint/catalog compares
 * the two. `systemd-id128 new` makes another. */

/* Violation: a protected file got a write bit, or the VFs of a locked PF changed. */
#define LOG_ID_VIOLATION "dca0ba79c7af46c2932d7c1e91533a99"
/* A PF with enabled VFs is bound to a userspace driver. */
#define LOG_ID_PF_WITH_VFS "d7cbfc7ae73948fb9a9d474987a107d0"
/* A function's lock reasons changed. */
#define LOG_ID_LOCK "8c1e677f77264f4f84c18770cd8263ab"
/* Events were lost and all functions were read again. */
#define LOG_ID_OVERRUN "e7c92cb5479c4c9c9e75effeea6b3b8a"
/* A function came back without the driver_override that it had. */
#define LOG_ID_OVERRIDE_LOST "f652eac4d3da45bd9cd370fb4deb7e37"
/* The configuration was refused. */
#define LOG_ID_CONFIG "70d3ad9d727a45c5a8afcd4aec1bf177"
/* A client's request began or ended. */
#define LOG_ID_REQUEST "dcb7112ef1aa4980a6969bdd0c9cc488"
/* Somebody else removes or unbinds a function that is in use. */
#define LOG_ID_EXTERNAL_REMOVAL "e42835af91934633854dbe0d43d8b4a5"
/* A problem of the daemon's own began or ended. */
#define LOG_ID_PROBLEM "90350d0f45a74c039e36bff8f4b3e203"
/* The kernel guard refused something, or would have. */
#define LOG_ID_KERNEL_GUARD "5c1f0e9a7b3d4c2e8f6a9d1b0e7c4a35"
/* An operation has timed out, and its process is still in the kernel. */
#define LOG_ID_OVERDUE "ade6f9a45d3a4a4d891a084bb2a61279"

/* Chooses the journal where standard error is connected to it, else the console. */
void log_setup(void);

/* `level` is LOG_ERR .. LOG_DEBUG; messages of higher number are dropped. */
void log_set_level(int level);
int log_get_level(void);
void log_set_target(LogTarget target);
LogTarget log_get_target(void);

/* The names that LogControl1 uses. From names: -EINVAL if there is none such. */
const char *log_level_to_string(int level);
int log_level_from_string(const char *name);
const char *log_target_to_string(LogTarget target);
LogTarget log_target_from_string(const char *name);

/* Says one line. `address` (VFWARDEN_ADDRESS=) and `message_id` may be NULL. "ADDRESS: " is put in
 * front of the text, unless it begins so. */
void log_full(int level, const PciAddress *address, const char *message_id, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

#define log_error(...)   log_full(LOG_ERR, NULL, NULL, __VA_ARGS__)
#define log_warning(...) log_full(LOG_WARNING, NULL, NULL, __VA_ARGS__)
#define log_notice(...)  log_full(LOG_NOTICE, NULL, NULL, __VA_ARGS__)
#define log_info(...)    log_full(LOG_INFO, NULL, NULL, __VA_ARGS__)
#define log_debug(...)   log_full(LOG_DEBUG, NULL, NULL, __VA_ARGS__)
