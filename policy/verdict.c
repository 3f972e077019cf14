#include "policy/verdict.h"

#include "policy/private-text.h"

#include <stdarg.h>

static const struct {
        const char *word;
        enum {
                REFUSED,
                ASKS
        } unplug;
        const char *text;
} blocker_kinds[_BLOCKER_KIND_MAX] = {
#define BLOCKER_ROW(kind, word, unplug, text) [BLOCKER_##kind] = { #word, unplug, text },
        BLOCKER_KINDS(BLOCKER_ROW)
#undef BLOCKER_ROW
};

const char *blocker_kind_to_string(BlockerKind kind) {
        return blocker_kinds[kind].word;
}

const char *blocker_kind_text(BlockerKind kind) {
        return blocker_kinds[kind].text;
}

bool blocker_kind_is_asked(BlockerKind kind) {
        return blocker_kinds[kind].unplug == ASKS;
}

static void blocker_free(gpointer data) {
        Blocker *blocker = data;

        g_free(blocker->subject);
        g_free(blocker->reason);
        g_free(blocker);
}

Verdict *verdict_new(void) {
        Verdict *verdict = g_new(Verdict, 1);

        verdict->blockers = g_ptr_array_new_with_free_func(blocker_free);
        verdict->warnings = g_ptr_array_new_with_free_func(g_free);
        return verdict;
}

Verdict *verdict_free(Verdict *verdict) {
        if (!verdict)
                return NULL;
        g_ptr_array_unref(verdict->blockers);
        g_ptr_array_unref(verdict->warnings);
        g_free(verdict);
        return NULL;
}

void verdict_block(Verdict *verdict, BlockerKind kind, const char *subject, uint32_t pid,
                   const char *format, ...) {
        Blocker *blocker = g_new(Blocker, 1);
        va_list arguments;

        va_start(arguments, format);
        *blocker = (Blocker){ kind, g_strdup(subject), g_strdup_vprintf(format, arguments), pid };
        va_end(arguments);
        g_ptr_array_add(verdict->blockers, blocker);
}

void verdict_warn(Verdict *verdict, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        g_ptr_array_add(verdict->warnings, g_strdup_vprintf(format, arguments));
        va_end(arguments);
}

bool verdict_allowed(const Verdict *verdict) {
        return verdict->blockers->len == 0;
}

bool verdict_unsupported(const Verdict *verdict) {
        for (guint i = 0; i < verdict->blockers->len; i++)
                if (((const Blocker *) verdict->blockers->pdata[i])->kind != BLOCKER_UNSUPPORTED)
                        return false;
        return verdict->blockers->len > 0;
}

char *verdict_message(const Verdict *verdict) {
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; i < verdict->blockers->len; i++) {
                const Blocker *blocker = verdict->blockers->pdata[i];

                g_string_append_printf(text, "%s%s: %s", i > 0 ? "; " : "", blocker->subject,
                                       blocker->reason);
        }
        return g_string_free(g_steal_pointer(&text), FALSE);
}

char *verdict_text(const Verdict *verdict) {
        g_autofree char *message = verdict_message(verdict);

        return private_text_for(message, true);
}
