/* The programs of the kernel guard. Each check is written once; it runs as an LSM program where
 * `bpf` is an active LSM, and as fmod_ret on the same hook's security_*() function elsewhere.
 *
 * What refuses reads kernel memory by typed pointers only: a kernel locked down for confidentiality
 * does not load programs that call bpf_probe_read_kernel() (LOCKDOWN_BPF_READ_KERNEL). Whatever
 * cannot be read is refused, but only where the file belongs to a driver that has a guarded
 * function: all others have no entry in `files`. */
#include "guard/kernel-types.h"
#include "policy/guard-layout.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define SYSFS_MAGIC    0x62656572
#define MAY_WRITE      0x2
#define ATTR_MODE      0x1
#define WRITE_BITS     0222
#define CAP_FOWNER     3
#define CAP_SYS_MODULE 16
#define EPERM          1

/* include/linux/sched.h. PF_USER_WORKER since 6.4; the bit was unused before. */
#define PF_IO_WORKER   0x00000010
#define PF_USER_WORKER 0x00004000
#define PF_KTHREAD     0x00200000

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, GuardSettings);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
} settings SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __uint(max_entries, GUARD_FILES_MAX);
        __type(key, __u64);
        __type(value, GuardFile);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
} files SEC(".maps");

typedef struct FunctionName {
        char text[GUARD_NAME_MAX];
} FunctionName;

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __uint(max_entries, GUARD_FUNCTIONS_MAX);
        __type(key, FunctionName);
        __type(value, GuardFunction);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
} functions SEC(".maps");

typedef struct ModuleName {
        char text[GUARD_MODULE_MAX];
} ModuleName;

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __uint(max_entries, GUARD_MODULES_MAX);
        __type(key, ModuleName);
        __type(value, __u32);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
} modules SEC(".maps");

/* Tasks that pass. The entry goes with the task, so no later process inherits it by its pid. */
struct {
        __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, int);
        __type(value, __u32);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
} exempt SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, GUARD_EVENTS_SIZE);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
} events SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, GUARD_COUNTERS_MAX);
        __type(key, __u32);
        __type(value, __u64);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
} counters SEC(".maps");

static __always_inline void count(__u32 which) {
        __u64 *counter = bpf_map_lookup_elem(&counters, &which);

        if (counter)
                __sync_fetch_and_add(counter, 1);
}

static __always_inline int is_exempt(void) {
        return bpf_task_storage_get(&exempt, bpf_get_current_task_btf(), 0, 0) != 0;
}

/* Whether the task has the capability in the initial user namespace. Everybody has all of them in a
 * namespace of their own. The low 32 bits come first in kernel_cap_t on the architectures that the
 * programs are built for, before and since Linux 6.3. */
static __always_inline int is_capable(const struct cred *cred, unsigned int capability) {
        const __u32 *effective =
                (const __u32 *) __builtin_preserve_access_index(&cred->cap_effective);

        return cred->user_ns->level == 0 && (*effective & (1U << capability));
}

/* What a hook returns. Without the barrier the compiler computes it from the number, and the
 * verifier of Linux 6.12 does not see that it is 0 or an errno. */
static __always_inline int verdict(int refused) {
        if (!refused)
                return 0;
        asm volatile("");
        return -EPERM;
}

/* Reports the deed, and returns what the hook returns. */
static __always_inline int refuse(__u32 kind, __u64 inode, const void *name, __u32 name_size) {
        __u32 zero = 0;
        const GuardSettings *set = bpf_map_lookup_elem(&settings, &zero);
        int refused = set && set->refuse && kind != GUARD_EVENT_TOLD;
        GuardEvent *event;

        count(GUARD_COUNTER_REPORTED);
        event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
        if (!event) {
                count(GUARD_COUNTER_LOST);
                return verdict(refused);
        }
        __builtin_memset(event, 0, sizeof(*event));
        event->kind = kind;
        event->refused = refused;
        event->pid = bpf_get_current_pid_tgid() >> 32;
        event->uid = (__u32) bpf_get_current_uid_gid();
        event->inode = inode;
        event->cgroup = bpf_get_current_cgroup_id();
        bpf_get_current_comm(event->comm, sizeof(event->comm));
        if (name)
                __builtin_memcpy(event->name, name, name_size);
        bpf_ringbuf_submit(event, 0);
        return verdict(refused);
}

/* --- what a system call was given */

#if defined(__TARGET_ARCH_x86)
#define NR_WRITE         1
#define NR_PWRITE64      18
#define NR_WRITEV        20
#define NR_DELETE_MODULE 176
#define NR_PWRITEV       296
/* Of a 32-bit process, and the bit in those of x32. */
#define NR_DELETE_MODULE_IA32 129
#define NR_X32_BIT            0x40000000
#define NR_PWRITEV2           328

/* The registers of the system call that the task is in, or NULL: a thread of the kernel's or of
 * io_uring's has those of something else. */
static __always_inline struct pt_regs *system_call(void) {
        struct task_struct *task = bpf_get_current_task_btf();

        if (task->flags & (PF_KTHREAD | PF_IO_WORKER | PF_USER_WORKER))
                return 0;
        return (struct pt_regs *) bpf_task_pt_regs(task);
}

/* The buffer of a write in one piece. A 32-bit process has other numbers (4, 181, 146 for these),
 * none of which stands here: its writes count as unreadable. So do those of sendfile(2), splice(2)
 * and io_submit(2). */
static __always_inline int written_buffer(const void **ret_buffer, __u64 *ret_length) {
        struct pt_regs *regs = system_call();
        struct {
                const void *base;
                __u64 length;
        } piece;
        const void *buffer;
        __u64 length;

        if (!regs)
                return -1;
        buffer = (const void *) regs->si;
        length = regs->dx;
        /* Else the compiler makes one load of these and of the piece, which the verifier refuses.
         */
        asm volatile("" : "+r"(buffer), "+r"(length));
        switch (regs->orig_ax) {
        case NR_WRITE:
        case NR_PWRITE64:
                *ret_buffer = buffer;
                *ret_length = length;
                return 0;
        case NR_WRITEV:
        case NR_PWRITEV:
        case NR_PWRITEV2:
                if (length != 1 || bpf_probe_read_user(&piece, sizeof(piece), buffer) < 0)
                        return -1;
                *ret_buffer = piece.base;
                *ret_length = piece.length;
                return 0;
        default:
                return -1;
        }
}

/* For a task that asks for CAP_SYS_MODULE: of the system calls of 64 bits none does under the
 * number 129, so that is delete_module(2) of a 32-bit process. */
static __always_inline int removed_module(ModuleName *ret) {
        struct pt_regs *regs = system_call();
        const void *name;

        if (!regs)
                return -1;
        if ((regs->orig_ax & ~(unsigned long) NR_X32_BIT) == NR_DELETE_MODULE)
                name = (const void *) regs->di;
        else if (regs->orig_ax == NR_DELETE_MODULE_IA32)
                name = (const void *) (regs->bx & 0xffffffffUL);
        else
                return -1;
        return bpf_probe_read_user_str(ret->text, sizeof(ret->text), name) < 0 ? -1 : 0;
}
#else
static __always_inline int written_buffer(const void **ret_buffer, __u64 *ret_length) {
        return -1;
}

static __always_inline int removed_module(ModuleName *ret) {
        return -1;
}
#endif

/* The address in the text of a write to `unbind`, as bus_find_device_by_name() takes it: up to a
 * NUL or the line's end (sysfs_streq()). A longer text is no address. */
static __always_inline int written_name(FunctionName *ret) {
        const void *buffer;
        __u64 length;
        int ended = 0;

        if (written_buffer(&buffer, &length) < 0)
                return -1;
        if (length > sizeof(ret->text) - 1)
                length = sizeof(ret->text) - 1;
        if (bpf_probe_read_user(ret->text, (__u32) length, buffer) < 0)
                return -1;
        for (int i = 0; i < GUARD_NAME_MAX; i++) {
                if (ret->text[i] == '\n' || ret->text[i] == '\0')
                        ended = 1;
                if (ended)
                        ret->text[i] = '\0';
        }
        return 0;
}

/* --- the checks */

static __always_inline int check_unbind(__u64 inode) {
        FunctionName name = { 0 };
        const GuardFunction *function;

        if (written_name(&name) < 0)
                return refuse(GUARD_EVENT_UNBIND, inode, 0, 0);
        function = bpf_map_lookup_elem(&functions, &name);
        if (!function || (function->only_used && function->released))
                return 0;
        return refuse(GUARD_EVENT_UNBIND, inode, name.text, sizeof(name.text));
}

/* On each read and write of each file: what is none of ours must leave soon. */
static __always_inline int check_write(struct file *file, int mask) {
        const GuardFile *entry;
        struct inode *inode;
        __u64 number;

        if (!(mask & MAY_WRITE))
                return 0;
        inode = file->f_inode;
        if (inode->i_sb->s_magic != SYSFS_MAGIC)
                return 0;
        number = inode->i_ino;
        entry = bpf_map_lookup_elem(&files, &number);
        if (!entry || is_exempt())
                return 0;
        if (entry->kind == GUARD_FILE_UNBIND)
                return check_unbind(number);
        return refuse(entry->kind == GUARD_FILE_TOLD ? GUARD_EVENT_TOLD : GUARD_EVENT_WRITE, number,
                      0, 0);
}

/* As inode_owner_or_capable(). The kernel calls the hooks of a chmod(2) before it asks that, and
 * those of fmod_ret before all others: who may not do it anyway is refused by the kernel, and must
 * not fill the journal. */
static __always_inline int may_change_mode(const struct inode *inode) {
        const struct cred *cred = bpf_get_current_task_btf()->cred;

        return cred->fsuid.val == inode->i_uid.val || is_capable(cred, CAP_FOWNER);
}

static __always_inline int check_attributes(struct dentry *dentry, struct iattr *attributes) {
        const GuardFile *entry;
        struct inode *inode;
        __u64 number;

        if (!(attributes->ia_valid & ATTR_MODE) || !(attributes->ia_mode & WRITE_BITS))
                return 0;
        inode = dentry->d_inode;
        if (!inode || inode->i_sb->s_magic != SYSFS_MAGIC)
                return 0;
        number = inode->i_ino;
        entry = bpf_map_lookup_elem(&files, &number);
        if (!entry || entry->kind != GUARD_FILE_PROTECTED || is_exempt() || !may_change_mode(inode))
                return 0;
        return refuse(GUARD_EVENT_CHMOD, number, 0, 0);
}

static __always_inline int check_capable(const struct cred *cred, int capability) {
        ModuleName name = { 0 };

        if (capability != CAP_SYS_MODULE || !is_capable(cred, CAP_SYS_MODULE) ||
            removed_module(&name) < 0 || !bpf_map_lookup_elem(&modules, &name))
                return 0;
        return refuse(GUARD_EVENT_MODULE, 0, name.text, sizeof(name.text));
}

/* --- the hooks. Behind the arguments stands what earlier programs returned, which is always 0:
 * none is called after one that refused (invoke_bpf_mod_ret()). */

SEC("lsm/file_permission")
int BPF_PROG(write_lsm, struct file *file, int mask) {
        return check_write(file, mask);
}

SEC("fmod_ret/security_file_permission")
int BPF_PROG(write_fmod, struct file *file, int mask) {
        return check_write(file, mask);
}

/* The hook has a third argument, before these two, since 6.4 or so; vfwarden-guard asks the
 * kernel's BTF which of the programs is its own. */
SEC("lsm/inode_setattr")
int BPF_PROG(chmod_lsm, struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attributes) {
        return check_attributes(dentry, attributes);
}

SEC("lsm/inode_setattr")
int BPF_PROG(chmod_lsm2, struct dentry *dentry, struct iattr *attributes) {
        return check_attributes(dentry, attributes);
}

SEC("fmod_ret/security_inode_setattr")
int BPF_PROG(chmod_fmod, struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attributes) {
        return check_attributes(dentry, attributes);
}

SEC("lsm/capable")
int BPF_PROG(module_lsm, const struct cred *cred, struct user_namespace *space, int capability,
             unsigned int options) {
        return check_capable(cred, capability);
}

SEC("fmod_ret/security_capable")
int BPF_PROG(module_fmod, const struct cred *cred, struct user_namespace *space, int capability,
             unsigned int options) {
        return check_capable(cred, capability);
}

/* --- the last close of a guarded function: vfio_pci_core_enable() and vfio_pci_core_disable() call
 * these two. Without them a function counts as used until the daemon has looked. */

static __always_inline void set_released(struct pci_dev *device, __u32 released) {
        FunctionName name = { 0 };
        GuardFunction *function;

        if (bpf_probe_read_kernel_str(name.text, sizeof(name.text), device->dev.kobj.name) < 0)
                return;
        function = bpf_map_lookup_elem(&functions, &name);
        if (function)
                function->released = released;
}

SEC("fentry/pci_disable_device")
int BPF_PROG(release_disable, struct pci_dev *device) {
        set_released(device, 1);
        return 0;
}

SEC("fentry/pci_enable_device")
int BPF_PROG(release_enable, struct pci_dev *device) {
        set_released(device, 0);
        return 0;
}

char LICENSE[] SEC("license") = "GPL";
