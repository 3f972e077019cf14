#include "cli/wait/waiting.h"

#include "cli/wait/waiters.h"

/* Of the status and of the cursor. */
#define LINES_BESIDES 2

/* A holder that was seen. */
typedef struct Waited {
        char *text; /* which tells it from others */
        bool delays;
        gint64 released; /* when it was seen no more, of g_get_monotonic_time(); 0: it holds */
} Waited;

static void waited_free(void *data) {
        Waited *waited = data;

        g_free(waited->text);
        g_free(waited);
}

void waiting_init(Waiting *waiting, Output *output, uint64_t timeout_usec) {
        *waiting = (Waiting){
                .seen = g_ptr_array_new_with_free_func(waited_free),
                .begun = g_get_monotonic_time(),
                .timeout_usec = timeout_usec,
        };
        redraw_init(&waiting->redraw, output);
}

void waiting_done(Waiting *waiting) {
        g_clear_pointer(&waiting->seen, g_ptr_array_unref);
}

static char *format_left(const Waiting *waiting, gint64 now) {
        gint64 left = waiting->begun + (gint64) waiting->timeout_usec - now;

        /* What has begun is given its time. */
        return left <= 0 ? g_strdup("it should end now")
                         : g_strdup_printf("%" G_GINT64_FORMAT " s left",
                                           (left + G_USEC_PER_SEC - 1) / G_USEC_PER_SEC);
}

static char *format_since_begin(const Waiting *waiting, gint64 now) {
        return g_strdup_printf("%" G_GINT64_FORMAT " s", (now - waiting->begun) / G_USEC_PER_SEC);
}

/* ": released after 3 s", or "" while it holds; the caller's. */
static char *format_end(const Waiting *waiting, const Waited *waited) {
        g_autofree char *after = format_since_begin(waiting, waited->released);

        if (waited->released == 0)
                return g_strdup("");
        return g_strdup_printf(": %s after %s", waited->delays ? "delays no more" : "released",
                               after);
}

/* At most `n` of them, those that were seen first. */
static void draw_holders(Waiting *waiting, guint n) {
        for (guint i = 0; i < MIN(n, waiting->seen->len); i++) {
                const Waited *waited = waiting->seen->pdata[i];
                g_autofree char *end = format_end(waiting, waited);

                redraw_line(&waiting->redraw, waited->released ? STYLE_GREEN : STYLE_PLAIN,
                            waited->text, end);
        }
}

/* How many holders are not drawn, and how many of these have released the function. */
static void draw_rest(Waiting *waiting, guint first) {
        g_autofree char *text = NULL;
        guint released = 0;

        for (guint i = first; i < waiting->seen->len; i++)
                released += ((const Waited *) waiting->seen->pdata[i])->released != 0;
        text = g_strdup_printf("  and %u more, %u of them released", waiting->seen->len - first,
                               released);
        redraw_line(&waiting->redraw, STYLE_PLAIN, text, "");
}

/* What is above the terminal's first line cannot be drawn again: there is room for the status, and
 * for the line below it, where the cursor is. */
static void draw(Waiting *waiting) {
        size_t lines = output_lines(waiting->redraw.output);
        guint room = lines > LINES_BESIDES ? (guint) lines - LINES_BESIDES : 1;
        bool all = waiting->seen->len <= room;
        gint64 now = g_get_monotonic_time();
        g_autofree char *left = format_left(waiting, now),
                        *since = format_since_begin(waiting, now);
        g_autofree char *status = g_strdup_printf("Waiting for %s, %s", since, left);

        redraw_erase(&waiting->redraw);
        draw_holders(waiting, all ? room : room - 1);
        if (!all)
                draw_rest(waiting, room - 1);
        redraw_line(&waiting->redraw, STYLE_BOLD, "", status);
}

static void print_change(Waiting *waiting, const Waited *waited) {
        g_autofree char *end = format_end(waiting, waited),
                        *left = format_left(waiting, g_get_monotonic_time()),
                        *whole = g_strdup_printf("%s%s%s", end, waiting->shown ? ", " : "",
                                                 waiting->shown ? left : "");

        if (!waiting->redraw.terminal)
                redraw_line(&waiting->redraw, STYLE_PLAIN, waited->text, whole);
}

static Waited *find_waited(const Waiting *waiting, const char *text) {
        for (guint i = 0; i < waiting->seen->len; i++) {
                Waited *waited = waiting->seen->pdata[i];

                if (g_str_equal(waited->text, text))
                        return waited;
        }
        return NULL;
}

/* A holder that is there now. */
static void note_holder(Waiting *waiting, JsonObject *holder, GHashTable *present) {
        g_autofree char *text = waiter_describe(holder);
        Waited *waited = find_waited(waiting, text);

        if (!waited) {
                waited = g_new0(Waited, 1);
                waited->text = g_steal_pointer(&text);
                waited->delays = waiter_delays(holder);
                g_ptr_array_add(waiting->seen, waited);
                print_change(waiting, waited);
        }
        g_hash_table_add(present, waited);
}

static void note_holders(Waiting *waiting, JsonArray *holders) {
        g_autoptr(GHashTable) present = g_hash_table_new(NULL, NULL);

        for (guint i = 0; i < json_array_get_length(holders); i++)
                note_holder(waiting, json_array_get_object_element(holders, i), present);
        for (guint i = 0; i < waiting->seen->len; i++) {
                Waited *waited = waiting->seen->pdata[i];
                bool holds = g_hash_table_contains(present, waited);

                if (holds == (waited->released == 0))
                        continue;
                waited->released = holds ? 0 : g_get_monotonic_time();
                print_change(waiting, waited);
        }
}

static void flush(Waiting *waiting) {
        if (waiting->redraw.terminal)
                draw(waiting);
        (void) output_flush(waiting->redraw.output); /* main() reports a write that failed */
}

void waiting_show(Waiting *waiting, JsonArray *holders) {
        note_holders(waiting, holders);
        waiting->shown = true;
        flush(waiting);
}

void waiting_update(Waiting *waiting, JsonArray *holders) {
        note_holders(waiting, holders);
        flush(waiting);
}

void waiting_pause(Waiting *waiting) {
        if (!waiting->shown)
                return;
        redraw_erase(&waiting->redraw);
        (void) output_flush(waiting->redraw.output);
}

void waiting_end(Waiting *waiting) {
        if (!waiting->shown)
                return;
        waiting->shown = false;
        if (!waiting->redraw.terminal)
                return;
        redraw_erase(&waiting->redraw);
        draw_holders(waiting, waiting->seen->len);
        redraw_keep(&waiting->redraw);
}
