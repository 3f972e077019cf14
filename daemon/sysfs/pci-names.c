#include "daemon/sysfs/pci-names.h"

#include "daemon/base/log.h"
#include "policy/function.h"
#include "policy/pci-ids.h"

#include <errno.h>
#include <pci/pci.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_SIZE_MAX     256
#define COMPRESSED_SUFFIX ".gz"

typedef struct NamePair {
        GRefString *vendor, *device;
} NamePair;

struct PciNames {
        struct pci_access *access;
        PciIds *ids; /* NULL while no name is asked for, and where libpci has to read the file */
        bool asked;  /* the file was looked for, since the last pci_names_drop_file() */
        GHashTable *pairs; /* vendor << 16 | device -> NamePair* */
};

static void name_pair_free(gpointer data) {
        NamePair *pair = data;

        g_ref_string_release(pair->vendor);
        g_ref_string_release(pair->device);
        g_free(pair);
}

/* libpci's complaints: of lines in pci.ids that it cannot parse, and of memory. */
static void __attribute__((noreturn, format(printf, 1, 2))) on_error(char *format, ...) {
        log_error("libpci: %s", format);
        abort();
}

static void __attribute__((format(printf, 1, 2))) on_warning(char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        g_autofree char *message = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        log_warning("libpci: %s", g_strchomp(message));
}

static void __attribute__((format(printf, 1, 2))) on_debug(char *format, ...) {
}

PciNames *pci_names_new(void) {
        PciNames *names = g_new0(PciNames, 1);

        /* pci_alloc() alone: pci_init() would open a back end for configuration space. libpci calls
         * these without a check, so they are set here as well. */
        names->access = pci_alloc();
        names->access->error = on_error;
        names->access->warning = on_warning;
        names->access->debug = on_debug;
        /* pci.ids only: the same name on every host, none of udev's database in memory, and no
         * cache in anybody's home, which the default PCI_LOOKUP_CACHE reads for an unknown
         * device. */
        names->access->id_lookup_mode = PCI_LOOKUP_NO_HWDB;
        names->pairs = g_hash_table_new_full(NULL, NULL, NULL, name_pair_free);
        return names;
}

PciNames *pci_names_free(PciNames *names) {
        if (!names)
                return NULL;
        g_hash_table_unref(names->pairs);
        pci_ids_free(names->ids);
        pci_cleanup(names->access);
        g_free(names);
        return NULL;
}

/* Reads the file that libpci would read, if it is a plain one: libpci takes milliseconds and some
 * megabytes to sort all that is in it, for the few names that a host has. Returns 0, with NULL
 * where there is no plain one that can be read, or a negative errno when it is to be tried
 * again. */
static int read_ids(const struct pci_access *libpci, PciIds **ret) {
        g_autofree char *path = g_strdup(libpci->id_file_name);
        g_autoptr(GError) error = NULL;
        char *text = NULL;

        /* It takes the compressed one first, and then the plain one beside it (pci_open() in
         * names-parse.c). */
        if (g_str_has_suffix(path, COMPRESSED_SUFFIX)) {
                if (access(path, F_OK) == 0)
                        return 0;
                path[strlen(path) - strlen(COMPRESSED_SUFFIX)] = '\0';
        }
        if (g_file_get_contents(path, &text, NULL, &error)) {
                *ret = pci_ids_new(text);
                return 0;
        }
        /* Without names one can live; without the file's being looked for again for want of a
         * descriptor one cannot. */
        return g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_MFILE)   ? -EMFILE
               : g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NFILE) ? -ENFILE
               : g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOMEM) ? -ENOMEM
                                                                          : 0;
}

/* NULL where there is no name. */
static char *pci_names_find(PciNames *names, int what, uint16_t vendor, uint16_t device) {
        char buffer[NAME_SIZE_MAX];

        if (names->ids)
                return what == PCI_LOOKUP_VENDOR ? pci_ids_vendor(names->ids, vendor)
                                                 : pci_ids_device(names->ids, vendor, device);
        /* Without a number in its place where there is no name. */
        return g_strdup(pci_lookup_name(names->access, buffer, sizeof(buffer),
                                        what | PCI_LOOKUP_NO_NUMBERS, vendor, device));
}

static GRefString *lookup(PciNames *names, int what, uint16_t vendor, uint16_t device) {
        /* pci.ids has a name for all ones, "Illegal Vendor ID", which is no name of anybody. */
        g_autofree char *name =
                vendor == PCI_ID_UNREADABLE ? NULL : pci_names_find(names, what, vendor, device);

        if (!name)
                return g_ref_string_new_intern("");
        g_autofree char *valid = g_utf8_make_valid(name, -1);
        return g_ref_string_new_intern(valid);
}

int pci_names_lookup(PciNames *names, uint16_t vendor, uint16_t device, GRefString **ret_vendor,
                     GRefString **ret_device) {
        gpointer key = GUINT_TO_POINTER((guint) vendor << 16 | device);
        NamePair *pair = g_hash_table_lookup(names->pairs, key);
        int r = pair || names->asked ? 0 : read_ids(names->access, &names->ids);

        if (r < 0) {
                *ret_vendor = g_ref_string_new_intern("");
                *ret_device = g_ref_string_new_intern("");
                return r;
        }
        if (!pair) {
                names->asked = true;
                pair = g_new(NamePair, 1);
                pair->vendor = lookup(names, PCI_LOOKUP_VENDOR, vendor, device);
                pair->device = lookup(names, PCI_LOOKUP_DEVICE, vendor, device);
                g_hash_table_insert(names->pairs, key, pair);
        }
        *ret_vendor = g_ref_string_acquire(pair->vendor);
        *ret_device = g_ref_string_acquire(pair->device);
        return 0;
}

void pci_names_drop_file(PciNames *names) {
        g_clear_pointer(&names->ids, pci_ids_free);
        names->asked = false;
}
