#include "guard/loader.h"

#include "guard/hooks.h"
#include "guard/programs.h"
#include "policy/kernel-guard.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define LSMS              "/sys/kernel/security/lsm"
#define LSMS_MAX          1024
#define VERIFIER_LOG_SIZE (1024 * 1024)

typedef struct Loader {
        const char *directory;
        struct btf *btf;
        bool bpf_is_lsm;
        unsigned failed; /* guards of which a program was not loaded: they stay missing */
        KernelGuardReport reports[_KERNEL_GUARD_MAX];
} Loader;

static void loader_done(Loader *loader) {
        btf__free(loader->btf);
        for (KernelGuard guard = 0; guard < _KERNEL_GUARD_MAX; guard++)
                g_free(loader->reports[guard].text);
}

static void object_closep(struct bpf_object **object) {
        bpf_object__close(*object);
}

static int be_quiet(enum libbpf_print_level level, const char *format, va_list arguments) {
        return 0;
}

static void report(Loader *loader, unsigned guards, bool loaded, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

static void report(Loader *loader, unsigned guards, bool loaded, const char *format, ...) {
        for (KernelGuard guard = 0; guard < _KERNEL_GUARD_MAX; guard++) {
                KernelGuardReport *report = &loader->reports[guard];
                va_list arguments;

                if (!(guards & (1U << guard)))
                        continue;
                g_free(report->text);
                va_start(arguments, format);
                report->text = g_strdup_vprintf(format, arguments);
                va_end(arguments);
                report->loaded = loaded;
        }
}

/* What the verifier said last, before it counts what it did. NULL when it said nothing. */
static char *verifier_reason(const char *log) {
        g_auto(GStrv) lines = g_strsplit(log, "\n", -1);

        for (guint i = g_strv_length(lines); i > 0; i--) {
                const char *line = lines[i - 1];

                if (line[0] != '\0' && !g_str_has_prefix(line, "processed ") &&
                    !g_str_has_prefix(line, "verification time ") &&
                    !g_str_has_prefix(line, "stack depth "))
                        return g_utf8_make_valid(line, -1);
        }
        return NULL;
}

static bool has_program(const GuardHook *const *some, unsigned n, const char *name) {
        for (unsigned i = 0; i < n; i++)
                if (g_str_equal(some[i]->program, name))
                        return true;
        return false;
}

/* Loads the programs of these hooks, with the maps that are pinned already. Returns 0, or a
 * negative errno with what the verifier said in `*ret_log`. */
static int load_object(const Loader *loader, const GuardHook *const *some, unsigned n,
                       struct bpf_object **ret, char **ret_log) {
        g_autofree char *log = g_malloc0(VERIFIER_LOG_SIZE);
        const struct bpf_object_open_opts options = {
                .sz = sizeof(options),
                .object_name = "vfwarden",
                .pin_root_path = loader->directory,
                .kernel_log_buf = log,
                .kernel_log_size = VERIFIER_LOG_SIZE,
        };
        __attribute__((cleanup(object_closep))) struct bpf_object *object = NULL;
        struct bpf_program *program;
        int r;

        object = bpf_object__open_mem(guard_programs, sizeof(guard_programs), &options);
        if (!object)
                return -errno;
        for (program = bpf_object__next_program(object, NULL); program;
             program = bpf_object__next_program(object, program))
                (void) bpf_program__set_autoload(program,
                                                 has_program(some, n, bpf_program__name(program)));
        r = bpf_object__load(object);
        if (r < 0)
                *ret_log = verifier_reason(log);
        else
                *ret = g_steal_pointer(&object);
        return r;
}

/* Attaches the hook's program, and pins the link, which then holds the program; or, where the
 * daemon attaches it, pins the program: then it is attached for a moment, to see that it can be. */
static int attach(const Loader *loader, const struct bpf_object *object, const GuardHook *hook) {
        struct bpf_program *program = bpf_object__find_program_by_name(object, hook->program);
        g_autofree char *pin = g_build_filename(
                loader->directory, hook->program_pin ? hook->program_pin : hook->pin, NULL);
        struct bpf_link *link = bpf_program__attach(program);
        int r;

        if (!link)
                return -errno;
        r = hook->program_pin ? bpf_program__pin(program, pin) : bpf_link__pin(link, pin);
        (void) bpf_link__destroy(link);
        return r;
}

static void report_hook(Loader *loader, const GuardHook *hook, int r, const char *log) {
        const char *colon = log ? ": " : "";

        if (r >= 0) {
                report(loader, hook->guards & ~loader->failed, true, "%s", hook->how);
                return;
        }
        loader->failed |= hook->guards;
        log = log ? log : "";
        fprintf(stderr, "Failed to load the program %s: %s%s%s\n", hook->program, g_strerror(-r),
                colon, log);
        report(loader, hook->guards, false, "the kernel does not load its program: %s%s%s",
               g_strerror(-r), colon, log);
}

/* All together, which takes a second on a slow machine: libbpf reads the kernel's types each time.
 * If the kernel refuses that, each by itself, so that one program costs no other. */
static void load_hooks(Loader *loader, const GuardHook *const *some, unsigned n) {
        __attribute__((cleanup(object_closep))) struct bpf_object *object = NULL;
        g_autofree char *log = NULL;
        int r = load_object(loader, some, n, &object, &log);

        if (r < 0 && n > 1) {
                for (unsigned i = 0; i < n; i++)
                        load_hooks(loader, some + i, 1);
                return;
        }
        for (unsigned i = 0; i < n; i++)
                report_hook(loader, some[i], r < 0 ? r : attach(loader, object, some[i]), log);
}

/* The active LSMs, "" when they cannot be known. fmod_ret refuses in either case. */
static void read_lsms(char *text) {
        int fd = open(LSMS, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, text, LSMS_MAX - 1);

        text[n > 0 ? n : 0] = '\0';
        if (fd >= 0)
                (void) close(fd);
}

/* Why nothing can be loaded at all; NULL if something can. Free with g_free(). */
static char *prepare(Loader *loader) {
        g_autofree char *parent = g_path_get_dirname(loader->directory);
        char lsms[LSMS_MAX];
        struct statfs fs;

        if (statfs(parent, &fs) < 0)
                return g_strdup_printf("%s: %s", parent, g_strerror(errno));
        if (fs.f_type != BPF_FS_MAGIC)
                return g_strdup_printf("%s: not a BPF file system", parent);
        loader->btf = btf__load_vmlinux_btf();
        if (!loader->btf)
                return g_strdup_printf("this kernel has no type information (BTF): %s",
                                       g_strerror(errno));
        if (mkdir(loader->directory, 0700) < 0)
                return g_strdup_printf("%s: %s", loader->directory, g_strerror(errno));
        read_lsms(lsms);
        loader->bpf_is_lsm = hooks_bpf_is_lsm(lsms);
        return NULL;
}

static void load_all(Loader *loader) {
        g_autoptr(GPtrArray) some = g_ptr_array_new();
        const GuardHook *hook;
        unsigned index = 0;

        while ((hook = hooks_next(loader->btf, loader->bpf_is_lsm, &index)))
                g_ptr_array_add(some, (gpointer) hook);
        if (some->len > 0)
                load_hooks(loader, (const GuardHook *const *) some->pdata, some->len);
}

static int write_status(const Loader *loader, const char *path) {
        g_autoptr(GString) text = g_string_new(NULL);
        g_autoptr(GError) error = NULL;

        for (KernelGuard guard = 0; guard < _KERNEL_GUARD_MAX; guard++) {
                const KernelGuardReport *said = &loader->reports[guard];

                g_string_append_printf(text, "%s %s %s\n", kernel_guard_to_string(guard),
                                       said->loaded ? "loaded" : "missing", said->text);
        }
        fputs(text->str, stdout);
        /* By a rename: the daemon never sees a part. */
        if (g_file_set_contents_full(path, text->str, (gssize) text->len,
                                     G_FILE_SET_CONTENTS_CONSISTENT, 0644, &error))
                return 0;
        fprintf(stderr, "%s\n", error->message);
        return -EIO;
}

int loader_load(const char *directory, const char *status) {
        __attribute__((cleanup(loader_done))) Loader loader = { .directory = directory };
        g_autofree char *why = NULL;
        int r;

        (void) libbpf_set_print(be_quiet);
        report(&loader, ~0U, false, "this kernel has no such hook");
        r = loader_unload(directory, status);
        if (r < 0)
                return r;
        why = prepare(&loader);
        if (why)
                report(&loader, ~0U, false, "%s", why);
        else
                load_all(&loader);
        return write_status(&loader, status);
}

/* The programs go a moment after their pins (bpf_link_put()), and refuse nothing meanwhile. */
static void disarm(const char *directory) {
        g_autofree char *pin = g_build_filename(directory, GUARD_MAP_SETTINGS, NULL);
        const GuardSettings nothing = { 0 };
        const unsigned key = 0;
        int map = bpf_obj_get(pin);

        if (map < 0)
                return;
        (void) bpf_map_update_elem(map, &key, &nothing, BPF_ANY);
        (void) close(map);
}

/* Only in a BPF file system: a slip in --pins= must not empty another directory. */
static int remove_pins(const char *directory) {
        g_autoptr(GDir) pins = NULL;
        struct statfs fs;
        const char *name;

        if (statfs(directory, &fs) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (fs.f_type != BPF_FS_MAGIC)
                return -EMEDIUMTYPE;
        disarm(directory);
        pins = g_dir_open(directory, 0, NULL);
        while (pins && (name = g_dir_read_name(pins))) {
                g_autofree char *path = g_build_filename(directory, name, NULL);

                if (unlink(path) < 0)
                        return -errno;
        }
        return rmdir(directory) < 0 ? -errno : 0;
}

int loader_unload(const char *directory, const char *status) {
        int r = remove_pins(directory);

        if (r < 0)
                fprintf(stderr, "Failed to remove %s: %s\n", directory,
                        r == -EMEDIUMTYPE ? "not in a BPF file system" : g_strerror(-r));
        if (r >= 0 && unlink(status) < 0 && errno != ENOENT)
                fprintf(stderr, "Failed to remove %s: %s\n", status, g_strerror(errno));
        return r;
}
