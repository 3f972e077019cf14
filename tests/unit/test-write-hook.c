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

static void set_up(void) {
        directory = g_dir_make_tmp("write-hook-XXXXXX", NULL);
        cr_assert_geq(sd_event_new(&event), 0);
        n_attached = 0;
        failure = 0;
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
        WriteHook *hook = write_hook_new(event, directory, 1);

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
        WriteHook *hook = write_hook_new(event, directory, NEVER);

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
        hook = write_hook_new(event, directory, 1);
        cr_assert_eq(write_hook_set(hook, true), 0);
        cr_assert_eq(n_attached, 0);
        cr_assert_eq(write_hook_set(hook, false), 0);
        cr_assert_gt(sd_event_run(event, UINT64_MAX), 0);
        cr_assert_not(is_pinned());
        write_hook_free(hook);
}

Test(write_hook, a_kernel_that_refuses) {
        WriteHook *hook = write_hook_new(event, directory, 1);

        failure = -EPERM;
        cr_assert_eq(write_hook_set(hook, true), -EPERM);
        cr_assert_not(is_pinned());
        write_hook_free(hook);
}
