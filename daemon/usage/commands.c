#include "daemon/usage/commands.h"

#include "daemon/base/process.h"
#include "daemon/scan/scanner.h"

#define UID_PENALTY_USEC (600 * 1000 * 1000ULL)
/* Of all users together. */
#define PENDING_MAX 1024

struct Commands {
        Scanner *scanner;
        CommandsHandler *handler;
        void *context;
        GHashTable *pending;   /* pid -> uid, of those who are asked for */
        GHashTable *penalties; /* uid -> int64_t*, CLOCK_MONOTONIC until when */
};

static void on_commands_answer(void *context, const ScanRequest *request,
                               const ScanAnswer *answer) {
        Commands *commands = context;
        g_autofree char *command = NULL;

        if (answer->kind == SCAN_KIND_DONE)
                g_hash_table_remove(commands->pending, GINT_TO_POINTER(request->pid));
        if (answer->kind != SCAN_KIND_COMMAND)
                return;
        if (answer->command.size > 0)
                command = process_format_command(answer->command.words,
                                                 MIN(answer->command.size, SCAN_COMMAND_MAX));
        commands->handler(commands->context, request->pid, command);
}

static void on_hung(void *context, pid_t pid, ScanAvoid avoid) {
        Commands *commands = context;
        gpointer uid;
        gint64 until = g_get_monotonic_time() + (gint64) UID_PENALTY_USEC;

        if (g_hash_table_lookup_extended(commands->pending, GINT_TO_POINTER(pid), NULL, &uid))
                g_hash_table_replace(commands->penalties, uid, g_memdup2(&until, sizeof(until)));
}

static const ScannerHandler scanner_handler = { on_commands_answer, on_hung };

int commands_new(sd_event *event, CommandsHandler *handler, void *context, Commands **ret) {
        Commands *commands = g_new0(Commands, 1);
        int r;

        commands->handler = handler;
        commands->context = context;
        commands->pending = g_hash_table_new(NULL, NULL);
        commands->penalties = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        r = scanner_new(event, "vfwarden-name", NULL, &scanner_handler, commands,
                        &commands->scanner);
        if (r < 0) {
                commands_free(commands);
                return r;
        }
        *ret = commands;
        return 0;
}

Commands *commands_free(Commands *commands) {
        if (!commands)
                return NULL;
        scanner_free(commands->scanner);
        g_hash_table_unref(commands->pending);
        g_hash_table_unref(commands->penalties);
        g_free(commands);
        return NULL;
}

static bool is_penalised(Commands *commands, uint32_t uid) {
        const gint64 *until = g_hash_table_lookup(commands->penalties, GUINT_TO_POINTER(uid));

        if (until && *until <= g_get_monotonic_time()) {
                g_hash_table_remove(commands->penalties, GUINT_TO_POINTER(uid));
                until = NULL;
        }
        return until != NULL;
}

bool commands_ask(Commands *commands, pid_t pid, uint64_t start_time, uint32_t uid) {
        ScanRequest request = { .task = SCAN_TASK_COMMAND, .pid = pid, .start_time = start_time };

        if (is_penalised(commands, uid) || g_hash_table_size(commands->pending) >= PENDING_MAX)
                return false;
        if (!g_hash_table_insert(commands->pending, GINT_TO_POINTER(pid), GUINT_TO_POINTER(uid)))
                return true;
        (void) scanner_ask(commands->scanner, &request, false);
        return true;
}
