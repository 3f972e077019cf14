/* The calls of bpf(2) are the test's: a pin is a file, and a link is a descriptor. */
#include "daemon/guard/bpf-pin.h"
#include "daemon/guard/write-hook.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <unistd.h>

/* Long enough for a call to come in between, and never waited for. */
#define NEVER (3600 * 1000 * 1000ULL)

static char *directory;
static sd_event *event;
static unsigned n_attached;
static int failure; /* of attaching; 0: it does not fail */
static unsigned n_retried;
static int retried; /* the last result */

int bpf_open_pin(const char *path) {
        cr_assert_str_eq(strrchr(path, '/'), "/write-program");
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int bpf_attach_program(int program) {
        if (failure)
                return failure;
        n_attached++;
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int bpf_pin(int fd, const char *path) {
        return g_file_set_contents(path, "", 0, NULL) ? 0 : -EIO;
}

static bool is_pinned(void) {
        g_autofree char *path = g_build_filename(directory, "write", NULL);

        return access(path, F_OK) == 0;
}

static void on_retried(void *context, int r) {
        cr_assert_eq(context, directory);
        n_retried++;
        retried = r;
}

static WriteHook *new_hook(uint64_t rest_usec) {
        return write_hook_new(event, directory, rest_usec, on_retried, directory);
}

static void set_up(void) {
        directory = g_dir_make_tmp("write-hook-XXXXXX", NULL);
        cr_assert_geq(sd_event_new(&event), 0);
        n_attached = 0;
        failure = 0;
        n_retried = 0;
        retried = 0;
}

static void tear_down(void) {
        g_autofree char *path = g_build_filename(directory, "write", NULL);

        (void) unlink(path);
        (void) g_rmdir(directory);
        g_free(directory);
        sd_event_unref(event);
}

TestSuite(write_hook, .init = set_up, .fini = tear_down);

Test(write_hook, attached_at_once_and_detached_after_its_rest) {
        WriteHook *hook = new_hook(1);

        cr_assert_eq(write_hook_set(hook, false), 0);
        cr_assert_not(is_pinned());
        cr_assert_eq(write_hook_set(hook, true), 0);
        cr_assert(is_pinned());
        cr_assert_eq(write_hook_set(hook, true), 0);
        cr_assert_eq(n_attached, 1);
        cr_assert_eq(write_hook_set(hook, false), 0);
        cr_assert_gt(sd_event_run(event, UINT64_MAX), 0);
        cr_assert_not(is_pinned());
        cr_assert_eq(write_hook_set(hook, true), 0);
        cr_assert(is_pinned());
        cr_assert_eq(n_attached, 2);
        write_hook_free(hook);
        cr_assert(is_pinned(), "it stays in force");
}

Test(write_hook, needed_again_within_its_rest) {
        WriteHook *hook = new_hook(NEVER);

        for (int i = 0; i < 3; i++) {
                cr_assert_eq(write_hook_set(hook, true), 0);
                cr_assert_eq(write_hook_set(hook, false), 0);
                cr_assert_eq(sd_event_run(event, 0), 0);
                cr_assert(is_pinned());
        }
        cr_assert_eq(n_attached, 1);
        write_hook_free(hook);
}

Test(write_hook, attached_by_an_earlier_run) {
        g_autofree char *path = g_build_filename(directory, "write", NULL);
        WriteHook *hook;

        cr_assert_eq(bpf_pin(-1, path), 0);
        hook = new_hook(1);
        cr_assert_eq(write_hook_set(hook, true), 0);
        cr_assert_eq(n_attached, 0);
        cr_assert_eq(write_hook_set(hook, false), 0);
        cr_assert_gt(sd_event_run(event, UINT64_MAX), 0);
        cr_assert_not(is_pinned());
        write_hook_free(hook);
}

Test(write_hook, a_kernel_that_refuses) {
        WriteHook *hook = new_hook(1);

        failure = -EPERM;
        cr_assert_eq(write_hook_set(hook, true), -EPERM);
        cr_assert_not(write_hook_retries(-EPERM));
        cr_assert_not(is_pinned());
        cr_assert_eq(sd_event_run(event, 2 * WRITE_HOOK_RETRY_USEC), 0);
        write_hook_free(hook);
}

/* The link that is gone is still attached, or there are no descriptors, or no memory. */
Test(write_hook, tried_again_until_it_is_attached) {
        const int failures[] = { -EBUSY, -EMFILE, -ENFILE, -ENOMEM };
        WriteHook *hook = new_hook(NEVER);

        for (unsigned i = 0; i < G_N_ELEMENTS(failures); i++) {
                failure = failures[i];
                cr_assert(write_hook_retries(failure));
                if (i == 0)
                        cr_assert_eq(write_hook_set(hook, true), failure);
                else
                        cr_assert_gt(sd_event_run(event, UINT64_MAX), 0);
                cr_assert_eq(n_retried, i);
                cr_assert_eq(retried, i == 0 ? 0 : failure);
                cr_assert_not(is_pinned());
        }
        failure = 0;
        cr_assert_gt(sd_event_run(event, UINT64_MAX), 0);
        cr_assert_eq(n_retried, G_N_ELEMENTS(failures));
        cr_assert_eq(retried, 0);
        cr_assert(is_pinned());
        cr_assert_eq(sd_event_run(event, 2 * WRITE_HOOK_RETRY_USEC), 0, "it rests");
        write_hook_free(hook);
}

Test(write_hook, not_tried_again_when_it_is_not_needed) {
        WriteHook *hook = new_hook(NEVER);

        failure = -EBUSY;
        cr_assert_eq(write_hook_set(hook, true), -EBUSY);
        cr_assert_eq(write_hook_set(hook, false), 0);
        cr_assert_eq(sd_event_run(event, 2 * WRITE_HOOK_RETRY_USEC), 0);
        cr_assert_eq(n_retried, 0);
        write_hook_free(hook);
}

/* A directory in the place of the pin cannot be unlinked. */
Test(write_hook, still_attached_where_its_pin_stays) {
        g_autofree char *path = g_build_filename(directory, "write", NULL);
        WriteHook *hook;

        cr_assert_eq(g_mkdir(path, 0700), 0);
        hook = new_hook(1);
        cr_assert_eq(write_hook_set(hook, false), 0);
        cr_assert_gt(sd_event_run(event, UINT64_MAX), 0);
        cr_assert_eq(write_hook_set(hook, true), 0);
        cr_assert_eq(n_attached, 0);
        cr_assert_eq(g_rmdir(path), 0);
        write_hook_free(hook);
}
