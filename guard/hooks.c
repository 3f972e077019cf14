#include "guard/hooks.h"

#include "policy/kernel-guard.h"

#include <string.h>

#define GUARD(name) (1U << KERNEL_GUARD_##name)

/* bpf_lsm_inode_setattr() has a third argument since the idmapped mounts have one (seen on 6.12 and
 * 7.2; two on 6.1). */
static const GuardHook hooks[] = {
        { GUARD_PIN_WRITE_LINK, "write_lsm", "lsm", "bpf_lsm_file_permission", 2,
          GUARD(UNBIND) | GUARD(DESCRIPTOR), GUARD_PIN_WRITE_PROGRAM },
        { GUARD_PIN_WRITE_LINK, "write_fmod", "fmod_ret", "security_file_permission", 2,
          GUARD(UNBIND) | GUARD(DESCRIPTOR), GUARD_PIN_WRITE_PROGRAM },
        { "chmod", "chmod_lsm", "lsm", "bpf_lsm_inode_setattr", 3, GUARD(CHMOD) },
        { "chmod", "chmod_lsm2", "lsm", "bpf_lsm_inode_setattr", 2, GUARD(CHMOD) },
        { "chmod", "chmod_fmod", "fmod_ret", "security_inode_setattr", 3, GUARD(CHMOD) },
        { "module", "module_lsm", "lsm", "bpf_lsm_capable", 4, GUARD(MODULE) },
        { "module", "module_fmod", "fmod_ret", "security_capable", 4, GUARD(MODULE) },
        { "netlink", "netlink_lsm", "lsm", "bpf_lsm_netlink_send", 2, GUARD(NETWORK) },
        { "netlink", "netlink_fmod", "fmod_ret", "security_netlink_send", 2, GUARD(NETWORK) },
        { "ioctl", "ioctl_lsm", "lsm", "bpf_lsm_file_ioctl", 3, GUARD(NETWORK) },
        { "ioctl", "ioctl_fmod", "fmod_ret", "security_file_ioctl", 3, GUARD(NETWORK) },
        { "release-driver", "release_driver", "fentry", "device_release_driver_internal", 3, 0 },
        { "release-disable", "release_disable", "fentry", "pci_disable_device", 1, 0 },
        { "release-enable", "release_enable", "fentry", "pci_enable_device", 1, 0 },
};

bool hooks_bpf_is_lsm(const char *lsms) {
        while (*lsms) {
                size_t length = strcspn(lsms, ",\n");

                if (length == strlen("bpf") && strncmp(lsms, "bpf", length) == 0)
                        return true;
                lsms += length + (lsms[length] != '\0');
        }
        return false;
}

static bool suits(const GuardHook *hook, const struct btf *btf, bool bpf_is_lsm) {
        const struct btf_type *type;
        int id;

        if (strcmp(hook->how, "fentry") != 0 && (strcmp(hook->how, "lsm") == 0) != bpf_is_lsm)
                return false;
        id = btf__find_by_name_kind(btf, hook->function, BTF_KIND_FUNC);
        type = id > 0 ? btf__type_by_id(btf, (__u32) id) : NULL;
        type = type ? btf__type_by_id(btf, type->type) : NULL;
        return type && btf_is_func_proto(type) && btf_vlen(type) == hook->n_arguments;
}

const GuardHook *hooks_next(const struct btf *btf, bool bpf_is_lsm, unsigned *index) {
        while (*index < sizeof(hooks) / sizeof(hooks[0])) {
                const GuardHook *hook = &hooks[(*index)++];

                if (suits(hook, btf, bpf_is_lsm))
                        return hook;
        }
        return NULL;
}
