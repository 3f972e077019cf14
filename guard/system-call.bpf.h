/* system-call.bpf.h: what the system call was given that a task is in.
 *
 * Owns the numbers of system calls, and of their registers. On an architecture without them nothing
 * can be read. */
#pragma once

#include "guard/kernel-types.h"

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

/* include/linux/sched.h. PF_USER_WORKER since 6.4; the bit was unused before. */
#define PF_IO_WORKER   0x00000010
#define PF_USER_WORKER 0x00004000
#define PF_KTHREAD     0x00200000

#if defined(__TARGET_ARCH_x86)
#define NR_WRITE         1
#define NR_PWRITE64      18
#define NR_WRITEV        20
#define NR_DELETE_MODULE 176
#define NR_IOPL          172
#define NR_IOPERM        173
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
 * number 129, so that is delete_module(2) of a 32-bit process. Returns 0 where the task removes no
 * module, 1 with the name, or -1 where the name cannot be read: its page is not in memory. */
static __always_inline int removed_module(char *name, __u32 size) {
        struct pt_regs *regs = system_call();
        const void *user;

        if (!regs)
                return 0;
        if ((regs->orig_ax & ~(unsigned long) NR_X32_BIT) == NR_DELETE_MODULE)
                user = (const void *) regs->di;
        else if (regs->orig_ax == NR_DELETE_MODULE_IA32)
                user = (const void *) (regs->bx & 0xffffffffUL);
        else
                return 0;
        return bpf_probe_read_user_str(name, size, user) < 0 ? -1 : 1;
}

/* For a task that asks for CAP_SYS_RAWIO: whether it wants to use I/O ports by itself. */
static __always_inline int opens_ports(void) {
        struct pt_regs *regs = system_call();

        return regs && (regs->orig_ax == NR_IOPL || regs->orig_ax == NR_IOPERM);
}
#else
static __always_inline int written_buffer(const void **ret_buffer, __u64 *ret_length) {
        return -1;
}

static __always_inline int removed_module(char *name, __u32 size) {
        return 0;
}

static __always_inline int opens_ports(void) {
        return 0;
}
#endif
