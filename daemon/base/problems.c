#include "daemon/base/problems.h"

#include "daemon/base/log.h"
#include "daemon/base/wakeup.h"
#include "policy/client-text.h"

#include <stdarg.h>
#include <string.h>

typedef struct Problem {
        char *text;
        PciAddress address;
        bool of_function;
} Problem;

struct Problems {
        GTree *all;  /* key, owned -> Problem*, owned */
        bool more;   /* one had no room; until there is room again */
        char **told; /* the list as the handler saw it last */
        sd_event_source *tell;
        ProblemsHandler *handler;
        void *context;
};

static void problem_free(gpointer data) {
        Problem *problem = data;

        g_free(problem->text);
        g_free(problem);
}

static int compare_keys(gconstpointer a, gconstpointer b, gpointer context) {
        return strcmp(a, b);
}

static int on_tell(sd_event_source *source, void *userdata) {
        Problems *problems = userdata;
        g_auto(GStrv) now = problems_list(problems);

        /* A problem that begins and ends within a turn is no change. */
        if (g_strv_equal((const char *const *) now, (const char *const *) problems->told))
                return 0;
        g_strfreev(problems->told);
        problems->told = g_steal_pointer(&now);
        problems->handler(problems->context);
        return 0;
}

int problems_new(sd_event *event, ProblemsHandler *handler, void *context, Problems **ret) {
        g_autoptr(Problems) problems = g_new0(Problems, 1);
        int r;

        problems->told = g_new0(char *, 1);
        problems->all = g_tree_new_full(compare_keys, NULL, g_free, problem_free);
        problems->handler = handler;
        problems->context = context;
        /* One signal for all that fails in a turn, for many functions can fail together. */
        r = wakeup_new_idle(event, on_tell, problems, &problems->tell);
        if (r >= 0)
                r = sd_event_source_set_description(problems->tell, "problems: report changes");
        /* Before the bus: nobody is answered with what is not told yet. */
        if (r >= 0)
                r = sd_event_source_set_priority(problems->tell, SD_EVENT_PRIORITY_IMPORTANT);
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&problems);
        return 0;
}

Problems *problems_free(Problems *problems) {
        if (!problems)
                return NULL;
        sd_event_source_disable_unref(problems->tell);
        g_tree_unref(problems->all);
        g_strfreev(problems->told);
        g_free(problems);
        return NULL;
}

static void changed(Problems *problems) {
        (void) sd_event_source_set_enabled(problems->tell, SD_EVENT_ONESHOT);
}

/* Takes `text` over and makes a line of valid UTF-8 of it: it can quote a path or a device's own
 * words. */
static char *make_line(char *text) {
        g_autofree char *owned = text;
        char *line, *end;

        if (strlen(owned) > PROBLEM_TEXT_MAX)
                owned[PROBLEM_TEXT_MAX] = '\0';
        /* A character that was cut in two, or was no UTF-8, is replaced by more bytes than it
         * had. */
        line = client_text_make_valid(owned, -1);
        if (strlen(line) > PROBLEM_TEXT_MAX) {
                end = g_utf8_find_prev_char(line, line + PROBLEM_TEXT_MAX + 1);
                *end = '\0';
        }
        return line;
}

/* The log puts the address first by itself. */
static void say(const Problem *problem, int level, const char *before) {
        char address[PCI_ADDRESS_STRING_MAX];

        if (problem->of_function)
                log_full(level, &problem->address, LOG_ID_PROBLEM, "%s%s", before,
                         problem->text + strlen(pci_address_format(problem->address, address)) + 2);
        else
                log_full(level, NULL, LOG_ID_PROBLEM, "%s%s", before, problem->text);
}

static void report(Problems *problems, const char *key, const PciAddress *address, char *text) {
        g_autofree char *line = make_line(text);
        const Problem *known = g_tree_lookup(problems->all, key);
        Problem *problem;

        if (known && strcmp(known->text, line) == 0)
                return;
        if (!known && problems_count(problems) >= PROBLEMS_MAX) {
                if (!problems->more) {
                        log_warning("There are more problems than can be listed");
                        problems->more = true;
                        changed(problems);
                }
                return;
        }
        problem = g_new0(Problem, 1);
        problem->text = g_steal_pointer(&line);
        problem->of_function = address;
        if (address)
                problem->address = *address;
        say(problem, LOG_WARNING, "");
        g_tree_replace(problems->all, g_strdup(key), problem);
        changed(problems);
}

static void resolve(Problems *problems, const char *key) {
        const Problem *problem = g_tree_lookup(problems->all, key);

        if (!problem)
                return;
        say(problem, LOG_NOTICE, "No longer so: ");
        g_tree_remove(problems->all, key);
        problems->more = false; /* what had no room is reported again by the next attempt */
        changed(problems);
}

static char *function_key(PciAddress address, const char *fact) {
        char text[PCI_ADDRESS_STRING_MAX];

        return g_strconcat(pci_address_format(address, text), " ", fact, NULL);
}

void problems_report(Problems *problems, const char *key, const char *format, ...) {
        va_list arguments;
        char *text;

        va_start(arguments, format);
        text = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        report(problems, key, NULL, text);
}

void problems_resolve(Problems *problems, const char *key) {
        resolve(problems, key);
}

void problems_report_function(Problems *problems, PciAddress address, const char *fact,
                              const char *format, ...) {
        g_autofree char *key = function_key(address, fact), *text = NULL;
        char function[PCI_ADDRESS_STRING_MAX];
        va_list arguments;

        va_start(arguments, format);
        text = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        report(problems, key, &address,
               g_strconcat(pci_address_format(address, function), ": ", text, NULL));
}

void problems_resolve_function(Problems *problems, PciAddress address, const char *fact) {
        g_autofree char *key = function_key(address, fact);

        resolve(problems, key);
}

typedef struct Search {
        const char *prefix;
        GPtrArray *keys;
} Search;

static gboolean collect_key(gpointer key, gpointer value, gpointer data) {
        const Search *search = data;

        if (g_str_has_prefix(key, search->prefix))
                g_ptr_array_add(search->keys, g_strdup(key));
        return FALSE;
}

void problems_function_gone(Problems *problems, PciAddress address) {
        g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func(g_free);
        g_autofree char *prefix = function_key(address, "");
        Search search = { prefix, keys };

        g_tree_foreach(problems->all, collect_key, &search);
        for (guint i = 0; i < keys->len; i++)
                resolve(problems, keys->pdata[i]);
}

bool problems_has(const Problems *problems, const char *key) {
        return g_tree_lookup(problems->all, key);
}

unsigned problems_count(const Problems *problems) {
        return (unsigned) g_tree_nnodes(problems->all);
}

static gboolean collect_text(gpointer key, gpointer value, gpointer data) {
        g_ptr_array_add(data, g_strdup(((const Problem *) value)->text));
        return FALSE;
}

char **problems_list(const Problems *problems) {
        GPtrArray *texts = g_ptr_array_new();

        g_tree_foreach(problems->all, collect_text, texts);
        if (problems->more)
                g_ptr_array_add(texts, g_strdup("There are more problems than can be listed"));
        g_ptr_array_add(texts, NULL);
        return (char **) g_ptr_array_free(texts, FALSE);
}
