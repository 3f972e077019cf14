#include "daemon/usage/commands.h"

#include "daemon/base/process.h"
#include "daemon/base/wakeup.h"
#include "daemon/scan/scanner.h"

#define UID_PENALTY_USEC (600 * 1000 * 1000ULL)
/* Of all users together. */
#define PENDING_MAX 1024
/* In the middle of execve(2) a process has the name of its new program, and no command line yet
 * (begin_new_exec() and create_elf_tables() in fs/). So one without is asked for so many times. */
#define TRIES_MAX           4
#define AGAIN_USEC          (100 * 1000ULL)
#define AGAIN_ACCURACY_USEC (10 * 1000ULL)

typedef struct Question {
        ScanRequest request;
        uint32_t uid;
        unsigned tries;
        bool empty;   /* the last answer */
        bool waits;   /* is to be asked again, later */
        bool another; /* asked for meanwhile: the answer may be about the program before */
} Question;

struct Commands {
        Scanner *scanner;
        CommandsHandler *handler;
        void *context;
        GHashTable *pending;   /* pid -> Question*, owned */
        GHashTable *penalties; /* uid -> int64_t*, CLOCK_MONOTONIC until when */
        sd_event_source *again;
};

static bool is_penalised(Commands *commands, uint32_t uid) {
        const gint64 *until = g_hash_table_lookup(commands->penalties, GUINT_TO_POINTER(uid));

        if (until && *until <= g_get_monotonic_time()) {
                g_hash_table_remove(commands->penalties, GUINT_TO_POINTER(uid));
                until = NULL;
        }
        return until != NULL;
}

static void put(Commands *commands, Question *question) {
        question->waits = question->another = question->empty = false;
        question->tries++;
        (void) scanner_ask(commands->scanner, &question->request, false);
}

static void on_commands_done(Commands *commands, Question *question) {
        bool may_ask = !is_penalised(commands, question->uid);

        if (may_ask && question->another)
                put(commands, question);
        else if (may_ask && question->empty && question->tries < TRIES_MAX) {
                question->waits = true;
                wakeup_within(commands->again, AGAIN_USEC);
        } else
                g_hash_table_remove(commands->pending, GINT_TO_POINTER(question->request.pid));
}

static int on_commands_again(sd_event_source *source, uint64_t usec, void *userdata) {
        Commands *commands = userdata;
        GHashTableIter iter;
        Question *question;

        g_hash_table_iter_init(&iter, commands->pending);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &question))
                if (question->waits)
                        put(commands, question);
        return 0;
}

static void on_commands_answer(void *context, const ScanRequest *request,
                               const ScanAnswer *answer) {
        Commands *commands = context;
        Question *question = g_hash_table_lookup(commands->pending, GINT_TO_POINTER(request->pid));
        g_autofree char *command = NULL;

        if (question && answer->kind == SCAN_KIND_DONE)
                on_commands_done(commands, question);
        if (!question || answer->kind != SCAN_KIND_COMMAND || question->another)
                return;
        if (answer->command.size > 0)
                command = process_format_command(answer->command.words,
                                                 MIN(answer->command.size, SCAN_COMMAND_MAX));
        question->empty = !command || command[0] == '\0';
        commands->handler(commands->context, request->pid, command);
}

static void on_hung(void *context, pid_t pid, ScanAvoid avoid) {
        Commands *commands = context;
        const Question *question = g_hash_table_lookup(commands->pending, GINT_TO_POINTER(pid));
        gint64 until = g_get_monotonic_time() + (gint64) UID_PENALTY_USEC;

        if (question)
                g_hash_table_replace(commands->penalties, GUINT_TO_POINTER(question->uid),
                                     g_memdup2(&until, sizeof(until)));
}

static const ScannerHandler scanner_handler = { on_commands_answer, on_hung };

int commands_new(sd_event *event, CommandsHandler *handler, void *context, Commands **ret) {
        Commands *commands = g_new0(Commands, 1);
        int r;

        commands->handler = handler;
        commands->context = context;
        commands->pending = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        commands->penalties = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        r = scanner_new(event, "vfwarden-name", NULL, &scanner_handler, commands,
                        &commands->scanner);
        if (r >= 0)
                r = wakeup_new_timer(event, AGAIN_ACCURACY_USEC, on_commands_again, commands,
                                     &commands->again);
        if (r >= 0)
                r = sd_event_source_set_description(commands->again, "commands: once more");
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
        sd_event_source_disable_unref(commands->again);
        g_hash_table_unref(commands->pending);
        g_hash_table_unref(commands->penalties);
        g_free(commands);
        return NULL;
}

bool commands_ask(Commands *commands, pid_t pid, uint64_t start_time, uint32_t uid) {
        Question *question = g_hash_table_lookup(commands->pending, GINT_TO_POINTER(pid));

        if (is_penalised(commands, uid) ||
            (!question && g_hash_table_size(commands->pending) >= PENDING_MAX))
                return false;
        if (question)
                question->another = !question->waits;
        else {
                question = g_new0(Question, 1);
                g_hash_table_insert(commands->pending, GINT_TO_POINTER(pid), question);
        }
        question->request =
                (ScanRequest){ .task = SCAN_TASK_COMMAND, .pid = pid, .start_time = start_time };
        question->uid = uid;
        question->tries = 0;
        if (!question->another)
                put(commands, question);
        return true;
}
