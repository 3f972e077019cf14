#include "daemon/sysfs/function-reader.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/sysfs/sysfs.h"
#include "daemon/sysfs/virtfn-links.h"
#include "policy/absence.h"
#include "policy/bus-reset.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A reading in progress. A fact that cannot be read keeps its last known value. */
typedef struct Reading {
        int dirfd;
        const FunctionFacts *known; /* of this very device; NULL when it is new */
        FunctionReadFailure failure;
        bool hopeless; /* it is new, and cannot be shown without a fact that cannot be read */
} Reading;

/* The last known value of a fact, or else `unknown`. */
#define KNOWN(reading, fact, unknown) ((reading)->known ? (reading)->known->fact : (unknown))

/* Whether `r`, of a look at the file `name`, leaves the fact as it was known. A value that makes no
 * sense is "unknown" where nothing better is known. */
static bool is_unreadable(Reading *reading, const char *name, int r) {
        if (r >= 0 || errno_means_absent(r) || (!reading->known && errno_means_malformed(r)))
                return false;
        if (reading->failure.error == 0)
                reading->failure = (FunctionReadFailure){ r, name };
        return true;
}

/* The same for a fact on which locks depend, or that never changes for clients. */
static bool is_essential_unreadable(Reading *reading, const char *name, int r) {
        if (!is_unreadable(reading, name, r))
                return false;
        reading->hopeless = reading->hopeless || !reading->known;
        return true;
}

/* Reads a number of at most `max`; `otherwise` where there is none or none that is right, `kept`
 * where it cannot be read. */
static uint64_t function_reader_read_number(Reading *reading, const char *name, unsigned base,
                                            uint64_t max, uint64_t otherwise, uint64_t kept) {
        char value[SYSFS_VALUE_MAX];
        ssize_t n = sysfs_read(reading->dirfd, name, value, sizeof(value));
        uint64_t number;

        if (is_essential_unreadable(reading, name, (int) n))
                return kept;
        return n < 0 || number_parse(value, base, max, &number) < 0 ? otherwise : number;
}

static bool read_autoprobe(Reading *reading) {
        static const char name[] = "sriov_drivers_autoprobe";
        char value[SYSFS_VALUE_MAX];
        ssize_t n = sysfs_read(reading->dirfd, name, value, sizeof(value));
        uint64_t number;

        if (is_unreadable(reading, name, (int) n))
                return KNOWN(reading, drivers_autoprobe, true);
        return n < 0 || number_parse(value, 10, 1, &number) < 0 || number == 1;
}

static void read_numa_node(Reading *reading, FunctionFacts *facts) {
        char value[SYSFS_VALUE_MAX];
        ssize_t n = sysfs_read(reading->dirfd, "numa_node", value, sizeof(value));
        int32_t node;

        facts->numa_node = -1;
        if (is_unreadable(reading, "numa_node", (int) n)) {
                facts->numa_node = KNOWN(reading, numa_node, -1);
                facts->numa_node_unknown = KNOWN(reading, numa_node_unknown, true);
        } else if (n >= 0 && number_parse_int(value, -1, &node) >= 0)
                facts->numa_node = node;
}

static int32_t read_iommu_group(Reading *reading) {
        char value[NAME_MAX + 1];
        ssize_t n = sysfs_read_link(reading->dirfd, "iommu_group", value, sizeof(value));
        int32_t group;

        if (is_essential_unreadable(reading, "iommu_group", (int) n))
                return KNOWN(reading, iommu_group, -1);
        return n < 0 || number_parse_int(value, 0, &group) < 0 ? -1 : group;
}

static GRefString *read_driver(Reading *reading) {
        char value[NAME_MAX + 1];
        ssize_t n = sysfs_read_link(reading->dirfd, "driver", value, sizeof(value));

        if (is_essential_unreadable(reading, "driver", (int) n) && reading->known)
                return g_ref_string_acquire(reading->known->driver);
        return g_ref_string_new_intern(n < 0 ? "" : value);
}

static bool read_vfio_device(Reading *reading) {
        int r = faccessat(reading->dirfd, "vfio-dev", F_OK, 0) < 0 ? -errno : 0;

        if (is_essential_unreadable(reading, "vfio-dev", r))
                return KNOWN(reading, vfio_device, false);
        return r == 0;
}

static void copy_sriov(const FunctionFacts *known, FunctionFacts *facts) {
        facts->drivers_autoprobe = known->drivers_autoprobe;
        facts->has_physfn = known->has_physfn;
        facts->physfn = known->physfn;
        facts->has_sriov = known->has_sriov;
        facts->total_vfs = known->total_vfs;
        facts->virtfns = known->virtfns ? g_array_ref(known->virtfns) : NULL;
        facts->n_virtfn_links = known->n_virtfn_links;
}

/* Reads all that copy_sriov() would copy. Returns 0, or a negative errno with the file that cannot
 * be looked at. */
static int read_sriov(Reading *reading, FunctionFacts *facts, const char **ret_file) {
        char value[SYSFS_VALUE_MAX];
        PciAddress pf;
        uint64_t total;
        ssize_t n;

        facts->drivers_autoprobe = true;
        *ret_file = "physfn";
        n = sysfs_read_link(reading->dirfd, "physfn", value, sizeof(value));
        if (n >= 0 && pci_address_parse(value, &pf) == 0) {
                facts->has_physfn = true;
                facts->physfn = pci_address_key(pf);
                return 0; /* a VF has no VFs of its own */
        }
        if (n < 0 && !errno_means_absent((int) n))
                return (int) n;

        /* The files exist on every function that the kernel took for a PF, bound or not, from its
         * first moment (pci_iov_init() comes before device_add()) to its last. */
        if (reading->known && !reading->known->has_sriov)
                return 0;
        *ret_file = "sriov_totalvfs";
        n = sysfs_read(reading->dirfd, "sriov_totalvfs", value, sizeof(value));
        if (n < 0)
                return errno_means_absent((int) n) ? 0 : (int) n;
        facts->has_sriov = true;
        facts->total_vfs = number_parse(value, 10, UINT16_MAX, &total) < 0 ? 0 : (uint16_t) total;
        facts->drivers_autoprobe = read_autoprobe(reading);
        *ret_file = "virtfn links";
        return virtfn_links_read(reading->dirfd, &facts->virtfns, &facts->n_virtfn_links);
}

/* All of it or none: a function without its link to its PF would be another kind of function. */
static void take_sriov(Reading *reading, FunctionFacts *facts) {
        g_auto(FunctionFacts) read = { 0 };
        const char *file = NULL;
        int r = read_sriov(reading, &read, &file);

        copy_sriov(is_essential_unreadable(reading, file, r) && reading->known ? reading->known
                                                                               : &read,
                   facts);
}

static void read_s390(Reading *reading, FunctionFacts *facts) {
        char value[SYSFS_VALUE_MAX];
        ssize_t n = sysfs_read(reading->dirfd, "vfn", value, sizeof(value));
        uint64_t vfn;

        if (is_essential_unreadable(reading, "vfn", (int) n) && reading->known) {
                facts->s390 = reading->known->s390;
                facts->s390_vfn = reading->known->s390_vfn;
                facts->zpci = reading->known->zpci;
                return;
        }
        if (n < 0)
                return;
        facts->s390 = true;
        facts->s390_vfn = number_parse(value, 16, UINT16_MAX, &vfn) < 0 ? 0 : (uint16_t) vfn;
#define READ(file, base, type, max, fact)                                \
        ((type) function_reader_read_number(reading, file, base, max, 0, \
                                            KNOWN(reading, zpci.fact, 0)))
        facts->zpci = (ZpciFacts){
                .function_id = READ("function_id", 16, uint32_t, UINT32_MAX, function_id),
                .uid = READ("uid", 16, uint32_t, UINT32_MAX, uid),
                .pchid = READ("pchid", 16, uint16_t, UINT16_MAX, pchid),
                .function_group = READ("pfgid", 16, uint8_t, UINT8_MAX, function_group),
                .function_type = READ("pft", 16, uint8_t, UINT8_MAX, function_type),
                .mio_enabled = READ("mio_enabled", 10, bool, 1, mio_enabled),
        };
#undef READ
}

/* The function above is the part of the path before its own, or the one before that where a root
 * bus is between: "../../../devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:01.0". */
static void read_parent(Reading *reading, FunctionFacts *facts) {
        g_autofree char *path = sysfs_function_path(pci_address_from_key(facts->key), NULL);
        char target[PATH_MAX];
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        g_auto(GStrv) parts = NULL;

        if (is_essential_unreadable(reading, "its path", n < 0 ? -errno : 0) || n < 0)
                return;
        target[n] = '\0';
        parts = g_strsplit(target, "/", -1);
        for (guint i = g_strv_length(parts); i > 1 && !facts->has_parent; i--) {
                PciAddress above;

                if (pci_address_parse(parts[i - 2], &above) < 0)
                        continue;
                facts->has_parent = true;
                facts->parent = pci_address_key(above);
        }
}

/* Without `reset` the kernel has found no method, and there is no `reset_method` either
 * (pci_dev_reset_attr_is_visible(), pci_dev_reset_method_attr_is_visible()). That one is there
 * since Linux 5.15, and empty when an administrator took all methods away. */
static ResetScope read_reset_scope(Reading *reading) {
        char value[SYSFS_VALUE_MAX];
        ssize_t n = sysfs_read(reading->dirfd, "reset_method", value, sizeof(value));
        int r;

        if (n >= 0)
                return reset_scope_parse(value);
        if (is_unreadable(reading, "reset_method", (int) n))
                return RESET_SCOPE_UNKNOWN;
        r = faccessat(reading->dirfd, "reset", F_OK, 0) < 0 ? -errno : 0;
        return is_unreadable(reading, "reset", r) || r == 0 ? RESET_SCOPE_UNKNOWN
                                                            : RESET_SCOPE_NONE;
}

/* The names that a PF's VFs will have are looked for with its own, while the file is at hand: for
 * the first VF it would be read again, which takes as long as reading many VFs. */
static void prepare_vf_names(const Reading *reading, PciNames *names, uint16_t vendor) {
        g_autoptr(GRefString) vendor_name = NULL, device_name = NULL;
        char value[SYSFS_VALUE_MAX];
        uint64_t device;

        if (sysfs_read(reading->dirfd, "sriov_vf_device", value, sizeof(value)) >= 0 &&
            number_parse(value, 16, UINT16_MAX, &device) >= 0)
                (void) pci_names_lookup(names, vendor, (uint16_t) device, &vendor_name,
                                        &device_name);
}

/* Reads what never changes while a device is the same device (or is made anew: another inode). */
static void function_reader_read_identity(Reading *reading, PciNames *names, FunctionFacts *facts) {
        int r;

#define READ(file, type, max, fact, unreadable)                                 \
        ((type) function_reader_read_number(reading, file, 16, max, unreadable, \
                                            KNOWN(reading, fact, unreadable)))
        facts->vendor = READ("vendor", uint16_t, UINT16_MAX, vendor, PCI_ID_UNREADABLE);
        facts->device = READ("device", uint16_t, UINT16_MAX, device, PCI_ID_UNREADABLE);
        facts->subsystem_vendor =
                READ("subsystem_vendor", uint16_t, UINT16_MAX, subsystem_vendor, PCI_ID_UNREADABLE);
        facts->subsystem_device =
                READ("subsystem_device", uint16_t, UINT16_MAX, subsystem_device, PCI_ID_UNREADABLE);
        facts->class_code = READ("class", uint32_t, 0xffffff, class_code, PCI_CLASS_UNREADABLE);
        facts->revision = READ("revision", uint8_t, UINT8_MAX, revision, PCI_REVISION_UNREADABLE);
#undef READ
        read_s390(reading, facts);
        read_parent(reading, facts);
        r = pci_names_lookup(names, facts->vendor, facts->device, &facts->vendor_name,
                             &facts->device_name);
        (void) is_essential_unreadable(reading, "pci.ids", r);
        if (r >= 0 && facts->has_sriov)
                prepare_vf_names(reading, names, facts->vendor);
}

/* Whether `known` spares reading the identity again: all of it was there. */
static bool identity_known(const FunctionFacts *known) {
        return known && known->vendor != PCI_ID_UNREADABLE && known->device != PCI_ID_UNREADABLE &&
               known->subsystem_vendor != PCI_ID_UNREADABLE &&
               known->subsystem_device != PCI_ID_UNREADABLE &&
               known->class_code != PCI_CLASS_UNREADABLE &&
               known->revision != PCI_REVISION_UNREADABLE;
}

static void copy_identity(const FunctionFacts *known, FunctionFacts *facts) {
        facts->vendor = known->vendor;
        facts->device = known->device;
        facts->subsystem_vendor = known->subsystem_vendor;
        facts->subsystem_device = known->subsystem_device;
        facts->class_code = known->class_code;
        facts->revision = known->revision;
        facts->s390 = known->s390;
        facts->s390_vfn = known->s390_vfn;
        facts->zpci = known->zpci;
        facts->has_parent = known->has_parent;
        facts->parent = known->parent;
        facts->vendor_name = g_ref_string_acquire(known->vendor_name);
        facts->device_name = g_ref_string_acquire(known->device_name);
}

/* Whether both are VFs of one PF, which have the same identity. The kernel gives a new VF the
 * vendor of its PF, the device ID in the PF's SR-IOV capability, and the class, revision and
 * subsystem that it read from the first VF (pci_iov_add_virtfn() in drivers/pci/iov.c, pci_class()
 * and pci_subsystem_ids() in drivers/pci/probe.c). A new one has its NUMA node from its bus
 * (pci_device_add()), and the buses that a PF's VFs need have theirs from the bridge above the PF
 * (virtfn_add_bus(), pci_alloc_child_bus()). A VF of s390 has an identity of its own. */
static bool shares_identity(const FunctionFacts *facts, const FunctionFacts *sibling) {
        return sibling && facts->has_physfn && sibling->has_physfn &&
               facts->physfn == sibling->physfn && !sibling->s390 && identity_known(sibling);
}

/* A device without `vendor` is strange if it is still there, else just going. Returns 0 if it is
 * there, -ENOENT if it has gone, or another negative errno. */
static int check_presence(Reading *reading, PciAddress address, uint64_t inode) {
        g_autofree char *path = sysfs_function_path(address, NULL);
        struct stat st;

        if (stat(path, &st) < 0)
                return -errno;
        if (st.st_ino != inode)
                return -ENOENT;
        log_full(LOG_DEBUG, &address, NULL, "vendor is missing or unreadable");
        return 0;
}

/* Reads all facts of the device that `reading` has open. */
static int read_facts(Reading *reading, const FunctionFacts *sibling, PciNames *names,
                      FunctionFacts *facts) {
        take_sriov(reading, facts);
        if (identity_known(reading->known))
                copy_identity(reading->known, facts);
        else if (shares_identity(facts, sibling))
                copy_identity(sibling, facts);
        else
                function_reader_read_identity(reading, names, facts);
        if (!reading->known && shares_identity(facts, sibling) && !sibling->numa_node_unknown)
                facts->numa_node = sibling->numa_node;
        else
                read_numa_node(reading, facts);
        facts->iommu_group = read_iommu_group(reading);
        facts->driver = read_driver(reading);
        facts->vfio_device = read_vfio_device(reading);
        facts->reset_scope = KNOWN(reading, reset_scope, RESET_SCOPE_UNKNOWN);
        if (facts->reset_scope == RESET_SCOPE_UNKNOWN) /* else see function_read_reset_scope() */
                facts->reset_scope = read_reset_scope(reading);
        facts->driver_override = g_ref_string_new_intern("");

        if (faccessat(reading->dirfd, "vendor", F_OK, 0) < 0 || facts->vendor == PCI_ID_UNREADABLE)
                return check_presence(reading, pci_address_from_key(facts->key), facts->inode);
        return 0;
}

int function_read(PciKey key, const FunctionFacts *known, const FunctionFacts *sibling,
                  PciNames *names, FunctionReadFailure *ret_failure, FunctionFacts *ret) {
        g_auto(FunctionFacts) facts = { .key = key };
        _cleanup_(closep) int dirfd = sysfs_open_function(pci_address_from_key(key));
        Reading reading = { .dirfd = dirfd };
        struct stat st;
        int r = dirfd < 0 ? dirfd : 0;

        if (r == 0 && fstat(dirfd, &st) < 0)
                r = -errno;
        if (r < 0) {
                *ret_failure = (FunctionReadFailure){ r, "its directory" };
                return r;
        }
        facts.inode = st.st_ino;
        reading.known = known && known->inode == facts.inode ? known : NULL;
        r = read_facts(&reading, sibling, names, &facts);
        if (r == 0 && reading.hopeless)
                r = reading.failure.error;
        if (r < 0) {
                *ret_failure = reading.failure.error == 0
                                       ? (FunctionReadFailure){ r, "its directory" }
                                       : reading.failure;
                return r;
        }
        if (reading.failure.error != 0)
                *ret_failure = reading.failure;
        *ret = facts;
        facts = (FunctionFacts){ 0 };
        return reading.failure.error != 0;
}

uint32_t function_read_handle(const Function *function) {
        _cleanup_(closep) int dirfd = sysfs_open_function(function_address(function));
        Reading reading = { .dirfd = dirfd };
        struct stat st;

        if (dirfd < 0 || fstat(dirfd, &st) < 0 || st.st_ino != function->facts.inode)
                return 0;
        return (uint32_t) function_reader_read_number(&reading, "function_handle", 16, UINT32_MAX,
                                                      0, 0);
}

ResetScope function_read_reset_scope(const Function *function) {
        _cleanup_(closep) int dirfd = sysfs_open_function(function_address(function));
        Reading reading = { .dirfd = dirfd, .known = &function->facts };
        struct stat st;

        if (dirfd < 0 || fstat(dirfd, &st) < 0 || st.st_ino != function->facts.inode)
                return function->facts.reset_scope;
        return read_reset_scope(&reading);
}
