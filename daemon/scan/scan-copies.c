#include "daemon/scan/scan-copies.h"

#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Descriptors that are compared with each other: of one process, and of all. */
#define UNNAMED_OF_PROCESS 8
#define UNNAMED_MAX        4096

typedef struct Unnamed {
        pid_t pid;
        int number;
} Unnamed;

struct ScanCopies {
        GArray *unnamed;  /* of Unnamed */
        guint n_compared; /* of `unnamed`, in `files` */
        GPtrArray *files; /* of GArray of Unnamed: the same file, in kcmp's order */
};

static void file_free(gpointer file) {
        g_array_unref(file);
}

ScanCopies *scan_copies_new(void) {
        ScanCopies *copies = g_new0(ScanCopies, 1);

        copies->unnamed = g_array_new(FALSE, FALSE, sizeof(Unnamed));
        copies->files = g_ptr_array_new_with_free_func(file_free);
        return copies;
}

void scan_copies_free(ScanCopies *copies) {
        g_array_unref(copies->unnamed);
        g_ptr_array_unref(copies->files);
        g_free(copies);
}

void scan_copies_note(ScanCopies *copies, const ScanProcess *process) {
        uint32_t n = process->n_unnamed > 0 ? MIN(process->n_numbers, UNNAMED_OF_PROCESS) : 0;

        for (uint32_t i = 0; i < n && copies->unnamed->len < UNNAMED_MAX; i++)
                g_array_append_val(copies->unnamed,
                                   ((Unnamed){ process->pid, process->numbers[i] }));
}

/* kcmp(2) returns 0 for the same, 1 for less, 2 for greater; else it cannot tell, or the process
 * has ended. */
static long compare_files(ScanChild *child, const Unnamed *a, const Unnamed *b) {
        scan_child_at_both(child, a->pid, b->pid);
        return syscall(SYS_kcmp, a->pid, b->pid, KCMP_FILE, a->number, b->number);
}

bool scan_copies_step(ScanCopies *copies, ScanChild *child) {
        const Unnamed *one;
        guint low = 0, high = copies->files->len;
        GArray *file;

        if (copies->n_compared == copies->unnamed->len)
                return true;
        one = &g_array_index(copies->unnamed, Unnamed, copies->n_compared++);
        if (scan_child_avoids(child, one->pid) & SCAN_AVOID_COMPARING)
                return false;
        while (low < high) {
                guint middle = (low + high) / 2;
                long order;

                file = copies->files->pdata[middle];
                order = compare_files(child, one, &g_array_index(file, Unnamed, 0));
                if (order == 0) {
                        g_array_append_vals(file, one, 1);
                        return false;
                }
                if (order == 2)
                        low = middle + 1;
                else
                        high = middle;
        }
        file = g_array_new(FALSE, FALSE, sizeof(Unnamed));
        g_array_append_vals(file, one, 1);
        g_ptr_array_insert(copies->files, (gint) low, file);
        return false;
}

void scan_copies_tell(const ScanCopies *copies, ScanChild *child, const ScanJob *job) {
        g_autofree ScanAnswer *answer = g_new0(ScanAnswer, 1);

        answer->kind = SCAN_KIND_SAME;
        for (guint i = 0; i < copies->files->len; i++) {
                const GArray *file = copies->files->pdata[i];

                answer->same.n_pids = MIN(file->len, SCAN_SAME_MAX);
                for (uint32_t j = 0; j < answer->same.n_pids; j++)
                        answer->same.pids[j] = g_array_index(file, Unnamed, j).pid;
                if (answer->same.n_pids > 1)
                        scan_child_send(child, job, answer);
        }
}
