/* tenant.c: what a user without privilege does to a program that looks at processes. Says "ready"
 * on standard output, and stays.
 *
 *   tenant table DESCRIPTORS PROCESSES shared|own
 *      large tables of descriptors, one for all or one for each
 *   tenant hold FD PROCESSES COPIES
 *      processes that have a descriptor, so many times each
 *   tenant sockets SOCKETS PROCESSES
 *      processes that have so many sockets each, and a descriptor waits in the last one
 *   tenant open NODE PROCESSES
 *      each makes process after process that opens NODE, and ends
 *   tenant hang FUSE DIRECTORY memory|node|exec
 *      a process of which somebody waits for ever who
 *        memory: reads its command line;
 *        node: asks the file system for what it has open by the name of a VFIO node;
 *        exec: compares it with another by kcmp(2).
 *      FUSE is the device of that name, and DIRECTORY where a file system is mounted that answers
 *      no read. That takes root (for a mount namespace), who becomes nobody then. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY     65534
#define HUNG_PAGE  ((void *) 0x100000000UL)
#define PAGE       4096
#define EXEC_TABLE 3000

static void fail(const char *what) {
        perror(what);
        exit(EXIT_FAILURE);
}

static void __attribute__((noreturn)) stay(void) {
        for (;;)
                pause();
}

static void ready(void) {
        puts("ready");
        fflush(stdout);
}

/* Ends with its parent. */
static pid_t fork_with(unsigned long flags) {
        pid_t pid = (pid_t) syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

        if (pid < 0)
                fail("clone");
        if (pid == 0)
                prctl(PR_SET_PDEATHSIG, SIGKILL);
        return pid;
}

static void allow_descriptors(void) {
        struct rlimit limit;

        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
}

static void fill(int count) {
        int fd = open("/dev/null", O_RDONLY);

        for (int i = 3; i < count; i++)
                if (fcntl(i, F_GETFD) < 0 && dup2(fd, i) < 0)
                        fail("dup2");
}

static void table(int count, int processes, bool shared) {
        allow_descriptors();
        fill(count);
        for (int i = 1; i < processes; i++)
                if (fork_with(shared ? CLONE_FILES : 0) == 0)
                        stay();
        ready();
        stay();
}

static void hold(int fd, int processes, int copies) {
        allow_descriptors();
        for (int i = 1; i < copies; i++)
                if (dup(fd) < 0)
                        fail("dup");
        for (int i = 1; i < processes; i++)
                if (fork_with(0) == 0)
                        stay();
        ready();
        stay();
}

static void put_into_socket(int socket, int fd) {
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)),
                                  .cmsg_level = SOL_SOCKET,
                                  .cmsg_type = SCM_RIGHTS } };
        char byte = 0;
        struct iovec part = { &byte, sizeof(byte) };
        struct msghdr message = { .msg_iov = &part,
                                  .msg_iovlen = 1,
                                  .msg_control = &control,
                                  .msg_controllen = sizeof(control) };

        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        if (sendmsg(socket, &message, 0) < 0)
                fail("sendmsg");
}

static void sockets(int count, int processes) {
        int pair[2] = { -1, -1 };

        allow_descriptors();
        for (int i = 0; i < count; i += 2)
                if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
                        fail("socketpair");
        put_into_socket(pair[0], STDIN_FILENO);
        for (int i = 1; i < processes; i++)
                if (fork_with(0) == 0)
                        stay();
        ready();
        stay();
}

static void open_again_and_again(const char *node) {
        for (;;) {
                pid_t pid = fork();

                if (pid == 0) {
                        (void) !open(node, O_RDWR);
                        _exit(EXIT_SUCCESS);
                }
                if (pid > 0)
                        waitpid(pid, NULL, 0);
        }
}

static void storm(const char *node, int processes) {
        for (int i = 0; i < processes; i++)
                if (fork_with(0) == 0)
                        open_again_and_again(node);
        ready();
        stay();
}

/* --- a file system that answers when it likes */

static void reply(int fd, uint64_t unique, int error, void *data, size_t size) {
        struct fuse_out_header header = { .len = (uint32_t) (sizeof(header) + size),
                                          .error = error,
                                          .unique = unique };
        struct iovec parts[2] = { { &header, sizeof(header) }, { data, size } };

        (void) !writev(fd, parts, size > 0 ? 2 : 1);
}

/* "vfio" is a directory, all else files. `silent`: what a file is, is not told either, but to who
 * looks it up. */
static void answer(int fd, int reads, const struct fuse_in_header *in, const char *name,
                   bool silent) {
        static uint64_t next = 2, vfio;
        bool lookup = in->opcode == FUSE_LOOKUP;
        bool directory = lookup ? strcmp(name, "vfio") == 0
                                : in->nodeid == FUSE_ROOT_ID || in->nodeid == vfio;
        struct fuse_attr attr = { .ino = in->nodeid,
                                  .mode = (directory ? S_IFDIR : S_IFREG) | 0755,
                                  .nlink = 1,
                                  .size = PAGE };
        struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION,
                                      .minor = 31,
                                      .max_write = PAGE };
        struct fuse_entry_out entry = { .nodeid = next, .entry_valid = 1000, .attr = attr };
        struct fuse_attr_out attributes = { .attr_valid = 1000, .attr = attr };
        struct fuse_open_out opened = { .fh = 1 };

        switch (in->opcode) {
        case FUSE_INIT:
                reply(fd, in->unique, 0, &init, sizeof(init));
                return;
        case FUSE_LOOKUP:
                if (directory)
                        vfio = next;
                entry.attr.ino = next++;
                entry.attr_valid = silent && !directory ? 0 : 1000;
                reply(fd, in->unique, 0, &entry, sizeof(entry));
                return;
        case FUSE_GETATTR:
                if (!silent || directory)
                        reply(fd, in->unique, 0, &attributes, sizeof(attributes));
                return;
        case FUSE_OPEN:
                reply(fd, in->unique, 0, &opened, sizeof(opened));
                return;
        case FUSE_READ:
                (void) !write(reads, "", 1);
                return;
        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
        case FUSE_INTERRUPT:
                return;
        default:
                reply(fd, in->unique, -ENOSYS, NULL, 0);
        }
}

static void __attribute__((noreturn)) serve(int fd, int reads, bool silent) {
        static char buffer[1 << 20] __attribute__((aligned(8)));

        for (;;) {
                ssize_t n = read(fd, buffer, sizeof(buffer));

                if (n < 0 && errno != EINTR && errno != ENOENT && errno != EAGAIN)
                        _exit(EXIT_SUCCESS);
                if (n > 0)
                        answer(fd, reads, (void *) buffer, buffer + sizeof(struct fuse_in_header),
                               silent);
        }
}

/* Returns a descriptor that reports each read that is not answered. */
static int mount_silence(const char *device, const char *directory, bool silent) {
        char options[128];
        int reads[2];
        int fd = open(device, O_RDWR | O_CLOEXEC);

        if (fd < 0)
                fail(device);
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                fail("unshare");
        snprintf(options, sizeof(options),
                 "fd=%d,rootmode=40000,user_id=%d,group_id=%d,allow_other", fd, NOBODY, NOBODY);
        if (mount("silence", directory, "fuse", MS_NOSUID | MS_NODEV, options) < 0)
                fail(directory);
        if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
                fail("setresuid");
        prctl(PR_SET_DUMPABLE, 1);
        if (pipe2(reads, O_CLOEXEC) < 0)
                fail("pipe");
        if (fork_with(0) == 0)
                serve(fd, reads[1], silent);
        close(fd);
        return reads[0];
}

/* Somebody waits for this lock: who comes later waits behind them, be it to read. */
static void __attribute__((noreturn)) want_memory(void) {
        (void) mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        stay();
}

static void map_silence(const char *directory) {
        char path[256];
        int fd;

        snprintf(path, sizeof(path), "%s/file", directory);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 ||
            mmap(HUNG_PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED)
                fail(path);
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
}

/* Keeps the memory of `pid` locked for reading, as long as the file system does not answer. */
static void lock_memory(pid_t pid) {
        char path[64], byte;
        int fd;

        snprintf(path, sizeof(path), "/proc/%d/mem", pid);
        fd = open(path, O_RDONLY);
        if (fd < 0)
                fail(path);
        (void) !pread(fd, &byte, 1, (off_t) (uintptr_t) HUNG_PAGE);
        _exit(EXIT_SUCCESS);
}

static void wait_for_state(pid_t pid, char state) {
        char path[64], text[512] = "";
        const char *behind;

        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        do {
                int fd = open(path, O_RDONLY);

                (void) !read(fd, text, sizeof(text) - 1);
                close(fd);
                behind = strrchr(text, ')');
                usleep(1000);
        } while (behind && behind[2] != state);
}

/* In the memory of its parent, whose lock it needs to leave it: until then it blocks any process
 * that compares it with others. */
static int run_another(void *go) {
        static char *const words[] = { (char *) "true", NULL };
        char byte;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (read(*(int *) go, &byte, 1) == 1)
                execv("/bin/true", words);
        _exit(EXIT_FAILURE);
}

static void __attribute__((noreturn))
be_holder(const char *directory, bool exec, const int *go, int told) {
        static char stack[64 * 1024] __attribute__((aligned(16)));
        pid_t other = 0;

        map_silence(directory);
        memset(stack, 1, sizeof(stack));
        if (exec) {
                fill(EXEC_TABLE);
                other = clone(run_another, stack + sizeof(stack), CLONE_VM | SIGCHLD, (void *) go);
        }
        if (write(told, &other, sizeof(other)) != sizeof(other))
                fail("write");
        raise(SIGSTOP);
        want_memory();
}

static void hang_memory(const char *directory, int reads, bool exec) {
        int go[2], told[2];
        pid_t holder, other;
        char byte;

        allow_descriptors();
        if (pipe2(go, O_CLOEXEC) < 0 || pipe2(told, O_CLOEXEC) < 0)
                fail("pipe");
        holder = fork_with(0);
        if (holder == 0)
                be_holder(directory, exec, &go[0], told[1]);
        close(told[1]);
        if (read(told[0], &other, sizeof(other)) != sizeof(other))
                fail("read");
        wait_for_state(holder, 'T');
        if (fork_with(0) == 0)
                lock_memory(holder);
        if (read(reads, &byte, 1) != 1)
                fail("read");
        kill(holder, SIGCONT);
        wait_for_state(holder, 'D');
        if (exec && write(go[1], "", 1) != 1)
                fail("write");
        /* To look for it would hang: when it comes to the lock is not told. */
        if (exec)
                usleep(300000);
        ready();
        stay();
}

static void hang_node(const char *directory) {
        char path[256];

        snprintf(path, sizeof(path), "%s/vfio/12", directory);
        if (open(path, O_RDONLY) < 0)
                fail(path);
        ready();
        stay();
}

static void hang(const char *device, const char *directory, const char *how) {
        bool node = strcmp(how, "node") == 0;
        int reads = mount_silence(device, directory, node);

        prctl(PR_SET_NAME, "tenant-hangs");
        if (node)
                hang_node(directory);
        hang_memory(directory, reads, strcmp(how, "exec") == 0);
}

static int number(const char *text) {
        return (int) strtol(text, NULL, 10);
}

int main(int argc, char **argv) {
        /* Who was killed in the middle of a test must not leave it to the tests of others. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (argc == 5 && strcmp(argv[1], "table") == 0)
                table(number(argv[2]), number(argv[3]), strcmp(argv[4], "shared") == 0);
        if (argc == 5 && strcmp(argv[1], "hold") == 0)
                hold(number(argv[2]), number(argv[3]), number(argv[4]));
        if (argc == 4 && strcmp(argv[1], "sockets") == 0)
                sockets(number(argv[2]), number(argv[3]));
        if (argc == 4 && strcmp(argv[1], "open") == 0)
                storm(argv[2], number(argv[3]));
        if (argc == 5 && strcmp(argv[1], "hang") == 0)
                hang(argv[2], argv[3], argv[4]);
        fprintf(stderr, "see the first lines of tenant.c\n");
        return EXIT_FAILURE;
}
