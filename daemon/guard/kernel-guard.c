#include "daemon/guard/kernel-guard.h"

#include "daemon/base/files/bounded-file.h"
#include "daemon/base/log.h"
#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "daemon/guard/guarded-set.h"
#include "daemon/guard/kernel-maps.h"
#include "daemon/guard/write-hook.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"
#include "policy/lock.h"

#include <inttypes.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define STATUS_SIZE_MAX (64 * 1024)

/* What failed is tried again after this time, doubled each time up to the second. */
#define AGAIN_USEC     (1000 * 1000ULL)
#define AGAIN_MAX_USEC (30 * 1000 * 1000ULL)

/* The key of the problem that the settings could not be written. */
#define SETTINGS_PROBLEM "kernel-guard-settings"

struct KernelGuards {
        sd_event *event;
        Watch *watch;
        Problems *problems;
        char *directory;
        const KernelGuardHandler *handler;
        void *context;
        KernelGuardConfig config;
        bool adopting, config_known;
        int watched;
        GuardedSet *set;
        bool unread;            /* what is loaded could not be found out */
        bool unwritten;         /* the settings could not be written */
        sd_event_source *again; /* for these two, and for a set that is behind */
        uint64_t again_usec;
        KernelGuardReport reports[_KERNEL_GUARD_MAX];
        char *why;        /* with no report: why vfwarden-guard has loaded nothing */
        char **told;      /* what kernel_guards_list() said last */
        KernelMaps *maps; /* NULL while nothing is loaded */
        BpfRing *ring;
        WriteHook *write_hook;
        char *write_error;   /* why its program is not attached though needed, NULL: it is */
        uint64_t lost;       /* reports, since the programs were loaded */
        GHashTable *tallies; /* inode of a file, 0: none, -> ViolationTally*, both owned */
};

static bool is_active(const KernelGuards *guards) {
        return guards->maps && guards->config.mode != KERNEL_GUARD_MODE_OFF;
}

static void write_settings(KernelGuards *guards) {
        GuardSettings settings = {
                .refuse = kernel_guard_refuses(&guards->config, KERNEL_GUARD_UNBIND),
                .refuse_network = kernel_guard_refuses(&guards->config, KERNEL_GUARD_NETWORK),
        };
        int r = 0;

        if (guards->maps && guards->config_known)
                r = kernel_maps_set_settings(guards->maps, &settings);
        guards->unwritten = r < 0;
        if (r < 0)
                problems_report(guards->problems, SETTINGS_PROBLEM,
                                "Failed to tell the kernel guard whether to refuse: %s",
                                g_strerror(-r));
        else
                problems_resolve(guards->problems, SETTINGS_PROBLEM);
}

/* --- what is loaded */

static void forget_reports(KernelGuards *guards, const char *why) {
        for (KernelGuard guard = 0; guard < _KERNEL_GUARD_MAX; guard++) {
                g_free(guards->reports[guard].text);
                guards->reports[guard] = (KernelGuardReport){ 0 };
        }
        g_free(guards->why);
        guards->why = g_strdup(why);
}

static int read_reports(KernelGuards *guards) {
        g_autofree char *path = g_build_filename(guards->directory, KERNEL_GUARD_STATUS, NULL);
        g_autofree char *text = NULL;
        g_auto(GStrv) lines = NULL;
        size_t length;
        int r;

        r = bounded_file_read(path, STATUS_SIZE_MAX, 0, &text, &length);
        if (r < 0) {
                forget_reports(guards, r == -ENOENT ? "vfwarden-guard.service is not active"
                                                    : bounded_file_error(r));
                return r;
        }
        forget_reports(guards, "vfwarden-guard does not know it");
        lines = g_strsplit(text, "\n", -1);
        for (char **line = lines; *line; line++) {
                KernelGuardReport report;
                KernelGuard guard;

                if (kernel_guard_parse_line(*line, &guard, &report) < 0)
                        continue;
                g_free(guards->reports[guard].text);
                guards->reports[guard] = report;
        }
        return 0;
}

static void guards_tell_change(KernelGuards *guards) {
        g_auto(GStrv) now = kernel_guards_list(guards);
        bool same = guards->told &&
                    g_strv_equal((const char *const *) guards->told, (const char *const *) now);

        g_strfreev(guards->told);
        guards->told = g_steal_pointer(&now);
        if (!same)
                guards->handler->changed(guards->context);
}

/* The program that sees writes was to be attached, or detached. */
static void on_write_hook_set(void *context, int r) {
        KernelGuards *guards = context;
        bool retries = write_hook_retries(r);
        g_autofree char *before = g_steal_pointer(&guards->write_error);

        if (r < 0)
                guards->write_error = g_strdup_printf("Failed to attach its program%s: %s",
                                                      retries ? " for now" : "", g_strerror(-r));
        if (r < 0 && !retries)
                guards->write_hook = write_hook_free(guards->write_hook);
        if (g_strcmp0(before, guards->write_error) != 0)
                guards_tell_change(guards);
}

/* The program is attached while it has something to look for. Until the daemon has planned for all
 * functions, that of an earlier run stays. */
static void plan_write_hook(KernelGuards *guards) {
        bool needed = is_active(guards) && guarded_set_has_files(guards->set);

        if (!guards->write_hook || (guards->adopting && !needed))
                return;
        on_write_hook_set(guards, write_hook_set(guards->write_hook, needed));
}

/* Lets what has failed be tried again, after anything that may have. */
static void plan_again(KernelGuards *guards) {
        if (!guards->unread && !guards->unwritten && !guarded_set_is_behind(guards->set))
                guards->again_usec = 0;
        else
                wakeup_within(guards->again, MAX(guards->again_usec, AGAIN_USEC));
}

static void keep_up(KernelGuards *guards) {
        plan_write_hook(guards);
        plan_again(guards);
}

static bool any_loaded(const KernelGuards *guards) {
        for (KernelGuard guard = 0; guard < _KERNEL_GUARD_MAX; guard++)
                if (guards->reports[guard].loaded)
                        return true;
        return false;
}

static uint64_t guard_now_usec(void) {
        return (uint64_t) g_get_monotonic_time();
}

/* Who tries in a loop must not fill the journal; see violation.h. What is counted at the end of a
 * loop is reported with the next one. The numbers of inodes are larger than those of kinds. */
static bool take_deed(KernelGuards *guards, const GuardEvent *event, unsigned *ret_more) {
        uint64_t what = event->inode != 0 ? event->inode : event->kind, now = guard_now_usec();
        ViolationTally *tally = g_hash_table_lookup(guards->tallies, &what);

        if (!tally) {
                uint64_t *key = g_memdup2(&what, sizeof(what));

                tally = g_new0(ViolationTally, 1);
                g_hash_table_insert(guards->tallies, key, tally);
        }
        *ret_more = 0;
        if (now >= violation_tally_end_usec(tally)) {
                *ret_more = violation_tally_end(tally, now);
                *tally = (ViolationTally){ 0 };
        }
        return violation_tally_take(tally, now);
}

static void note_lost(KernelGuards *guards) {
        uint64_t lost = kernel_maps_lost(guards->maps);

        if (lost <= guards->lost)
                return;
        log_warning("%" PRIu64 " reports of the kernel guard were lost: too many at a time",
                    lost - guards->lost);
        guards->lost = lost;
}

static bool is_of_interest(const KernelGuards *guards, const GuardEvent *event) {
        if (kernel_guard_is_off(&guards->config, kernel_guard_of_event(event->kind)))
                return false;
        return event->kind != GUARD_EVENT_PORTS || guarded_set_size(guards->set) > 0;
}

/* The unit is read now, for the process can end at any moment. It may have long ago, where no
 * daemon ran. */
static void on_event(void *context, const void *data, size_t size) {
        KernelGuards *guards = context;
        KernelGuardDeed deed = { .event = data };
        g_autofree char *unit = NULL;
        bool at_once;

        if (size < sizeof(*deed.event) || !is_of_interest(guards, deed.event))
                return;
        note_lost(guards);
        /* Who takes a driver away is reported with the removal, if that waits for a user. */
        at_once = deed.event->kind != GUARD_EVENT_RELEASE &&
                  take_deed(guards, deed.event, &deed.more);
        if (!at_once && deed.event->refused)
                return;
        unit = process_find_unit((pid_t) deed.event->pid, deed.event->cgroup);
        deed.author = kernel_guard_author(deed.event, unit);
        if (!deed.event->refused)
                guarded_set_note_author(guards->set, deed.event, &deed.author, guard_now_usec());
        deed.path = guarded_set_find(guards->set, deed.event, &deed.key, &deed.has_key);
        if (at_once)
                guards->handler->deed(guards->context, &deed);
}

/* Without the daemon's own exemption its own chmod(2) would be refused. */
static int open_maps(KernelGuards *guards) {
        int r = kernel_maps_open(KERNEL_GUARD_PINS, &guards->maps);

        if (r >= 0)
                r = kernel_maps_exempt(guards->maps, getpid());
        if (r >= 0)
                r = kernel_maps_read_events(KERNEL_GUARD_PINS, guards->event, on_event, guards,
                                            &guards->ring);
        if (r < 0)
                return r;
        /* Those of an earlier run, and of the time after it, are none of this one. */
        guards->lost = kernel_maps_lost(guards->maps);
        if (guards->lost > 0)
                log_info("%" PRIu64 " reports of the kernel guard were lost so far", guards->lost);
        return 0;
}

static void close_maps(KernelGuards *guards) {
        guarded_set_attach(guards->set, NULL);
        guards->write_hook = write_hook_free(guards->write_hook);
        g_clear_pointer(&guards->write_error, g_free);
        guards->ring = bpf_ring_free(guards->ring);
        guards->lost = 0;
        g_hash_table_remove_all(guards->tallies);
        guards->maps = kernel_maps_free(guards->maps);
}

static bool has_write_program(const KernelGuards *guards) {
        for (KernelGuard guard = 0; guard < _KERNEL_GUARD_MAX; guard++)
                if (guards->maps && guards->reports[guard].loaded &&
                    kernel_guard_sees_writes(guard))
                        return true;
        return false;
}

/* vfwarden-guard has loaded programs, or has unloaded them. */
static void look(KernelGuards *guards) {
        int r;

        close_maps(guards);
        r = read_reports(guards);
        guards->unread = errno_means_lack(r);
        r = any_loaded(guards) ? open_maps(guards) : 0;
        if (r < 0) {
                g_autofree char *why =
                        g_strdup_printf("Failed to open its maps: %s", g_strerror(-r));

                close_maps(guards);
                forget_reports(guards, why);
                guards->unread = errno_means_lack(r);
        }
        write_settings(guards);
        if (is_active(guards))
                guarded_set_attach(guards->set, guards->maps);
        if (!guards->adopting)
                guarded_set_sweep(guards->set);
        if (has_write_program(guards))
                guards->write_hook =
                        write_hook_new(guards->event, KERNEL_GUARD_PINS, WRITE_HOOK_REST_USEC,
                                       on_write_hook_set, guards);
        keep_up(guards);
}

static void look_anew(KernelGuards *guards) {
        look(guards);
        if (guards->maps)
                guards->handler->loaded(guards->context);
        guards_tell_change(guards);
}

static void on_status(void *context, void *userdata, const char *name) {
        if (g_str_equal(name, KERNEL_GUARD_STATUS))
                look_anew(context);
}

static int on_guards_again(sd_event_source *source, uint64_t usec, void *userdata) {
        KernelGuards *guards = userdata;

        guards->again_usec = CLAMP(2 * guards->again_usec, 2 * AGAIN_USEC, AGAIN_MAX_USEC);
        if (guards->unread)
                look_anew(guards);
        if (guards->unwritten)
                write_settings(guards);
        guarded_set_catch_up(guards->set, !guards->adopting);
        keep_up(guards);
        return 0;
}

KernelGuards *kernel_guards_new(sd_event *event, Watch *watch, Problems *problems,
                                const char *directory, const KernelGuardHandler *handler,
                                void *context) {
        KernelGuards *guards = g_new0(KernelGuards, 1);

        guards->event = sd_event_ref(event);
        guards->watch = watch;
        guards->problems = problems;
        guards->directory = g_strdup(directory);
        guards->handler = handler;
        guards->context = context;
        guards->adopting = true;
        guards->set = guarded_set_new(problems);
        if (wakeup_new_timer(event, 0, on_guards_again, guards, &guards->again) >= 0)
                (void) sd_event_source_set_description(guards->again, "kernel guard: again");
        guards->tallies = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
        /* The unit has made the directory. Without it there is no vfwarden-guard to hear of. */
        guards->watched =
                watch_add(watch, directory, IN_MOVED_TO | IN_DELETE, on_status, guards, NULL);
        look(guards);
        return guards;
}

KernelGuards *kernel_guards_free(KernelGuards *guards) {
        if (!guards)
                return NULL;
        watch_remove(guards->watch, guards->watched);
        close_maps(guards);
        forget_reports(guards, NULL);
        sd_event_source_disable_unref(guards->again);
        guarded_set_free(guards->set);
        g_hash_table_unref(guards->tallies);
        g_free(guards->directory);
        g_strfreev(guards->told);
        sd_event_unref(guards->event);
        g_free(guards);
        return NULL;
}

static bool configs_equal(const KernelGuardConfig *a, const KernelGuardConfig *b) {
        return a->mode == b->mode && a->network == b->network && a->enforce == b->enforce;
}

void kernel_guards_set_config(KernelGuards *guards, const KernelGuardConfig *config) {
        bool was_active = is_active(guards);

        if (guards->config_known && configs_equal(&guards->config, config))
                return;
        guards->config_known = true;
        guards->config = *config;
        write_settings(guards);
        if (is_active(guards) != was_active)
                guarded_set_attach(guards->set, is_active(guards) ? guards->maps : NULL);
        if (guards->maps && !is_active(guards))
                guarded_set_clear(guards->maps);
        keep_up(guards);
        guards_tell_change(guards);
}

void kernel_guards_plan(KernelGuards *guards, const Function *function) {
        guarded_set_plan(guards->set, function);
        keep_up(guards);
}

void kernel_guards_forget(KernelGuards *guards, PciKey key) {
        guarded_set_forget(guards->set, key);
        keep_up(guards);
}

void kernel_guards_set_file(KernelGuards *guards, uint64_t inode, const char *path, PciKey key,
                            bool locked) {
        guarded_set_set_file(guards->set, inode, path, key, locked);
        keep_up(guards);
}

void kernel_guards_exempt(KernelGuards *guards, pid_t pid) {
        int r = guards->maps ? kernel_maps_exempt(guards->maps, pid) : 0;

        if (r < 0 && r != -ESRCH) /* it has ended */
                log_error("Failed to exempt process %d from the kernel guard: %s", (int) pid,
                          g_strerror(-r));
}

/* inotify may report a change of a mode before the loop has read the ring, in which it is first. */
void kernel_guards_fill_author(KernelGuards *guards, Violation *violation) {
        g_autofree char *num_vfs = sysfs_function_path(pci_address_from_key(violation->key),
                                                       lock_file_to_string(LOCK_FILE_SRIOV_NUMVFS));
        GuardEventKind kind = violation->path ? GUARD_EVENT_CHMOD : GUARD_EVENT_WRITE;
        struct stat st;

        if (!guards->ring || stat(violation->path ? violation->path : num_vfs, &st) < 0)
                return;
        bpf_ring_read(guards->ring);
        (void) guarded_set_find_author(guards->set, st.st_ino, kind, guard_now_usec(),
                                       &violation->author);
}

bool kernel_guards_find_remover(KernelGuards *guards, PciKey key, ViolationAuthor *ret) {
        if (!guards->ring)
                return false;
        bpf_ring_read(guards->ring);
        return guarded_set_find_remover(guards->set, key, guard_now_usec(), ret);
}

void kernel_guards_end_adoption(KernelGuards *guards) {
        guards->adopting = false;
        guarded_set_sweep(guards->set);
        keep_up(guards);
}

void kernel_guards_release(KernelGuards *guards) {
        g_autoptr(GDir) pins = NULL;
        const char *name;

        if (guards->unread)
                look(guards);
        if (!guards->maps && !guards->unread)
                return;
        /* The programs go a moment after their pins (bpf_link_put()): the maps open all at once. */
        if (guards->maps) {
                (void) kernel_maps_set_settings(guards->maps, &(GuardSettings){ 0 });
                guarded_set_clear(guards->maps);
        }
        close_maps(guards);
        guards->unread = false;
        pins = g_dir_open(KERNEL_GUARD_PINS, 0, NULL);
        while (pins && (name = g_dir_read_name(pins))) {
                g_autofree char *path = g_build_filename(KERNEL_GUARD_PINS, name, NULL);

                if (unlink(path) < 0)
                        log_error("Failed to remove %s: %s", path, g_strerror(errno));
        }
        (void) rmdir(KERNEL_GUARD_PINS);
        forget_reports(guards, "release-all has unloaded it; restart vfwarden-guard.service");
        guards_tell_change(guards);
}

static char *describe_guard(const KernelGuards *guards, KernelGuard guard) {
        const KernelGuardReport *report = &guards->reports[guard];
        KernelGuardReport not_attached = { false, guards->write_error };

        if (report->loaded && guards->write_error && kernel_guard_sees_writes(guard))
                report = &not_attached;
        return kernel_guard_describe(guard, report->text ? report : NULL, guards->why,
                                     &guards->config);
}

char **kernel_guards_list(const KernelGuards *guards) {
        GPtrArray *lines = g_ptr_array_new();

        for (KernelGuard guard = 0; guard < _KERNEL_GUARD_MAX; guard++)
                g_ptr_array_add(lines, describe_guard(guards, guard));
        g_ptr_array_add(lines, NULL);
        return (char **) g_ptr_array_free(lines, FALSE);
}
