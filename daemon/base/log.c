/* Where the log calls' place in the source would go, the address goes: it is what a reader asks
 * for. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "daemon/base/log.h"

#include "policy/client-text.h"
#include "policy/names.h"
#include "policy/private-text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

static struct {
        int level;
        LogTarget target;
} log_state = { LOG_INFO, LOG_TARGET_CONSOLE };

static const char *const log_level_names[] = {
        "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
};

static const char *const log_target_names[_LOG_TARGET_MAX] = {
        [LOG_TARGET_JOURNAL] = "journal",
        [LOG_TARGET_CONSOLE] = "console",
        [LOG_TARGET_NULL] = "null",
};

void log_setup(void) {
        /* systemd.exec(5): set when standard output or standard error goes to the journal. */
        log_state.target = getenv("JOURNAL_STREAM") ? LOG_TARGET_JOURNAL : LOG_TARGET_CONSOLE;
}

void log_set_level(int level) {
        log_state.level = level;
}

int log_get_level(void) {
        return log_state.level;
}

void log_set_target(LogTarget target) {
        log_state.target = target;
}

LogTarget log_get_target(void) {
        return log_state.target;
}

const char *log_level_to_string(int level) {
        return log_level_names[level];
}

int log_level_from_string(const char *name) {
        return name_table_find(log_level_names, G_N_ELEMENTS(log_level_names), name);
}

const char *log_target_to_string(LogTarget target) {
        return log_target_names[target];
}

LogTarget log_target_from_string(const char *name) {
        return name_table_find(log_target_names, _LOG_TARGET_MAX, name);
}

/* The text of a line: a reader looks for the address there, and not in a field. */
static char *line_text(const char *address, const char *format, va_list arguments)
        __attribute__((format(printf, 2, 0)));

static char *line_text(const char *address, const char *format, va_list arguments) {
        g_autofree char *message = g_strdup_vprintf(format, arguments);

        if (!address || g_str_has_prefix(message, address))
                return g_steal_pointer(&message);
        return g_strdup_printf("%s: %s", address, message);
}

static void log_to_journal(int level, const char *address, const char *message_id,
                           const char *message) {
        g_autofree char *text = g_strconcat("MESSAGE=", message, NULL);
        g_autofree char *priority = g_strdup_printf("PRIORITY=%d", level);
        g_autofree char *function = g_strconcat("VFWARDEN_ADDRESS=", address, NULL);
        g_autofree char *id = g_strconcat("MESSAGE_ID=", message_id, NULL);
        char identifier[] = "SYSLOG_IDENTIFIER=vfwardend";
        char *all[] = { text, priority, identifier, address ? function : NULL,
                        message_id ? id : NULL };
        struct iovec iov[G_N_ELEMENTS(all)];
        int n = 0;

        for (unsigned i = 0; i < G_N_ELEMENTS(all); i++)
                if (all[i])
                        iov[n++] = (struct iovec){ all[i], strlen(all[i]) };
        (void) sd_journal_sendv(iov, n);
}

void log_full(int level, const PciAddress *address, const char *message_id, const char *format,
              ...) {
        char text[PCI_ADDRESS_STRING_MAX];
        const char *where = NULL;
        g_autofree char *formatted = NULL, *shown = NULL, *message = NULL;
        va_list arguments;

        if (level > log_state.level || log_state.target == LOG_TARGET_NULL)
                return;

        if (address)
                where = pci_address_format(*address, text);
        va_start(arguments, format);
        formatted = line_text(where, format, arguments);
        va_end(arguments);
        shown = private_text_for(formatted, true); /* the log is for administrators */
        /* A text from elsewhere must not begin a line of its own. */
        message = client_text_make_valid(shown, -1);

        if (log_state.target == LOG_TARGET_JOURNAL)
                log_to_journal(level, where, message_id, message);
        else
                fprintf(stderr, "vfwardend: %s: %s\n", log_level_names[level], message);
}
