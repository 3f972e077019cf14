#include "daemon/usage/writers.h"

#include "daemon/base/wakeup.h"
#include "daemon/scan/scanner.h"

#include <errno.h>

struct Writers {
        Scanner *scanner;
        sd_event_source
                *end;     /* when all is known, or at the deadline: not from within the scanner */
        GPtrArray *found; /* of RemovalWriter*, owned */
        WritersFound *done;
        void *context;
        int result; /* of the search */
};

static void free_writer(gpointer writer) {
        removal_writer_free(writer);
}

static int writers_compare_pids(gconstpointer a, gconstpointer b) {
        uint32_t x = (*(const RemovalWriter *const *) a)->pid,
                 y = (*(const RemovalWriter *const *) b)->pid;

        return (x > y) - (x < y);
}

static int on_writers_end(sd_event_source *source, uint64_t usec, void *userdata) {
        const Writers *writers = userdata;

        g_ptr_array_sort(writers->found, writers_compare_pids);
        writers->done(writers->context, writers->found, writers->result);
        return 0;
}

static void on_writers_answer(void *context, const ScanRequest *request, const ScanAnswer *answer) {
        Writers *writers = context;
        RemovalWriter *writer;

        if (answer->kind == SCAN_KIND_DONE) {
                writers->result = answer->result;
                (void) sd_event_source_set_time(writers->end, 0);
                return;
        }
        if (answer->kind != SCAN_KIND_WRITER)
                return;
        writer = g_new0(RemovalWriter, 1);
        writer->pid = (uint32_t) answer->writer.pid;
        writer->path = g_strdup(answer->writer.path);
        writer->operation = external_removal_file_operation(writer->path);
        if ((int) writer->operation < 0)
                removal_writer_free(writer);
        else
                g_ptr_array_add(writers->found, writer);
}

static const ScannerHandler scanner_handler = { on_writers_answer, NULL };

int writers_find(sd_event *event, WritersFound *done, void *context, Writers **ret) {
        Writers *writers = g_new0(Writers, 1);
        ScanRequest request = { .task = SCAN_TASK_WRITERS };
        int r;

        writers->done = done;
        writers->result = -ETIMEDOUT;
        writers->context = context;
        writers->found = g_ptr_array_new_with_free_func(free_writer);
        r = scanner_new(event, "vfwarden-writer", NULL, &scanner_handler, writers,
                        &writers->scanner);
        if (r >= 0)
                r = wakeup_new_deadline(event, "writers: end of the search", WRITERS_USEC, 1,
                                        on_writers_end, writers, &writers->end);
        if (r < 0) {
                writers_free(writers);
                return r;
        }
        (void) scanner_ask(writers->scanner, &request, true);
        *ret = writers;
        return 0;
}

Writers *writers_free(Writers *writers) {
        if (!writers)
                return NULL;
        sd_event_source_disable_unref(writers->end);
        scanner_free(writers->scanner);
        g_ptr_array_unref(writers->found);
        g_free(writers);
        return NULL;
}
