#include "daemon/manager/parts/parts.h"

/* Who needs another part stands below it. Besides: operations and sessions are adopted before
 * device nodes are opened, for either may end the start; an unplug that goes on needs all that is
 * attached above it, and hears of a function's end before its users seem to have left. */
const Part *const parts_table[] = {
        &descriptors_part,  &kernel_guard_part,      &protected_files_part, &function_marks_part,
        &inhibitors_part,   &operations_part,        &users_part,           &uses_part,
        &spawner_part,      &sessions_part,          &vf_tokens_part,       &leases_part,
        &config_space_part, &msi_source_part,        &lost_overrides_part,  &slot_table_part,
        &device_nodes_part, &external_removals_part, &unplugs_part,         NULL,
};

struct Parts {
        const Part *const *table; /* borrowed */
        unsigned n, n_made;
        void **selves;                 /* n_made of them, as in the table */
        const StateSection **sections; /* ending with NULL */
};

Parts *parts_new(const Part *const *table) {
        Parts *parts = g_new0(Parts, 1);
        unsigned n_sections = 0;

        parts->table = table;
        while (table[parts->n])
                parts->n++;
        parts->selves = g_new0(void *, parts->n);
        parts->sections = g_new0(const StateSection *, parts->n + 1);
        for (unsigned i = 0; i < parts->n; i++)
                if (table[i]->section) {
                        g_assert(table[i]->record && !table[i]->adopt == !!table[i]->adopt_known);
                        parts->sections[n_sections++] = table[i]->section;
                }
        return parts;
}

Parts *parts_free(Parts *parts) {
        if (!parts)
                return NULL;
        while (parts->n_made > 0) {
                parts->n_made--;
                if (parts->table[parts->n_made]->free)
                        parts->table[parts->n_made]->free(parts->selves[parts->n_made]);
        }
        g_free(parts->selves);
        g_free(parts->sections);
        g_free(parts);
        return NULL;
}

int parts_make(Parts *parts, const PartContext *context) {
        g_assert(parts->n_made == 0);
        for (unsigned i = 0; i < parts->n; i++) {
                int r = parts->table[i]->new (context, &parts->selves[i]);

                if (r < 0)
                        return r;
                parts->n_made++;
        }
        return 0;
}

void *parts_find(const Parts *parts, const Part *part) {
        for (unsigned i = 0; i < parts->n_made; i++)
                if (parts->table[i] == part)
                        return parts->selves[i];
        return NULL;
}

const StateSection *const *parts_sections(const Parts *parts) {
        return parts->sections;
}

int parts_adopt(Parts *parts, const State *state) {
        for (unsigned i = 0; i < parts->n_made; i++) {
                const Part *part = parts->table[i];
                int r = 0;

                if (part->adopt)
                        r = part->adopt(parts->selves[i], state_records(state, part->section));
                if (r < 0)
                        return r;
        }
        return 0;
}

void parts_adopt_known(Parts *parts, const State *state) {
        for (unsigned i = 0; i < parts->n_made; i++) {
                const Part *part = parts->table[i];

                if (part->adopt_known)
                        part->adopt_known(parts->selves[i], state_records(state, part->section));
        }
}

void parts_record(Parts *parts, State *state) {
        for (unsigned i = 0; i < parts->n_made; i++) {
                const Part *part = parts->table[i];

                if (part->section)
                        part->record(parts->selves[i], state_records(state, part->section));
        }
}

void parts_attach(Parts *parts, Function *function) {
        for (unsigned i = 0; i < parts->n_made; i++)
                if (parts->table[i]->attach)
                        parts->table[i]->attach(parts->selves[i], function);
}

void parts_tell_blockers(const PartContext *context, Function *function) {
        context->host->tell(context->host_context, function, PART_NEWS_BLOCKERS);
        if (function->pf)
                context->host->tell(context->host_context, function->pf, PART_NEWS_BLOCKERS);
}

int parts_function_changed(Parts *parts, Function *function, unsigned news,
                           const char **ret_reads) {
        int result = 0;

        for (unsigned i = 0; i < parts->n_made; i++) {
                const Part *part = parts->table[i];
                int r = part->hears & news
                                ? part->function_changed(parts->selves[i], function, news)
                                : 0;

                g_assert(r >= 0 || part->reads);
                if (r >= 0 || result < 0)
                        continue;
                *ret_reads = part->reads;
                result = r;
        }
        return result;
}

void parts_function_gone(Parts *parts, Function *function) {
        for (unsigned i = parts->n_made; i > 0; i--)
                if (parts->table[i - 1]->function_gone)
                        parts->table[i - 1]->function_gone(parts->selves[i - 1], function);
}

PartCheck parts_wants_check(const Parts *parts) {
        PartCheck most = PART_CHECK_NEVER;

        for (unsigned i = 0; i < parts->n_made; i++)
                if (parts->table[i]->wants_check)
                        most = MAX(most, parts->table[i]->wants_check(parts->selves[i]));
        return most;
}

void parts_check(Parts *parts) {
        for (unsigned i = 0; i < parts->n_made; i++)
                if (parts->table[i]->check)
                        parts->table[i]->check(parts->selves[i]);
}

void parts_end_calls(Parts *parts, const char *why) {
        for (unsigned i = 0; i < parts->n_made; i++)
                if (parts->table[i]->end_calls)
                        parts->table[i]->end_calls(parts->selves[i], why);
}
