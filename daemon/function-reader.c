#include "daemon/function-reader.h"

#include "daemon/log.h"
#include "daemon/sysfs.h"
#include "daemon/util.h"
#include "policy/number.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Reads a number of at most `max`; `otherwise` where there is none or none that is right. */
static uint64_t read_number(int dirfd, const char *name, unsigned base, uint64_t max,
                            uint64_t otherwise) {
        char value[SYSFS_VALUE_MAX];
        uint64_t number;

        if (sysfs_read(dirfd, name, value, sizeof(value)) < 0 ||
            number_parse(value, base, max, &number) < 0)
                return otherwise;
        return number;
}

static int32_t read_numa_node(int dirfd) {
        char value[SYSFS_VALUE_MAX];
        int32_t node;

        if (sysfs_read(dirfd, "numa_node", value, sizeof(value)) < 0 ||
            number_parse_int(value, -1, &node) < 0)
                return -1;
        return node;
}

static int32_t read_iommu_group(int dirfd) {
        char value[NAME_MAX + 1];
        int32_t group;

        if (sysfs_read_link(dirfd, "iommu_group", value, sizeof(value)) < 0 ||
            number_parse_int(value, 0, &group) < 0)
                return -1;
        return group;
}

static GRefString *read_driver(int dirfd) {
        char value[NAME_MAX + 1];

        if (sysfs_read_link(dirfd, "driver", value, sizeof(value)) < 0)
                value[0] = '\0';
        return g_ref_string_new_intern(value);
}

static int compare_links(gconstpointer a, gconstpointer b) {
        uint32_t x = ((const VirtfnLink *) a)->index, y = ((const VirtfnLink *) b)->index;

        return (x > y) - (x < y);
}

/* The virtfnN links of a PF by N, NULL when there is none. `*ret_n` counts those that dangle, too. */
static GArray *read_virtfns(int dirfd, uint16_t *ret_n) {
        g_autoptr(GArray) links = NULL;
        _cleanup_(closedirp) DIR *dir = opendir_at(dirfd, ".");

        if (!dir)
                return NULL;

        for (struct dirent *entry; (entry = readdir(dir));) {
                char target[NAME_MAX + 1];
                PciAddress vf;
                uint64_t index;

                if (!g_str_has_prefix(entry->d_name, "virtfn") ||
                    number_parse(entry->d_name + strlen("virtfn"), 10, UINT16_MAX, &index) < 0 ||
                    sysfs_read_link(dirfd, entry->d_name, target, sizeof(target)) < 0 ||
                    pci_address_parse(target, &vf) < 0)
                        continue;
                (*ret_n)++;
                if (faccessat(dirfd, entry->d_name, F_OK, 0) < 0)
                        continue;
                if (!links)
                        links = g_array_new(FALSE, FALSE, sizeof(VirtfnLink));
                VirtfnLink link = { .vf = pci_address_key(vf), .index = (uint32_t) index };
                g_array_append_val(links, link);
        }

        if (links)
                g_array_sort(links, compare_links);
        return g_steal_pointer(&links);
}

static void read_sriov(int dirfd, const FunctionFacts *known, FunctionFacts *facts) {
        char value[SYSFS_VALUE_MAX];
        PciAddress pf;

        facts->drivers_autoprobe = true;
        if (sysfs_read_link(dirfd, "physfn", value, sizeof(value)) >= 0 &&
            pci_address_parse(value, &pf) == 0) {
                facts->has_physfn = true;
                facts->physfn = pci_address_key(pf);
                return; /* a VF has no VFs of its own */
        }

        /* The files exist on every function that the kernel took for a PF, bound or not, from its
         * first moment (pci_iov_init() comes before device_add()) to its last. */
        if (known && !known->has_sriov)
                return;
        if (sysfs_read(dirfd, "sriov_totalvfs", value, sizeof(value)) < 0)
                return;
        uint64_t total;
        facts->has_sriov = true;
        facts->total_vfs = number_parse(value, 10, UINT16_MAX, &total) < 0 ? 0 : (uint16_t) total;
        facts->drivers_autoprobe = read_number(dirfd, "sriov_drivers_autoprobe", 10, 1, 1);
        facts->virtfns = read_virtfns(dirfd, &facts->n_virtfn_links);
}

static void read_s390(int dirfd, FunctionFacts *facts) {
        char value[SYSFS_VALUE_MAX];
        uint64_t vfn;

        if (sysfs_read(dirfd, "vfn", value, sizeof(value)) < 0)
                return;
        facts->s390 = true;
        facts->s390_vfn = number_parse(value, 16, UINT16_MAX, &vfn) < 0 ? 0 : (uint16_t) vfn;
        facts->zpci = (ZpciFacts){
                .function_id = (uint32_t) read_number(dirfd, "function_id", 16, UINT32_MAX, 0),
                .uid = (uint32_t) read_number(dirfd, "uid", 16, UINT32_MAX, 0),
                .pchid = (uint16_t) read_number(dirfd, "pchid", 16, UINT16_MAX, 0),
                .function_group = (uint8_t) read_number(dirfd, "pfgid", 16, UINT8_MAX, 0),
                .function_type = (uint8_t) read_number(dirfd, "pft", 16, UINT8_MAX, 0),
                .mio_enabled = read_number(dirfd, "mio_enabled", 10, 1, 0),
        };
}

/* Reads what never changes while a device is the same device (or is made anew: another inode). */
static void read_identity(int dirfd, PciNames *names, FunctionFacts *facts) {
        facts->vendor = (uint16_t) read_number(dirfd, "vendor", 16, UINT16_MAX, PCI_ID_UNREADABLE);
        facts->device = (uint16_t) read_number(dirfd, "device", 16, UINT16_MAX, PCI_ID_UNREADABLE);
        facts->subsystem_vendor = (uint16_t) read_number(dirfd, "subsystem_vendor", 16, UINT16_MAX,
                                                         PCI_ID_UNREADABLE);
        facts->subsystem_device = (uint16_t) read_number(dirfd, "subsystem_device", 16, UINT16_MAX,
                                                         PCI_ID_UNREADABLE);
        facts->class_code =
                (uint32_t) read_number(dirfd, "class", 16, 0xffffff, PCI_CLASS_UNREADABLE);
        facts->revision =
                (uint8_t) read_number(dirfd, "revision", 16, UINT8_MAX, PCI_REVISION_UNREADABLE);
        read_s390(dirfd, facts);
        pci_names_lookup(names, facts->vendor, facts->device, &facts->vendor_name,
                         &facts->device_name);
}

/* Whether `known` spares reading the identity again: all of it was there. */
static bool identity_known(const FunctionFacts *known, uint64_t inode) {
        return known && known->inode == inode && known->vendor != PCI_ID_UNREADABLE &&
               known->device != PCI_ID_UNREADABLE && known->subsystem_vendor != PCI_ID_UNREADABLE &&
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
        facts->vendor_name = g_ref_string_acquire(known->vendor_name);
        facts->device_name = g_ref_string_acquire(known->device_name);
}

int function_read(PciKey key, const FunctionFacts *known, PciNames *names, FunctionFacts *ret) {
        g_auto(FunctionFacts) facts = { .key = key };
        PciAddress address = pci_address_from_key(key);
        _cleanup_(closep) int dirfd = -1;
        struct stat st, again;

        dirfd = sysfs_open_function(address);
        if (dirfd < 0)
                return dirfd;
        if (fstat(dirfd, &st) < 0)
                return -errno;

        facts.inode = st.st_ino;
        if (!identity_known(known, facts.inode))
                known = NULL;
        if (known)
                copy_identity(known, &facts);
        else
                read_identity(dirfd, names, &facts);
        facts.iommu_group = read_iommu_group(dirfd);
        facts.numa_node = read_numa_node(dirfd);
        facts.driver = read_driver(dirfd);
        facts.vfio_device = faccessat(dirfd, "vfio-dev", F_OK, 0) == 0;
        facts.driver_override = g_ref_string_new_intern("");
        read_sriov(dirfd, known, &facts);

        if (faccessat(dirfd, "vendor", F_OK, 0) < 0 || facts.vendor == PCI_ID_UNREADABLE) {
                g_autofree char *path = sysfs_function_path(address, NULL);

                /* A device without `vendor` is strange if it is still there, else just going. */
                if (stat(path, &again) < 0 || again.st_ino != st.st_ino)
                        return -ENOENT;
                log_full(LOG_DEBUG, &address, NULL, "vendor is missing or unreadable");
        }

        *ret = facts;
        facts = (FunctionFacts){ 0 };
        return 0;
}

uint32_t function_read_handle(const Function *function) {
        _cleanup_(closep) int dirfd = -1;
        struct stat st;

        dirfd = sysfs_open_function(function_address(function));
        if (dirfd < 0 || fstat(dirfd, &st) < 0 || st.st_ino != function->facts.inode)
                return 0;
        return (uint32_t) read_number(dirfd, "function_handle", 16, UINT32_MAX, 0);
}
