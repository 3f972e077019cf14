#include "daemon/io/sandbox.h"

#include "daemon/io/util.h"
#include "policy/io-ring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/vfio.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef VFWARDEN_IO_SANITIZED
#define VFWARDEN_IO_SANITIZED 0
#endif

static int drop_capabilities(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

        /* The bounding set takes CAP_SETPCAP; without it there is nothing that could be gained. */
        for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
                if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0 && errno != EPERM)
                        return -errno;
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
                return -errno;
        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int compare(const void *a, const void *b) {
        return *(const int *) a - *(const int *) b;
}

/* Closes what is between the sorted `fds`, from 3 on. */
static int close_others(const int *fds, size_t n_fds) {
        unsigned from = 3;

        for (size_t i = 0; i < n_fds; i++) {
                if ((unsigned) fds[i] > from &&
                    syscall(SYS_close_range, from, (unsigned) fds[i] - 1, 0) < 0)
                        return -errno;
                from = (unsigned) fds[i] + 1;
        }
        return syscall(SYS_close_range, from, ~0U, 0) < 0 ? -errno : 0;
}

int sandbox_enter(const int *fds, size_t n_fds, bool pins) {
        static const struct rlimit none = { 0, 0 };
        _cleanup_(closep) int null = -1;
        int sorted[8], r;

        if (n_fds > ELEMENTS(sorted))
                return -EINVAL;
        for (size_t i = 0; i < n_fds; i++) {
                if (fds[i] < 3)
                        return -EBADF;
                sorted[i] = fds[i];
        }
        qsort(sorted, n_fds, sizeof(*sorted), compare);
        r = close_others(sorted, n_fds);
        if (r < 0)
                return r;
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0)
                return -errno;
        /* A sanitizer's report has to go somewhere. */
        for (int i = 0; i < (VFWARDEN_IO_SANITIZED ? 2 : 3); i++)
                if (dup2(null, i) < 0)
                        return -errno;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
            setrlimit(RLIMIT_CORE, &none) < 0 ||
            /* What it may pin was set by its starter (daemon/broker/spawn-io.c). */
            (!pins && setrlimit(RLIMIT_MEMLOCK, &none) < 0))
                return -errno;
        return drop_capabilities();
}

static const int allowed[] = {
        /* the client's socket and the daemon's */
        SCMP_SYS(recvmsg),
        SCMP_SYS(recvfrom),
        SCMP_SYS(sendto),
        /* the device, the client's memory, its eventfd */
        SCMP_SYS(pread64),
        SCMP_SYS(pwrite64),
        SCMP_SYS(write),
        SCMP_SYS(fstat),
        SCMP_SYS(close),
        SCMP_SYS(munmap),
#ifdef __s390x__
        /* glibc goes through socketcall() there, as on kernels before 4.3, and calls send() and
           recv() by their own numbers. */
        SCMP_SYS(recv),
        SCMP_SYS(send),
        SCMP_SYS(s390_pci_mmio_read),
        SCMP_SYS(s390_pci_mmio_write),
#endif
        /* the threads, and the end */
        SCMP_SYS(futex),
        SCMP_SYS(clock_gettime), /* where the vDSO has no clock */
        SCMP_SYS(restart_syscall),
        SCMP_SYS(rt_sigreturn),
        SCMP_SYS(exit_group),
#if VFWARDEN_IO_SANITIZED
        /* to see what is wrong, and to say so */
        SCMP_SYS(getpid),
        SCMP_SYS(gettid),
        SCMP_SYS(getrlimit),
        SCMP_SYS(prlimit64),
        SCMP_SYS(madvise),
        SCMP_SYS(mmap),
        SCMP_SYS(mprotect),
        SCMP_SYS(mremap),
        SCMP_SYS(newfstatat),
        SCMP_SYS(openat),
        SCMP_SYS(open),
        SCMP_SYS(read),
        SCMP_SYS(readlink),
        SCMP_SYS(rt_sigaction),
        SCMP_SYS(rt_sigprocmask),
        SCMP_SYS(sched_yield),
        SCMP_SYS(sigaltstack),
        SCMP_SYS(tgkill),
        SCMP_SYS(uname),
#endif
};

/* To wait for the client to connect. */
static const int allowed_accepting[] = { SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(accept4) };

/* The questions that are put to a descriptor of the client's. */
static const int allowed_fcntl[] = { F_GETFL, F_SETFL, F_GET_SEALS };

/* What the device and its container are asked for by ioctl, and nothing else is. */
static const unsigned device_ioctls[] = { VFIO_DEVICE_RESET, VFIO_DEVICE_SET_IRQS };
static const unsigned container_ioctls[] = { VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA };

static int allow_ioctls(scmp_filter_ctx filter, int fd, const unsigned *requests, size_t n) {
        int r = 0;

        for (size_t i = 0; r >= 0 && fd >= 0 && i < n; i++)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 2,
                                     SCMP_A0_32(SCMP_CMP_EQ, (unsigned) fd),
                                     SCMP_A1_32(SCMP_CMP_EQ, requests[i]));
        return r;
}

/* Shared files, nothing executable, and no memory of its own. On s390 the arguments are in memory
 * (SYSCALL_DEFINE1(mmap2) in arch/s390/kernel/syscall.c), where a filter cannot look. */
static int allow_maps(scmp_filter_ctx filter) {
        int r = 0;

#if defined(__s390x__)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 0);
#elif !VFWARDEN_IO_SANITIZED
        static const unsigned accesses[] = { PROT_READ, PROT_READ | PROT_WRITE };

        for (size_t i = 0; r >= 0 && i < ELEMENTS(accesses); i++)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 3,
                                     SCMP_A0_64(SCMP_CMP_EQ, 0),
                                     SCMP_A2_32(SCMP_CMP_EQ, accesses[i]),
                                     SCMP_A3_32(SCMP_CMP_EQ, MAP_SHARED | MAP_NORESERVE));
#endif
        return r;
}

bool sandbox_sees_maps(void) {
#if defined(__s390x__)
        return false;
#else
        return true;
#endif
}

/* One map of this size, and the waiting for two descriptors: the socket and an eventfd, which is
 * read without waiting. */
static int allow_ring(scmp_filter_ctx filter) {
        int r = 0;

#if !defined(__s390x__) && !VFWARDEN_IO_SANITIZED
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 5, SCMP_A0_64(SCMP_CMP_EQ, 0),
                             SCMP_A1_64(SCMP_CMP_EQ, sizeof(IoRingMemory)),
                             SCMP_A2_32(SCMP_CMP_EQ, PROT_READ | PROT_WRITE),
                             SCMP_A3_32(SCMP_CMP_EQ, MAP_SHARED), SCMP_A5_64(SCMP_CMP_EQ, 0));
#endif
        if (r >= 0)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(poll), 2,
                                     SCMP_A1_64(SCMP_CMP_EQ, 2),
                                     SCMP_A2_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, UINT32_MAX));
        /* In place of poll() on some architectures. */
        if (r >= 0)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ppoll), 3,
                                     SCMP_A1_64(SCMP_CMP_EQ, 2), SCMP_A2_64(SCMP_CMP_EQ, 0),
                                     SCMP_A3_64(SCMP_CMP_EQ, 0));
        if (r >= 0)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(preadv2), 2,
                                     SCMP_A2_64(SCMP_CMP_EQ, 1),
                                     SCMP_A5_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, RWF_NOWAIT));
        return r;
}

static int allow_arguments(scmp_filter_ctx filter, const SandboxNeeds *needs) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTS(allowed_fcntl); i++)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                                     SCMP_A1_32(SCMP_CMP_EQ, (unsigned) allowed_fcntl[i]));
        if (r >= 0)
                r = allow_ioctls(filter, needs->device, device_ioctls, ELEMENTS(device_ioctls));
        if (r >= 0)
                r = allow_ioctls(filter, needs->container, container_ioctls,
                                 ELEMENTS(container_ioctls));
        if (r >= 0 && needs->ring)
                r = allow_ring(filter);
        return r >= 0 && needs->maps ? allow_maps(filter) : r;
}

static void release(scmp_filter_ctx *filter) {
        if (*filter)
                seccomp_release(*filter);
}

int sandbox_close(const SandboxNeeds *needs) {
        const struct rlimit files = { needs->max_fds, needs->max_fds };
        static const struct rlimit none = { 0, 0 };
        _cleanup_(release) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
        int r;

        if (!filter)
                return -ENOMEM;
        if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_NPROC, &none) < 0)
                return -errno;
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
        /* The same for the other architecture's calls, where a kernel has them; else they would end
         * a thread. */
        if (r >= 0)
                r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
        /* So that the calls of a request are looked up in a tree and not one by one. */
        if (r >= 0)
                r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        for (size_t i = 0; r >= 0 && i < ELEMENTS(allowed); i++)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
        if (r >= 0)
                r = allow_arguments(filter, needs);
        for (size_t i = 0; r >= 0 && needs->accepts && i < ELEMENTS(allowed_accepting); i++)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_accepting[i], 0);
        if (r >= 0)
                r = seccomp_load(filter);
        return r;
}
