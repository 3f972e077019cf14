/* The calls of bpf(2) are the test's: a map is one list of keys, whichever map it is, and the ring
 * has no records but those that the test hands over. */
#include "daemon/guard/bpf-pin.h"
#include "daemon/guard/bpf-ring.h"
#include "daemon/guard/kernel-guard.h"
#include "policy/lock.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#define DEADLINE_USEC (10 * 1000 * 1000ULL)

static const KernelGuardConfig config = { .mode = KERNEL_GUARD_MODE_REFUSE, .enforce = true };

static char *directory;
static sd_event *event;
static Problems *problems;
static Watch *watch;
static KernelGuards *guards;
static GHashTable *keys;              /* of the entries, as text where they are one */
static int open_failure, set_failure; /* 0: it does not fail */
static int ring_failure;
static unsigned n_loaded;
static uint64_t n_lost;
static BpfRingHandler *ring_handler;
static void *ring_context;
static char *unit; /* of the last deed's author */

int bpf_open_pin(const char *path) {
        return open_failure ? open_failure : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int bpf_attach_program(int program) {
        return -EPERM;
}

int bpf_pin(int fd, const char *path) {
        return -EPERM;
}

int bpf_map_set(int map, const void *key, const void *value) {
        if (set_failure)
                return set_failure;
        g_hash_table_add(keys, g_strndup(key, 15));
        return 0;
}

int bpf_map_remove(int map, const void *key) {
        g_autofree char *text = g_strndup(key, 15);

        if (set_failure)
                return set_failure;
        return g_hash_table_remove(keys, text) ? 0 : -ENOENT;
}

int bpf_map_get(int map, const void *key, void *ret_value) {
        memcpy(ret_value, &n_lost, sizeof(n_lost));
        return 0;
}

int bpf_map_next_key(int map, const void *key, void *ret_key) {
        return -ENOENT;
}

int bpf_ring_new(sd_event *loop, int *map, size_t size, BpfRingHandler *handler, void *context,
                 BpfRing **ret) {
        if (ring_failure)
                return ring_failure;
        ring_handler = handler;
        ring_context = context;
        *ret = NULL;
        return 0;
}

void bpf_ring_read(BpfRing *ring) {
}

BpfRing *bpf_ring_free(BpfRing *ring) {
        return NULL;
}

/* So are those of libsystemd. */
int sd_pid_get_unit(pid_t pid, char **ret) {
        *ret = strdup("web.service");
        return 0;
}

int sd_pid_get_cgroup(pid_t pid, char **ret) {
        g_autofree char *path = g_strconcat("/../../..", directory, NULL);

        *ret = strdup(path);
        return 0;
}

static void on_changed(void *context) {
}

static void on_deed(void *context, const KernelGuardDeed *deed) {
        g_free(unit);
        unit = g_strdup(deed->author.unit);
}

static void on_loaded(void *context) {
        n_loaded++;
}

static void say(const char *text) {
        g_autofree char *path = g_build_filename(directory, KERNEL_GUARD_STATUS, NULL);

        cr_assert(g_file_set_contents(path, text, -1, NULL));
}

static void start(void) {
        static const KernelGuardHandler handler = { .changed = on_changed,
                                                    .deed = on_deed,
                                                    .loaded = on_loaded };

        guards = kernel_guards_new(event, watch, problems, directory, &handler, NULL);
        kernel_guards_set_config(guards, &config);
}

static void set_up(void) {
        directory = g_dir_make_tmp("guard-maps-XXXXXX", NULL);
        cr_assert_geq(sd_event_new(&event), 0);
        cr_assert_geq(problems_new(event, on_changed, NULL, &problems), 0);
        cr_assert_geq(watch_new(event, on_changed, NULL, &watch), 0);
        keys = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        say("unbind loaded lsm\n");
}

static void tear_down(void) {
        g_autofree char *path = g_build_filename(directory, KERNEL_GUARD_STATUS, NULL);

        kernel_guards_free(guards);
        watch_free(watch);
        problems_free(problems);
        g_hash_table_unref(keys);
        g_free(unit);
        (void) g_unlink(path);
        (void) g_rmdir(directory);
        g_free(directory);
        sd_event_unref(event);
}

TestSuite(guard_maps, .init = set_up, .fini = tear_down);

/* Runs the loop until the first guard's line begins with `line`. */
static void wait_line(const char *line) {
        uint64_t end = (uint64_t) g_get_monotonic_time() + DEADLINE_USEC;

        for (;;) {
                g_auto(GStrv) lines = kernel_guards_list(guards);
                uint64_t now = (uint64_t) g_get_monotonic_time();

                if (g_str_has_prefix(lines[0], line))
                        return;
                cr_assert_lt(now, end, "%s", lines[0]);
                cr_assert_geq(sd_event_run(event, end - now), 0);
        }
}

static void wait_no_problem(void) {
        uint64_t end = (uint64_t) g_get_monotonic_time() + DEADLINE_USEC;

        while (problems_count(problems) > 0) {
                uint64_t now = (uint64_t) g_get_monotonic_time();

                cr_assert_lt(now, end);
                cr_assert_geq(sd_event_run(event, end - now), 0);
        }
}

static void assert_problem(const char *text) {
        g_auto(GStrv) texts = problems_list(problems);

        cr_assert_eq(g_strv_length(texts), 1);
        cr_assert_str_eq(texts[0], text);
}

static Function *used_function(Inventory *inventory) {
        FunctionFacts facts = facts_plain("0000:05:00.0");
        Function *function = apply(inventory, facts);

        function->lock_reasons = LOCK_REASON_IN_USE;
        return function;
}

/* Its own chmod(2) would be refused as long as it does not know the maps. */
Test(guard_maps, opened_once_there_are_descriptors) {
        open_failure = -EMFILE;
        start();
        wait_line("unbind: not guarded: Failed to open its maps: Too many open files");
        cr_assert_eq(g_hash_table_size(keys), 0);
        open_failure = 0;
        wait_line("unbind: refused (lsm)");
        cr_assert_gt(g_hash_table_size(keys), 0, "it is exempt");
        cr_assert_eq(n_loaded, 1, "and so are its processes");
}

Test(guard_maps, opened_once_there_is_memory) {
        ring_failure = -ENOMEM;
        start();
        wait_line("unbind: not guarded: Failed to open its maps: Cannot allocate memory");
        ring_failure = 0;
        wait_line("unbind: refused (lsm)");
}

Test(guard_maps, written_once_there_is_memory) {
        g_autoptr(Inventory) inventory = inventory_new();
        const Function *function = used_function(inventory);

        start();
        set_failure = -ENOMEM;
        kernel_guards_plan(guards, function);
        assert_problem("Failed to tell the kernel guard what is guarded: Cannot allocate memory");
        cr_assert_not(g_hash_table_contains(keys, "0000:05:00.0"));
        set_failure = 0;
        wait_no_problem();
        cr_assert(g_hash_table_contains(keys, "0000:05:00.0"));
}

Test(guard_maps, settings_are_written_once_there_is_memory) {
        KernelGuardConfig other = { .mode = KERNEL_GUARD_MODE_TELL, .enforce = true };

        start();
        set_failure = -ENOMEM;
        kernel_guards_set_config(guards, &other);
        assert_problem("Failed to tell the kernel guard whether to refuse: Cannot allocate memory");
        set_failure = 0;
        wait_no_problem();
}

/* Of a file of its own, so that none is only counted. */
static void report(uint64_t cgroup) {
        static unsigned long long inode = 1000;
        GuardEvent reported = { .kind = GUARD_EVENT_CHMOD,
                                .pid = (unsigned) getpid(),
                                .inode = inode++,
                                .cgroup = cgroup };

        g_clear_pointer(&unit, g_free);
        ring_handler(ring_context, &reported, sizeof(reported));
}

/* Those of an earlier run are none of this one. */
Test(guard_maps, each_loss_is_said_once) {
        n_lost = 5;
        start();
        cr_redirect_stderr();
        report(0);
        n_lost = 7;
        report(0);
        report(0);
        (void) fflush(stderr);
        cr_assert_stderr_eq_str("vfwardend: warning: 2 reports of the kernel guard were lost: too "
                                "many at a time\n");
}

/* The process has ended, and another has got its number. */
Test(guard_maps, the_unit_of_another_process_is_not_named) {
        struct stat st;

        cr_assert_eq(stat(directory, &st), 0);
        start();
        report(st.st_ino);
        cr_assert_str_eq(unit, "web.service");
        report(st.st_ino + 1);
        cr_assert_str_eq(unit, "");
        report(0);
        cr_assert_str_eq(unit, "web.service", "it is not known where it was");
}
