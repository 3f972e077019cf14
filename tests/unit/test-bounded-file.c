#include "daemon/base/files/bounded-file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

static char *directory, *path;

static void set_up(void) {
        directory = g_dir_make_tmp("vfwarden-file-XXXXXX", NULL);
        path = g_build_filename(directory, "file", NULL);
}

static void tear_down(void) {
        g_autofree char *command = g_strdup_printf("rm -r '%s'", directory);

        cr_assert(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
        g_free(directory);
        g_free(path);
}

/* An open that blocks ends the test by its time. */
TestSuite(bounded_file, .init = set_up, .fini = tear_down, .timeout = 30);

static int attempt(unsigned flags) {
        g_autofree char *content = NULL;
        size_t length;

        return bounded_file_read(path, 10, flags, &content, &length);
}

Test(bounded_file, content) {
        static const struct {
                const char *content;
                gssize length;
        } files[] = { { "", 0 }, { "0123456789", 10 }, { "a\0b", 3 } };

        for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
                g_autofree char *content = NULL;
                size_t length;

                cr_assert(g_file_set_contents(path, files[i].content, files[i].length, NULL));
                cr_assert_eq(bounded_file_read(path, 10, 0, &content, &length), 0);
                cr_assert_eq(length, (size_t) files[i].length);
                cr_assert_arr_eq(content, files[i].content, length);
                cr_assert_eq(content[length], '\0');
        }
}

Test(bounded_file, too_large) {
        cr_assert(g_file_set_contents(path, "0123456789a", -1, NULL));
        cr_assert_eq(attempt(0), -EFBIG);
        cr_assert_eq(truncate(path, 1LL << 40), 0);
        cr_assert_eq(attempt(0), -EFBIG);
        /* A file that says that it is empty. */
        cr_assert_eq(unlink(path), 0);
        cr_assert_eq(symlink("/proc/self/status", path), 0);
        cr_assert_eq(attempt(0), -EFBIG);
}

Test(bounded_file, no_file) {
        cr_assert_eq(attempt(0), -ENOENT);
        cr_assert_eq(mkfifo(path, 0600), 0);
        cr_assert_eq(attempt(0), -EBADF);
        cr_assert_eq(unlink(path), 0);
        cr_assert_eq(mkdir(path, 0700), 0);
        cr_assert_eq(attempt(0), -EISDIR);
}

Test(bounded_file, links) {
        static const struct {
                const char *target;
                unsigned flags;
                int result;
        } links[] = {
                { "nowhere", 0, -ENOLINK },
                { "nowhere", BOUNDED_FILE_NO_LINK, -EBADF },
                { "file", 0, -ELOOP },
                { "other", 0, 0 },
                { "other", BOUNDED_FILE_NO_LINK, -EBADF },
                { "/dev/zero", 0, -EBADF },
                { "/dev/zero", BOUNDED_FILE_MASKABLE, -EBADF },
                { "/dev/null", 0, -EBADF },
                { "/dev/null", BOUNDED_FILE_MASKABLE, 0 },
        };
        g_autofree char *other = g_build_filename(directory, "other", NULL);

        cr_assert(g_file_set_contents(other, "text", -1, NULL));
        for (size_t i = 0; i < G_N_ELEMENTS(links); i++) {
                cr_assert_eq(symlink(links[i].target, path), 0);
                cr_assert_eq(attempt(links[i].flags), links[i].result, "%s: %d", links[i].target,
                             attempt(links[i].flags));
                cr_assert_eq(unlink(path), 0);
        }
}
