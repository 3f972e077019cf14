#include "daemon/base/config.h"

#include "daemon/base/files/bounded-file.h"
#include "daemon/base/util.h"
#include "policy/number.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_USERSPACE_DRIVERS "*vfio-pci *vfio_pci uio_pci_generic igb_uio pci-stub"

#define DEFAULT_MAX_SESSIONS      16
#define DEFAULT_MAX_LEASES        64
#define DEFAULT_MAX_MAPPED        (16ULL << 30)
#define DEFAULT_DRAIN_USEC        (10 * G_USEC_PER_SEC)

#define CONFIG_SESSIONS_MAX       1024
#define CONFIG_LEASES_MAX         1024
#define CONFIG_MAPPED_MAX_MIB     (1ULL << 30)
#define CONFIG_DRAIN_MAX_SECONDS  (24 * 60 * 60)

/* A configuration file is a few lines; what is larger was put there by mistake. */
#define CONFIG_FILE_SIZE_MAX (1024 * 1024)

#define CONFIG_DROP_INS_MAX  256

/* How much of a wrong word or line is repeated in a message. */
#define SHOWN_MAX 60

/* What is wrong, as a message shows it: a line can be long, and contain what a terminal obeys. */
static char *shown(const char *text) {
        size_t length = strlen(text);
        g_autofree char *part = g_utf8_make_valid(text, (gssize) MIN(length, SHOWN_MAX));

        for (char *c = part; *c; c++)
                if (g_ascii_iscntrl(*c))
                        *c = '?';
        return length > SHOWN_MAX ? g_strconcat(part, "...", NULL) : g_steal_pointer(&part);
}

static char *describe(const char *text, const char *reason) {
        g_autofree char *part = shown(text);

        return g_strdup_printf("'%s' %s", part, reason);
}

/* Puts `value` into `config`. Returns NULL, or what is wrong, to be freed with g_free(). */
typedef char *ConfigSetter(Config *config, const char *value);

static char *set_userspace_drivers(Config *config, const char *value) {
        g_autoptr(PatternList) list = NULL;
        g_autofree char *word = NULL;
        int r;

        r = pattern_list_parse(value, &list, &word);
        if (r == -E2BIG)
                return g_strdup_printf("more than %d drivers", PATTERN_LIST_MAX);
        if (r < 0)
                return describe(word, "is no pattern for a driver's name");

        pattern_list_free(config->userspace_drivers);
        config->userspace_drivers = g_steal_pointer(&list);
        return NULL;
}

static char *set_enforcement(Config *config, const char *value) {
        if (strcmp(value, "enforce") != 0 && strcmp(value, "advise") != 0)
                return describe(value, "is neither 'enforce' nor 'advise'");
        config->enforce = value[0] == 'e';
        return NULL;
}

static char *set_guard_mode(KernelGuardMode *mode, const char *value) {
        KernelGuardMode parsed = kernel_guard_mode_from_string(value);

        if (parsed < 0)
                return describe(value, "is neither 'refuse' nor 'tell' nor 'off'");
        *mode = parsed;
        return NULL;
}

static char *set_kernel_guard(Config *config, const char *value) {
        return set_guard_mode(&config->kernel_guard, value);
}

static char *set_guard_network(Config *config, const char *value) {
        return set_guard_mode(&config->guard_network, value);
}

static char *set_emulated(Config *config, const char *value) {
        g_auto(GStrv) words = g_strsplit_set(value, " \t", -1);

        g_hash_table_remove_all(config->emulated);
        for (char **word = words; *word; word++) {
                PciAddress address;
                PciKey key;

                if ((*word)[0] == '\0')
                        continue;
                if (pci_address_parse(*word, &address) < 0)
                        return describe(*word, "is no address of a PCI function");
                key = pci_address_key(address);
                g_hash_table_add(config->emulated, g_memdup2(&key, sizeof(key)));
        }
        return NULL;
}

static char *config_read_bool(const char *value, bool *ret) {
        if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
                return describe(value, "is neither 'yes' nor 'no'");
        *ret = value[0] == 'y';
        return NULL;
}

static char *set_allow_msix(Config *config, const char *value) {
        return config_read_bool(value, &config->allow_msix);
}

static char *set_inhibit_sleep(Config *config, const char *value) {
        return config_read_bool(value, &config->inhibit_sleep);
}

/* A number from `min` to `max`. */
static char *config_read_number(const char *value, uint64_t min, uint64_t max, uint64_t *ret) {
        g_autofree char *text = shown(value);

        if (number_parse(value, 10, max, ret) < 0 || *ret < min)
                return g_strdup_printf("'%s' is no number from %" PRIu64 " to %" PRIu64, text, min,
                                       max);
        return NULL;
}

static char *set_max_sessions(Config *config, const char *value) {
        uint64_t number = config->max_sessions;
        char *reason = config_read_number(value, 0, CONFIG_SESSIONS_MAX, &number);

        config->max_sessions = (unsigned) number;
        return reason;
}

static char *set_max_leases(Config *config, const char *value) {
        uint64_t number = config->max_leases;
        char *reason = config_read_number(value, 0, CONFIG_LEASES_MAX, &number);

        config->max_leases = (unsigned) number;
        return reason;
}

static char *set_max_mapped(Config *config, const char *value) {
        uint64_t mebibytes = config->max_mapped >> 20;
        char *reason = config_read_number(value, 1, CONFIG_MAPPED_MAX_MIB, &mebibytes);

        config->max_mapped = mebibytes << 20;
        return reason;
}

static char *set_drain_seconds(Config *config, const char *value) {
        uint64_t seconds = config->drain_usec / G_USEC_PER_SEC;
        char *reason = config_read_number(value, 0, CONFIG_DRAIN_MAX_SECONDS, &seconds);

        config->drain_usec = seconds * G_USEC_PER_SEC;
        return reason;
}

static const struct {
        const char *section, *key;
        ConfigSetter *set;
} config_keys[] = {
        { "Lock", "UserspaceDrivers", set_userspace_drivers },
        { "Lock", "Enforcement", set_enforcement },
        { "Lock", "KernelGuard", set_kernel_guard },
        { "Lock", "KernelGuardNetwork", set_guard_network },
        { "Lock", "InhibitSleep", set_inhibit_sleep },
        { "Io", "EmulatedFunctions", set_emulated },
        { "Io", "AllowMsix", set_allow_msix },
        { "Io", "MaxSessionsPerUser", set_max_sessions },
        { "Io", "MaxMappedMemoryPerUser", set_max_mapped },
        { "Io", "DrainSeconds", set_drain_seconds },
        { "Open", "MaxLeasesPerUser", set_max_leases },
};

Config *config_free(Config *config) {
        if (!config)
                return NULL;
        pattern_list_free(config->userspace_drivers);
        g_hash_table_unref(config->emulated);
        g_free(config);
        return NULL;
}

bool config_emulates(const Config *config, PciKey key) {
        return g_hash_table_contains(config->emulated, &key);
}

static bool section_known(const char *section) {
        for (unsigned i = 0; i < G_N_ELEMENTS(config_keys); i++)
                if (strcmp(config_keys[i].section, section) == 0)
                        return true;
        return false;
}

static char *set_key(Config *config, const char *section, const char *key, const char *value) {
        for (unsigned i = 0; i < G_N_ELEMENTS(config_keys); i++)
                if (strcmp(config_keys[i].section, section) == 0 &&
                    strcmp(config_keys[i].key, key) == 0)
                        return config_keys[i].set(config, value);
        g_autofree char *text = shown(key);
        return g_strdup_printf("unknown key '%s' in section [%s]", text, section);
}

static char *unknown_section(const char *section) {
        g_autofree char *text = shown(section);

        return g_strdup_printf("unknown section [%s]", text);
}

/* Takes one line, which it changes. `*section` is the section so far, owned by the caller. */
static char *parse_line(Config *config, char *line, char **section) {
        size_t length;
        char *equals;

        g_strstrip(line);
        length = strlen(line);
        if (length == 0 || line[0] == '#' || line[0] == ';')
                return NULL;
        if (!g_utf8_validate(line, -1, NULL))
                return g_strdup("not UTF-8 text");

        if (line[0] == '[') {
                if (line[length - 1] != ']')
                        return g_strdup("a section needs a closing ']'");
                g_free(*section);
                *section = g_strndup(line + 1, length - 2);
                return section_known(*section) ? NULL : unknown_section(*section);
        }

        equals = strchr(line, '=');
        if (!equals)
                return describe(line, "is neither '[Section]' nor 'Key=value'");
        if (!*section)
                return g_strdup("a key before the first section");
        *equals = '\0';
        return set_key(config, *section, g_strchomp(line), g_strchug(equals + 1));
}

/* Editors of other systems put it at the beginning of UTF-8 text. */
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

/* A path, for a message that goes over the bus: a name can hold any byte. */
static char *shown_path(const char *path) {
        char *text = g_utf8_make_valid(path, -1);

        for (char *c = text; *c; c++)
                if (g_ascii_iscntrl(*c))
                        *c = '?';
        return text;
}

static int config_fail(const char *path, const char *reason, int error, char **ret_error) {
        g_autofree char *where = shown_path(path);

        *ret_error = g_strdup_printf("%s: %s", where, reason);
        return error;
}

static int fail_in_line(const char *path, unsigned line, const char *reason, char **ret_error) {
        g_autofree char *where = shown_path(path);

        *ret_error = g_strdup_printf("%s:%u: %s", where, line, reason);
        return -EINVAL;
}

static unsigned count_lines(const char *text, size_t length) {
        unsigned n = 1;

        for (size_t i = 0; i < length; i++)
                n += text[i] == '\n';
        return n;
}

static int parse_text(Config *config, const char *path, const char *text, size_t length,
                      char **ret_error) {
        g_autofree char *section = NULL;
        g_auto(GStrv) lines = NULL;

        if (strlen(text) != length)
                return fail_in_line(path, count_lines(text, strlen(text)),
                                    "not text, it contains a NUL byte", ret_error);
        if (g_str_has_prefix(text, BYTE_ORDER_MARK))
                text += strlen(BYTE_ORDER_MARK);
        lines = g_strsplit(text, "\n", -1);
        for (unsigned i = 0; lines[i]; i++) {
                g_autofree char *reason = parse_line(config, lines[i], &section);

                if (reason)
                        return fail_in_line(path, i + 1, reason, ret_error);
        }
        return 0;
}

/* A file that is not there is as good as an empty one; a drop-in can go after it was listed. */
static int load_file(Config *config, const char *path, char **ret_error) {
        g_autofree char *content = NULL;
        size_t length;
        int r;

        r = bounded_file_read(path, CONFIG_FILE_SIZE_MAX, BOUNDED_FILE_MASKABLE, &content, &length);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return config_fail(path, bounded_file_error(r), -EIO, ret_error);
        return parse_text(config, path, content, length, ret_error);
}

static int compare_names(gconstpointer a, gconstpointer b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static bool is_drop_in(const char *name) {
        return name[0] != '.' && g_str_has_suffix(name, ".conf");
}

/* A directory that is not there has no files; a link that leads nowhere is a mistake. */
static int open_directory(const char *path, DIR **ret) {
        struct stat st;
        DIR *dir = opendir(path);
        int error = errno;

        if (!dir && error == ENOENT && lstat(path, &st) == 0)
                return -ENOLINK;
        if (!dir && error != ENOENT)
                return -error;
        *ret = dir;
        return 0;
}

/* The drop-in files of `directory` in their order. */
static int list_drop_ins(const char *directory, GPtrArray **ret, char **ret_error) {
        g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
        _cleanup_(closedirp) DIR *dir = NULL;
        const struct dirent *entry = NULL;
        int r;

        r = open_directory(directory, &dir);
        if (r < 0)
                return config_fail(directory, bounded_file_error(r), -EIO, ret_error);
        while (dir && (errno = 0, entry = readdir(dir))) {
                if (!is_drop_in(entry->d_name))
                        continue;
                if (paths->len >= CONFIG_DROP_INS_MAX)
                        return config_fail(directory, "too many files", -EIO, ret_error);
                g_ptr_array_add(paths, g_build_filename(directory, entry->d_name, NULL));
        }
        if (dir && errno != 0)
                return config_fail(directory, g_strerror(errno), -EIO, ret_error);
        g_ptr_array_sort(paths, compare_names);
        *ret = g_steal_pointer(&paths);
        return 0;
}

Config *config_new_default(void) {
        Config *config = g_new0(Config, 1);
        int r;

        config->enforce = true;
        config->kernel_guard = KERNEL_GUARD_MODE_REFUSE;
        config->guard_network = KERNEL_GUARD_MODE_TELL;
        config->emulated = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        config->max_sessions = DEFAULT_MAX_SESSIONS;
        config->max_mapped = DEFAULT_MAX_MAPPED;
        config->max_leases = DEFAULT_MAX_LEASES;
        config->drain_usec = DEFAULT_DRAIN_USEC;
        r = pattern_list_parse(DEFAULT_USERSPACE_DRIVERS, &config->userspace_drivers, NULL);
        g_assert(r == 0);
        return config;
}

static int check_directory(const char *directory, char **ret_error) {
        _cleanup_(closedirp) DIR *dir = NULL;
        int r = open_directory(directory, &dir);

        return r < 0 ? config_fail(directory, bounded_file_error(r), -EIO, ret_error) : 0;
}

int config_load(const char *directory, Config **ret, char **ret_error) {
        g_autofree char *main_file = g_build_filename(directory, "vfwarden.conf", NULL);
        g_autofree char *drop_in_directory = g_build_filename(directory, "vfwarden.conf.d", NULL);
        g_autoptr(Config) config = config_new_default();
        g_autoptr(GPtrArray) drop_ins = NULL;
        int r;

        r = check_directory(directory, ret_error);
        if (r >= 0)
                r = load_file(config, main_file, ret_error);
        if (r >= 0)
                r = list_drop_ins(drop_in_directory, &drop_ins, ret_error);
        if (r < 0)
                return r;
        for (guint i = 0; i < drop_ins->len; i++) {
                r = load_file(config, drop_ins->pdata[i], ret_error);
                if (r < 0)
                        return r;
        }

        *ret = g_steal_pointer(&config);
        return 0;
}
