/* function.h: one PCI function: what the kernel shows of it, and what follows from that.
 *
 * FunctionFacts are what was read, at one moment; they hold no decision. A Function is the facts
 * with its links to other functions and the results of the rules. Strings are interned GRefStrings
 * (g_ref_string_new_intern), never NULL, "" where there is nothing: ten thousand functions share
 * the few dozen names there are, and equal strings are equal pointers. Only the inventory makes,
 * changes and frees functions. */
#pragma once

#include "policy/address.h"
#include "policy/device-names.h"
#include "policy/inhibitor.h"
#include "policy/io-session.h"
#include "policy/lease.h"
#include "policy/msi.h"
#include "policy/msix.h"
#include "policy/pasid.h"
#include "policy/pcie.h"
#include "policy/property-set.h"
#include "policy/user.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum FunctionKind {
        FUNCTION_KIND_PF,          /* has an SR-IOV capability that the kernel can use */
        FUNCTION_KIND_VF,          /* a virtual function whose PF this system sees */
        FUNCTION_KIND_DETACHED_VF, /* a virtual function whose PF another system keeps (s390) */
        FUNCTION_KIND_PLAIN,
        _FUNCTION_KIND_MAX,
        _FUNCTION_KIND_INVALID = -EINVAL,
} FunctionKind;

typedef enum FunctionState {
        FUNCTION_STATE_PRESENT,
        FUNCTION_STATE_UNPLUG_REQUESTED,
        FUNCTION_STATE_DRAINING,
        FUNCTION_STATE_REMOVING,
        _FUNCTION_STATE_MAX,
        _FUNCTION_STATE_INVALID = -EINVAL,
} FunctionState;

const char *function_kind_to_string(FunctionKind kind);
const char *function_state_to_string(FunctionState state);

/* The values of identity properties that cannot be read: all ones, as PCI itself answers a read of
 * what is not there. */
#define PCI_ID_UNREADABLE       0xffffU
#define PCI_CLASS_UNREADABLE    0xffffffU
#define PCI_REVISION_UNREADABLE 0xffU

/* VF numbers count from 0; this one says that the PF does not list the VF (yet). */
#define VF_INDEX_UNKNOWN UINT32_MAX

/* One `virtfnN` link of a PF. */
typedef struct VirtfnLink {
        PciKey vf;
        uint32_t index; /* N */
} VirtfnLink;

/* What s390 shows of a function beside PCI's own; 0 where the kernel does not say. The function's
 * handle is not here: it changes whenever the function is enabled, disabled or reset, and no event
 * reports that. */
typedef struct ZpciFacts {
        uint32_t function_id;
        uint32_t uid; /* 0 also while the machine gives none; else often the domain */
        uint16_t pchid;
        uint8_t function_group;
        uint8_t function_type;
        bool mio_enabled;
} ZpciFacts;

/* Whether a handle is that of a function that was taken away, or is switched off: it lacks the
 * enable bit (zdev_enabled() in arch/s390/include/asm/pci.h). The firmware gives such a handle with
 * the event of a surprise removal (zpci_event_hard_deconfigured() in arch/s390/pci/pci_event.c);
 * what the function is asked for from then on, it answers with ones. 0 is no handle. */
bool zpci_handle_is_disabled(uint32_t handle);

/* What a reset by the first of the function's methods reaches. */
typedef enum ResetScope {
        RESET_SCOPE_UNKNOWN,  /* the kernel does not tell; as the next */
        RESET_SCOPE_FUNCTION, /* the function alone */
        RESET_SCOPE_BUS,      /* whatever is on its bus */
        RESET_SCOPE_NONE,     /* there is no method */
} ResetScope;

typedef struct FunctionFacts {
        PciKey key;
        uint64_t
                inode; /* of the sysfs directory: another one means that the device was made anew */
        uint16_t vendor, device, subsystem_vendor, subsystem_device;
        uint32_t class_code;
        int32_t iommu_group; /* -1: none */
        int32_t numa_node;   /* -1: none, or not told */
        uint8_t revision;
        bool has_sriov;         /* sriov_totalvfs exists */
        bool has_physfn;        /* `physfn` exists ... */
        bool vfio_device;       /* `vfio-dev` exists: VFIO has the function (since Linux 6.1) */
        bool numa_node_unknown; /* it could not be read yet; -1 until then */
        bool drivers_autoprobe; /* true also where there is no such file: the kernel's default */
        uint16_t total_vfs;
        bool has_parent; /* a PCI function is above it in sysfs ... */
        ResetScope reset_scope;
        bool s390;         /* `vfn` exists, as on every function of s390 ... */
        uint16_t s390_vfn; /* ... and says this; 0: no virtual function */
        ZpciFacts zpci;    /* of s390 */
        PciKey physfn;     /* ... and points here */
        PciKey parent;     /* ... and this is it: a bridge, or a VMD controller */
        Pasid pasid;       /* the function's own capability */
        Msix msix;
        GRefString *driver;
        GRefString *driver_override;
        GRefString *vendor_name;
        GRefString *device_name;
        GArray *virtfns; /* of VirtfnLink to what exists, by index; NULL when there is none */
        uint16_t n_virtfn_links; /* with those that dangle: when a PF is unplugged its VFs go first
                                  * and leave their links (seen on 6.12); a write to sriov_numvfs
                                  * takes both */
} FunctionFacts;

/* Frees what `facts` holds, not `facts`; leaves it empty. */
void function_facts_clear(FunctionFacts *facts);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(FunctionFacts, function_facts_clear)

/* Something that was begun and has not ended: it may hang in the kernel for as long as a user
 * likes. */
typedef struct RunningOperation {
        const char *name;    /* of the operation, as in the contract */
        uint64_t since_usec; /* CLOCK_REALTIME */
        uint32_t
                pid; /* of the process that is in the kernel with it, 0 if it is the kernel's own */
} RunningOperation;

/* The same of what somebody else began; see external-removal.h. */
typedef struct RemovalOperation {
        RunningOperation running;
        PciKey subject;     /* whom it is done to: the function itself, or its PF, ... */
        GRefString *driver; /* that leaves with its module; NULL: something else happens */
        bool takes;         /* the function goes in the end, and not only its driver */
} RemovalOperation;

typedef struct TopologyBelow TopologyBelow;

typedef struct Function Function;
struct Function {
        FunctionFacts facts;
        FunctionKind kind;
        FunctionState state;

        Function *pf;   /* of a VF; NULL while the inventory does not have it */
        uint32_t index; /* of a VF; VF_INDEX_UNKNOWN while no PF lists it */
        uint16_t n_vfs_taken, n_vfs_switched; /* of a PF: see vf-departure.h */
        GPtrArray *vfs; /* of a PF: borrowed Function*, by index; NULL when there is none */

        Function *parent; /* what it is below; NULL: nothing, or not known yet */
        Function *next_sibling, *previous_sibling; /* below the same parent; see topology.h */
        TopologyBelow *below;                      /* owned by topology.h; NULL: nothing is below */
        GRefString *
                last_driver; /* the present one, or when it has none the one before; "": none yet */
        const char *slot;    /* interned name of the slot that it is in by itself, NULL: none */

        Pcie pcie; /* as it was read last; zeros while that is not known, and of a VF */

        MsiEvidence *msi; /* owned; NULL while its MSI-X capability is not known, or not there */

        GPtrArray *users;                  /* of User*, owned; NULL when nobody has it open */
        GPtrArray *uses;                   /* of Use*, owned; NULL when the host uses it not */
        DeviceNames *names;                /* owned; NULL when it has no devices with names */
        const IoSession *session;          /* NULL: none. Its client is among the users. */
        const Lease *lease;                /* NULL: nobody had it opened by us */
        GPtrArray *inhibitors;             /* of Inhibitor*, borrowed; NULL when there is none */
        const RunningOperation *operation; /* what we are doing to it; NULL: nothing */
        const RemovalOperation
                *outside; /* what somebody else does that takes it away; NULL: nothing */

        unsigned marks;           /* TopologyMark bits that it is counted with */
        unsigned lock_reasons;    /* LockReason bits that hold */
        unsigned lock_files;      /* LockFile bits that they lock, whether the files exist or not */
        unsigned protected_files; /* LockFile bits that are locked now */
        char *lock_why;           /* what the administrator said; NULL without their lock */
        uint64_t violations;      /* of its locks, since the function is known */
        bool unreadable_vfs; /* it lists VFs that cannot be read at present, which may be in use */
        bool was_native;     /* its last driver is none of VFIO's */
        bool emulated;       /* I/O sessions go to memory, as configured */
        bool userspace_driver; /* a PF that a userspace driver, and so a VMM, has or has had */
        bool tainted;          /* a PF whose VFs were changed in spite of a lock */
        bool unplugging;       /* its removal cannot be cancelled; a restarted daemon goes on */
        char *unplug_asked;    /* while it is unbound for that: see unplug_users_text() */

        PropertySet changes; /* that no signal has reported yet */
};

PciAddress function_address(const Function *function);

/* Orders elements of a GPtrArray of Function* by address; a GCompareFunc. */
int function_compare(gconstpointer a, gconstpointer b);

/* The kind of the function by its `facts`. `before` is its kind so far, _FUNCTION_KIND_INVALID if
 * it is new: the kernel takes the links of a dying VF away before it takes the VF
 * (pci_iov_remove_virtfn()), and a VF without them is a VF still. */
FunctionKind function_kind(const FunctionFacts *facts, FunctionKind before);

/* Whether PCI_COMMAND_MEMORY of such a function can never be set: the rule for virtual functions in
 * SR-IOV 1.1, 3.4.1.3, be their PF in sight or not. */
bool function_kind_memory_hardwired_zero(FunctionKind kind);

bool function_in_use(const Function *function);

/* Whether one of its users has it by Open(). */
bool function_is_brokered(const Function *function);

/* Whether a user has it from whom it must not be taken: any but a single load or store over D-Bus,
 * which ends within moments when another client wants the function. */
bool function_is_held(const Function *function);

/* Whether something depends on `vf`'s PF having its PASID capability enabled: the VF is in use, and
 * it is. Nothing switches it off for anybody else's sake (pci_disable_pasid() does not look at
 * VFs). */
bool function_depends_on_pasid(const Function *vf);

/* The PASID capability that serves the function: its own, or for a VF its PF's (PCIe 6.0, 9.3.7.14:
 * VFs share the PF's). `*ret_provider` is whose it is. Returns NULL when there is none. */
const Pasid *function_pasid(const Function *function, const Function **ret_provider);

/* Whether a VMM may map the function's MSI-X table; false also while nothing is known of it. */
bool function_msix_table_mappable(const Function *function);

/* Whether a VFIO driver has it: the kernel shows VFIO's device below it (since Linux 6.1), or the
 * driver's name says so. */
bool function_has_vfio_driver(const Function *function);

/* Whether the driver is one of the host: without it there is no network interface and no disk, even
 * where no event has said so yet. */
bool function_has_host_driver(const Function *function);

/* The back end that its I/O session has, or that one would have as far as can be said without
 * opening the device;
 * "" when it can have none. */
const char *function_io_backend(const Function *function);

/* The longest store block of that back end in bytes, 0 when only the open device tells; and whether
 * length and alignment are free. */
uint16_t function_io_max_store_block(const Function *function);
bool function_io_relaxed(const Function *function);

/* The number of virtual functions that a PF's links show, 0 for any other function. */
uint16_t function_num_vfs(const Function *function);
