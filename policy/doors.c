#include "policy/doors.h"

#include <glib.h>

#define NO_FILE _LOCK_FILE_INVALID
#define VM      "vm/scenarios/"
#define MADE_UP "integration/"

/* clang-format off */
static const Door table[] = {
        /* Files that a lock closes. */
        { "A write to `sriov_numvfs`", DOOR_REFUSED,
          "The file has no write bit while a VF is in use, or a userspace driver has the PF.",
          VM "lock.py: native_driver", LOCK_FILE_SRIOV_NUMVFS },
        { "A write to `sriov_drivers_autoprobe`", DOOR_REFUSED,
          "As for `sriov_numvfs`.",
          VM "lock.py: found_at_start", LOCK_FILE_SRIOV_DRIVERS_AUTOPROBE },
        { "A write to `remove`", DOOR_REFUSED,
          "The file has no write bit while the function or a VF of it is in use.",
          VM "lock.py: plain_function", LOCK_FILE_REMOVE },
        { "A write to `reset`", DOOR_REFUSED,
          "As for `remove`.",
          VM "lock.py: plain_function", LOCK_FILE_RESET },
        { "A write to `reset_method`", DOOR_REFUSED,
          "As for `remove`.",
          VM "lock.py: plain_function", LOCK_FILE_RESET_METHOD },
        { "A write to `power` of the slot", DOOR_REFUSED,
          "The file has no write bit while any function in the slot is in use.",
          VM "hotplug.py: switched_off", LOCK_FILE_SLOT_POWER },
        { "A write to `remove` or `reset` of a bridge above", DOOR_REFUSED,
          "The files of everything above a function in use have no write bits.",
          VM "topology.py: switch", LOCK_FILE_REMOVE },
        { "A write to `reset_subordinate` of a bridge above (since Linux 6.13)", DOOR_REFUSED,
          "As for `remove` of a bridge above.",
          MADE_UP "guard/test_topology.py: test_everything_above_a_held_function",
          LOCK_FILE_RESET_SUBORDINATE },
        { "A write to `power` of a slot that holds a switch", DOOR_REFUSED,
          "As for `remove` of a bridge above.",
          VM "topology.py: switch", LOCK_FILE_SLOT_POWER },
        { "One of these writes in another mount of sysfs, or in another network namespace",
          DOOR_REFUSED,
          "The write bit is missing in every mount.",
          VM "lock.py: everywhere", NO_FILE },

        /* What the daemon is asked for. */
        { "`SetNumVFs`, `Bind`, `Unbind` or `Reset`, of the function or of a bridge above",
          DOOR_REFUSED,
          "The error names the users, and the path to each.",
          VM "operations.py: held", NO_FILE },
        { "`Unplug` of the function", DOOR_ASKED,
          "The users are asked to release it; at the deadline nothing has changed.",
          VM "unplug_with_holders.py: listening", NO_FILE },
        { "`Unplug` of a bridge above", DOOR_ASKED,
          "All users below are asked; then everything is removed from the leaves up.",
          VM "topology.py: obeyed", NO_FILE },
        { "Another program opens the function while its users are asked", DOOR_REFUSED,
          "The device nodes have no write bits meanwhile.",
          VM "unplug_with_holders.py: deaf", NO_FILE },
        { "libvirt starts another domain with the function", DOOR_REFUSED,
          "The hook for libvirt refuses the start.",
          VM "libvirt.py: unknown_holder", NO_FILE },

        /* What nobody can refuse by a mode. */
        { "`chmod` of a locked file", DOOR_SEEN,
          "The file is locked again within 100 ms; signal `Violation` and the journal report it.",
          VM "violation.py: restored_bit", NO_FILE,
          DOOR_REFUSED, VM "kernel_guard.py: files" },
        { "`chmod` in another mount of sysfs", DOOR_SEEN,
          "As in the host's mount, but within seconds: no event reports it.",
          VM "violation.py: restored_elsewhere", NO_FILE,
          DOOR_REFUSED, VM "kernel_guard.py: files" },
        { "A write to `sriov_numvfs` by a descriptor from before the lock", DOOR_SEEN,
          "`Violation`; the PF is tainted. It stays locked until the last user has released its VF.",
          VM "violation.py: descriptor_from_before", NO_FILE,
          DOOR_REFUSED, VM "kernel_guard.py: files" },
        { "A write to `remove` or `power` by a descriptor from before the lock", DOOR_SEEN,
          "The kernel waits for the users. They are notified at once, and the writer is named.",
          VM "external_removal.py: old_descriptors", NO_FILE,
          DOOR_REFUSED, VM "kernel_guard.py: files" },
        { "A write to `unbind` of the driver", DOOR_SEEN,
          "As for `remove` by such a descriptor. The file serves all functions of the driver, so it stays writable.",
          VM "external_removal.py: unbind", NO_FILE,
          DOOR_REFUSED, VM "kernel_guard.py: unbind" },
        { "`virsh nodedev-detach` of a PF", DOOR_SEEN,
          "As for `unbind`.",
          VM "libvirt.py: nodedev_detach", NO_FILE },
        { "`rmmod` or `modprobe -r` of a PF's driver", DOOR_SEEN,
          "As for `unbind`. The driver that leaves is named, and other functions are not concerned.",
          VM "external_removal.py: module", NO_FILE,
          DOOR_REFUSED, VM "kernel_guard.py: files" },
        { "`vmd` is unbound while a function of its domain is in use", DOOR_SEEN,
          "As for `unbind`; the daemon itself refuses it.",
          MADE_UP "guard/test_topology.py: test_another_domain", NO_FILE },
        { "The button of the slot", DOOR_SEEN,
          "All users of functions in the slot are notified before the kernel waits for the first.",
          VM "external_removal.py: button_two_holders", NO_FILE },
        { "A VF's interface is moved to another network namespace", DOOR_SEEN,
          "It takes nothing from the VF. From then on the host uses the VF: see `vfwarden show`.",
          VM "uses.py: pod", NO_FILE },
        { "A program uses the function by uio, or opens a BAR (`resourceN`)", DOOR_SEEN,
          "It takes nothing. From then on vfwarden does not unbind, reset or remove the function.",
          VM "uses.py: program", NO_FILE },
        { "The device is pulled out", DOOR_SEEN,
          "Sessions end with an error; pending calls end; a VF that is left behind is reported.",
          MADE_UP "guard/test_dying.py: test_the_pf_goes_first", NO_FILE },

        /* What takes nothing. */
        { "`rescan`", DOOR_HARMLESS,
          "The kernel looks for functions that are new.",
          VM "inventory.py: removed_and_found", NO_FILE },
        { "`bind`, `new_id` or `drivers_probe` of another driver", DOOR_HARMLESS,
          "A function in use has a driver, and keeps it.", NULL, NO_FILE },
        { "A write to `driver_override`", DOOR_HARMLESS,
          "It counts when the function is bound next.", NULL, NO_FILE,
          DOOR_SEEN, VM "kernel_guard.py: unbind" },
        { "VFIO's hot reset by a user of another function of the bus", DOOR_HARMLESS,
          "VFIO demands every group that the reset reaches. `why ADDRESS reset` names the functions.",
          MADE_UP "guard/test_topology.py: test_a_bus_reset_names_the_siblings", NO_FILE },

        /* What is left. */
        { "`setpci` by the file `config` in sysfs", DOOR_OUT_OF_REACH,
          "The file serves readers, too, and other programs need it.", NULL, NO_FILE,
          DOOR_SEEN, VM "kernel_guard.py: unbind" },
        { "`setpci` by `/proc/bus/pci` or by I/O ports", DOOR_OUT_OF_REACH,
          "Nothing reports it.", NULL, NO_FILE },
        { "`ip link set PF vf ...`", DOOR_OUT_OF_REACH,
          "The PF's driver changes the VF by netlink.", NULL, NO_FILE },
        { "`devlink dev reload`", DOOR_OUT_OF_REACH,
          "The PF's driver restarts the device by netlink.", NULL, NO_FILE },
        { "`ethtool --reset`", DOOR_OUT_OF_REACH,
          "The PF's driver resets the device by ioctl.", NULL, NO_FILE },
        { "NVMe's subsystem reset, and its management of namespaces and VFs", DOOR_OUT_OF_REACH,
          "They are commands to the controller.", NULL, NO_FILE },
        { "Files of the PF's driver that restart the device, such as QAT's `state`",
          DOOR_OUT_OF_REACH,
          "Each driver has its own.", NULL, NO_FILE },
        { "Injection of AER errors", DOOR_OUT_OF_REACH,
          "The kernel resets the link. It is a tool for tests.", NULL, NO_FILE },
        { "Suspend, shutdown and kexec", DOOR_OUT_OF_REACH,
          "Virtual machines are ended or saved by their own manager.", NULL, NO_FILE },
        { "`vfwarden release-all`", DOOR_OUT_OF_REACH,
          "It is there to unlock everything, and the journal has it.",
          VM "config.py: release_all", NO_FILE },
};
/* clang-format on */

const char *door_answer_to_string(DoorAnswer answer) {
        static const char *const words[_DOOR_ANSWER_MAX] = {
                [DOOR_REFUSED] = "refused",
                [DOOR_ASKED] = "asked",
                [DOOR_SEEN] = "seen",
                [DOOR_OUT_OF_REACH] = "out of reach",
                [DOOR_HARMLESS] = "takes nothing",
        };

        return words[answer];
}

const Door *doors(unsigned *ret_n) {
        *ret_n = G_N_ELEMENTS(table);
        return table;
}
