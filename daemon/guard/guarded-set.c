#include "daemon/guard/guarded-set.h"

#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of a driver that has guarded functions. */
typedef struct Driver {
        char *name;
        char *module; /* NULL: built into the kernel, or not known */
        uint64_t unbind;
        bool unread; /* neither is known yet */
        unsigned n_functions;
} Driver;

/* Files of a guarded function: a write takes nothing from its users at once, and its author is
 * reported. VFIO itself writes to configuration space, but not by these files. */
typedef enum ToldFile {
        TOLD_DRIVER_OVERRIDE,
        TOLD_CONFIG,
        TOLD_PROC_CONFIG, /* the same in /proc/bus/pci */
        _TOLD_FILE_MAX,
} ToldFile;

/* Who did something, and when. */
typedef struct Author {
        ViolationAuthor *who; /* owned; NULL: nobody */
        GuardEventKind deed;
        uint64_t usec;
} Author;

typedef struct Guarded {
        PciKey key;
        GuardFunction value;
        Driver *driver;                /* borrowed; NULL without a driver */
        uint64_t told[_TOLD_FILE_MAX]; /* their inodes; 0: not among the files */
        Author remover;
} Guarded;

typedef struct File {
        uint64_t inode;
        char *path;
        PciKey key;
        GuardFile value;
        Author author; /* of what passed last */
} File;

struct GuardedSet {
        Problems *problems;
        KernelMaps *maps;      /* borrowed; NULL while nothing is to be written */
        bool unread;           /* a driver, at least */
        bool unwritten;        /* an entry of the maps is not what it should be */
        GHashTable *drivers;   /* name in Driver -> Driver*, owned */
        GHashTable *functions; /* PciKey in Guarded -> Guarded*, owned */
        GHashTable *files;     /* inode in File -> File*, owned */
};

static void driver_free(gpointer data) {
        Driver *driver = data;

        g_free(driver->name);
        g_free(driver->module);
        g_free(driver);
}

static void guarded_file_free(gpointer data) {
        File *file = data;

        g_free(file->path);
        g_free(file->author.who);
        g_free(file);
}

static void guarded_free(gpointer data) {
        Guarded *guarded = data;

        g_free(guarded->remover.who);
        g_free(guarded);
}

GuardedSet *guarded_set_new(Problems *problems) {
        GuardedSet *set = g_new0(GuardedSet, 1);

        set->problems = problems;
        set->drivers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, driver_free);
        set->functions = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, guarded_free);
        set->files = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, guarded_file_free);
        return set;
}

GuardedSet *guarded_set_free(GuardedSet *set) {
        if (!set)
                return NULL;
        g_hash_table_unref(set->functions);
        g_hash_table_unref(set->drivers);
        g_hash_table_unref(set->files);
        g_free(set);
        return NULL;
}

/* --- writing the maps */

/* Maps are full, or memory is short: what is guarded less is a problem. */
static void note_map_result(GuardedSet *set, int r) {
        if (r >= 0)
                return;
        set->unwritten = true;
        problems_report(set->problems, GUARDED_SET_PROBLEM,
                        "Failed to tell the kernel guard what is guarded: %s", g_strerror(-r));
}

static void write_guarded(GuardedSet *set, const Guarded *guarded, bool is_guarded) {
        char address[PCI_ADDRESS_STRING_MAX];

        pci_address_format(pci_address_from_key(guarded->key), address);
        note_map_result(set, kernel_maps_set_function(set->maps, address,
                                                      is_guarded ? &guarded->value : NULL));
}

/* Two drivers can be of one module. */
static bool module_is_guarded(const GuardedSet *set, const char *module) {
        GHashTableIter iter;
        gpointer value;

        g_hash_table_iter_init(&iter, set->drivers);
        while (g_hash_table_iter_next(&iter, NULL, &value))
                if (g_strcmp0(((const Driver *) value)->module, module) == 0)
                        return true;
        return false;
}

static void write_driver(GuardedSet *set, const Driver *driver, bool is_guarded) {
        static const GuardFile unbind = { .kind = GUARD_FILE_UNBIND };

        if (driver->unbind != 0)
                note_map_result(set, kernel_maps_set_file(set->maps, driver->unbind,
                                                          is_guarded ? &unbind : NULL));
        if (driver->module && (is_guarded || !module_is_guarded(set, driver->module)))
                note_map_result(set, kernel_maps_set_module(set->maps, driver->module, is_guarded));
}

static void write_guarded_file(GuardedSet *set, const File *file, bool is_guarded) {
        note_map_result(set, kernel_maps_set_file(set->maps, file->inode,
                                                  is_guarded ? &file->value : NULL));
}

static void add_file(GuardedSet *set, uint64_t inode, const char *path, PciKey key,
                     const GuardFile *value) {
        File *file = g_new(File, 1);

        *file = (File){ .inode = inode, .path = g_strdup(path), .key = key, .value = *value };
        g_hash_table_replace(set->files, &file->inode, file);
        if (set->maps)
                write_guarded_file(set, file, true);
}

static void remove_file(GuardedSet *set, uint64_t inode) {
        const File *file = g_hash_table_lookup(set->files, &inode);

        if (file && set->maps)
                write_guarded_file(set, file, false);
        g_hash_table_remove(set->files, &inode);
}

/* The daemon's own procfs has the processes alone (ProcSubset=pid), so it is that of process 1. A
 * bus of domain 0 is named without it (pci_proc_attach_device() in drivers/pci/proc.c). */
static char *proc_config_path(PciAddress address) {
        g_autofree char *domain =
                address.domain != 0 ? g_strdup_printf("%04x:", address.domain) : g_strdup("");

        return g_strdup_printf("/proc/1/root/proc/bus/pci/%s%02x/%02x.%x", domain, address.bus,
                               address.device, address.function);
}

static char *told_path(ToldFile file, PciAddress address) {
        if (file == TOLD_PROC_CONFIG)
                return proc_config_path(address);
        return sysfs_function_path(address, file == TOLD_CONFIG ? "config" : "driver_override");
}

/* Looked up only while there are maps: who has no kernel guard does not pay for it. */
static void add_told_files(GuardedSet *set, Guarded *guarded) {
        for (ToldFile i = 0; i < _TOLD_FILE_MAX; i++) {
                g_autofree char *path = told_path(i, pci_address_from_key(guarded->key));
                struct stat st;

                if (guarded->told[i] != 0 || stat(path, &st) < 0)
                        continue;
                guarded->told[i] = st.st_ino;
                add_file(set, st.st_ino, path, guarded->key,
                         &(GuardFile){ GUARD_FILE_TOLD, i == TOLD_PROC_CONFIG });
        }
}

static void remove_told_files(GuardedSet *set, Guarded *guarded) {
        for (ToldFile i = 0; i < _TOLD_FILE_MAX; i++)
                if (guarded->told[i] != 0)
                        remove_file(set, guarded->told[i]);
}

static void write_maps(GuardedSet *set) {
        GHashTableIter iter;
        gpointer value;

        g_hash_table_iter_init(&iter, set->files);
        while (g_hash_table_iter_next(&iter, NULL, &value))
                write_guarded_file(set, value, true);
        g_hash_table_iter_init(&iter, set->functions);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
                write_guarded(set, value, true);
                add_told_files(set, value);
        }
        g_hash_table_iter_init(&iter, set->drivers);
        while (g_hash_table_iter_next(&iter, NULL, &value))
                write_driver(set, value, true);
}

static bool driver_is_wanted(const GuardedSet *set, uint64_t unbind) {
        GHashTableIter iter;
        gpointer value;

        g_hash_table_iter_init(&iter, set->drivers);
        while (g_hash_table_iter_next(&iter, NULL, &value))
                if (((const Driver *) value)->unbind == unbind)
                        return true;
        return false;
}

static const Guarded *find_guarded(const GuardedSet *set, const char *address) {
        PciAddress parsed;
        PciKey key;

        if (pci_address_parse(address, &parsed) < 0)
                return NULL;
        key = pci_address_key(parsed);
        return g_hash_table_lookup(set->functions, &key);
}

static bool is_wanted(void *context, const KernelMapsKey *key) {
        const GuardedSet *set = context;

        if (key->module)
                return module_is_guarded(set, key->module);
        if (key->address)
                return find_guarded(set, key->address);
        return g_hash_table_contains(set->files, &key->inode) || driver_is_wanted(set, key->inode);
}

static bool nothing_is_wanted(void *context, const KernelMapsKey *key) {
        return false;
}

void guarded_set_attach(GuardedSet *set, KernelMaps *maps) {
        set->maps = maps;
        set->unwritten = false;
        if (maps)
                write_maps(set);
        if (!set->unwritten)
                problems_resolve(set->problems, GUARDED_SET_PROBLEM);
}

void guarded_set_sweep(GuardedSet *set) {
        if (set->maps)
                kernel_maps_sweep(set->maps, is_wanted, set);
}

void guarded_set_clear(KernelMaps *maps) {
        kernel_maps_sweep(maps, nothing_is_wanted, NULL);
}

/* --- what is guarded */

/* Returns 0, with NULL where the driver is built into the kernel; or a negative errno. */
static int read_module(const char *driver, char **ret) {
        g_autofree char *path = g_strdup_printf("/sys/bus/pci/drivers/%s/module", driver);
        char target[PATH_MAX];
        ssize_t n = readlink(path, target, sizeof(target) - 1);

        if (n < 0 && !errno_means_absent(-errno))
                return -errno;
        if (n >= 0)
                target[n] = '\0';
        *ret = n >= 0 ? g_path_get_basename(target) : NULL;
        return 0;
}

/* A driver may have no such file (suppress_bind_attrs). */
static int driver_read(Driver *driver) {
        g_autofree char *path = g_strdup_printf("/sys/bus/pci/drivers/%s/unbind", driver->name);
        g_autofree char *module = NULL;
        struct stat st = { 0 };
        int r = read_module(driver->name, &module);

        if (r >= 0 && stat(path, &st) < 0 && !errno_means_absent(-errno))
                r = -errno;
        driver->unread = r < 0;
        if (r < 0)
                return r;
        driver->module = g_steal_pointer(&module);
        driver->unbind = st.st_ino;
        return 0;
}

static void look_at_driver(GuardedSet *set, Driver *driver) {
        int r = driver_read(driver);

        set->unread |= r < 0;
        if (r < 0)
                problems_report(set->problems, GUARDED_SET_DRIVER_PROBLEM,
                                "Failed to look at the driver %s, which the kernel guard does not "
                                "guard: %s",
                                driver->name, g_strerror(-r));
        else if (set->maps)
                write_driver(set, driver, true);
}

static Driver *driver_get(GuardedSet *set, const char *name) {
        Driver *driver = g_hash_table_lookup(set->drivers, name);

        if (driver || name[0] == '\0')
                return driver;
        driver = g_new0(Driver, 1);
        driver->name = g_strdup(name);
        g_hash_table_insert(set->drivers, driver->name, driver);
        look_at_driver(set, driver);
        return driver;
}

bool guarded_set_is_behind(const GuardedSet *set) {
        return set->unwritten || set->unread;
}

void guarded_set_catch_up(GuardedSet *set, bool sweeps) {
        GHashTableIter iter;
        gpointer value;

        set->unread = false;
        g_hash_table_iter_init(&iter, set->drivers);
        while (g_hash_table_iter_next(&iter, NULL, &value))
                if (((const Driver *) value)->unread)
                        look_at_driver(set, value);
        if (!set->unread)
                problems_resolve(set->problems, GUARDED_SET_DRIVER_PROBLEM);
        if (!set->unwritten)
                return;
        guarded_set_attach(set, set->maps);
        if (sweeps)
                guarded_set_sweep(set);
}

static void driver_put(GuardedSet *set, Driver *driver) {
        if (!driver || --driver->n_functions > 0)
                return;
        g_hash_table_steal(set->drivers, driver->name);
        if (set->maps)
                write_driver(set, driver, false);
        driver_free(driver);
}

static void set_guarded_driver(GuardedSet *set, Guarded *guarded, const char *name) {
        Driver *before = guarded->driver;

        if (g_strcmp0(before ? before->name : "", name) == 0)
                return;
        guarded->driver = driver_get(set, name);
        if (guarded->driver)
                guarded->driver->n_functions++;
        driver_put(set, before);
}

void guarded_set_plan(GuardedSet *set, const Function *function) {
        Guarded *guarded = g_hash_table_lookup(set->functions, &function->facts.key);
        GuardFunction value;
        bool is_new = !guarded;

        if (!kernel_guard_wants(function, &value)) {
                guarded_set_forget(set, function->facts.key);
                return;
        }
        if (is_new) {
                guarded = g_new0(Guarded, 1);
                guarded->key = function->facts.key;
                g_hash_table_insert(set->functions, &guarded->key, guarded);
        }
        if (is_new || memcmp(&value, &guarded->value, sizeof(value)) != 0) {
                guarded->value = value;
                if (set->maps)
                        write_guarded(set, guarded, true);
        }
        if (is_new && set->maps)
                add_told_files(set, guarded);
        set_guarded_driver(set, guarded, function->facts.driver);
}

void guarded_set_forget(GuardedSet *set, PciKey key) {
        Guarded *guarded = g_hash_table_lookup(set->functions, &key);

        if (!guarded)
                return;
        if (set->maps)
                write_guarded(set, guarded, false);
        set_guarded_driver(set, guarded, "");
        remove_told_files(set, guarded);
        g_hash_table_remove(set->functions, &key);
}

void guarded_set_set_file(GuardedSet *set, uint64_t inode, const char *path, PciKey key,
                          bool locked) {
        if (locked == g_hash_table_contains(set->files, &inode))
                return;
        if (locked)
                add_file(set, inode, path, key, &(GuardFile){ .kind = GUARD_FILE_PROTECTED });
        else
                remove_file(set, inode);
}

static bool names_function(unsigned kind) {
        switch ((GuardEventKind) kind) {
        case GUARD_EVENT_UNBIND:
        case GUARD_EVENT_VF_SETTINGS:
        case GUARD_EVENT_DEVLINK_RELOAD:
        case GUARD_EVENT_DEVLINK_ESWITCH:
        case GUARD_EVENT_DEVLINK_FLASH:
        case GUARD_EVENT_DEVLINK_RECOVERY:
        case GUARD_EVENT_ETHTOOL_RESET:
        case GUARD_EVENT_ETHTOOL_TEST:
        case GUARD_EVENT_RELEASE:
                return true;
        default:
                return false;
        }
}

static bool find_author(const Author *author, GuardEventKind deed, uint64_t now_usec,
                        ViolationAuthor *ret) {
        if (!author->who || author->deed != deed ||
            now_usec - author->usec > GUARDED_SET_AUTHOR_USEC)
                return false;
        *ret = *author->who;
        return true;
}

void guarded_set_note_author(GuardedSet *set, const GuardEvent *event, const ViolationAuthor *who,
                             uint64_t now_usec) {
        uint64_t inode = event->inode;
        File *file = g_hash_table_lookup(set->files, &inode);
        Guarded *guarded = event->kind == GUARD_EVENT_RELEASE
                                   ? (Guarded *) find_guarded(set, event->name)
                                   : NULL;
        Author *author = guarded ? &guarded->remover : file ? &file->author : NULL;

        if (!author)
                return;
        g_free(author->who);
        *author = (Author){ g_memdup2(who, sizeof(*who)), (GuardEventKind) event->kind, now_usec };
}

bool guarded_set_find_author(const GuardedSet *set, uint64_t inode, GuardEventKind kind,
                             uint64_t now_usec, ViolationAuthor *ret) {
        const File *file = g_hash_table_lookup(set->files, &inode);

        return file && find_author(&file->author, kind, now_usec, ret);
}

bool guarded_set_find_remover(const GuardedSet *set, PciKey key, uint64_t now_usec,
                              ViolationAuthor *ret) {
        const Guarded *guarded = g_hash_table_lookup(set->functions, &key);

        return guarded && find_author(&guarded->remover, GUARD_EVENT_RELEASE, now_usec, ret);
}

unsigned guarded_set_size(const GuardedSet *set) {
        return g_hash_table_size(set->functions);
}

bool guarded_set_has_files(const GuardedSet *set) {
        return g_hash_table_size(set->files) > 0 || g_hash_table_size(set->drivers) > 0;
}

const char *guarded_set_find(const GuardedSet *set, const GuardEvent *event, PciKey *ret_key,
                             bool *ret_known) {
        const Guarded *guarded = NULL;
        uint64_t inode = event->inode;
        const File *file = g_hash_table_lookup(set->files, &inode);

        if (names_function(event->kind))
                guarded = find_guarded(set, event->name);
        *ret_known = file || guarded;
        *ret_key = file ? file->key : guarded ? guarded->key : 0;
        return file ? file->path : NULL;
}
