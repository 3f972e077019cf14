/* io-probe.c: preloaded into vfwarden-io, it does what vfwarden-io must not do, so that it is seen
 * the result.
 *
 * A message with command 0x7777 makes it call getppid(), which is in no list. 0x7770 makes it map
 * a file's memory for execution, 0x7771 memory of its own, 0x7772 private memory of a file, 0x7773
 * less than a ring, 0x7774 a ring's size at a later offset; the file is standard input. From the
 * first message on, any use of the heap does the same (not with a sanitizer, which has a heap of
 * its own). */
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool serving;

static void map_wrongly(unsigned how) {
        static const struct {
                size_t size;
                int access, flags, fd;
                off_t offset;
        } wrong[] = {
                { 4096, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_NORESERVE, 0, 0 },
                { 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0 },
                { 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0, 0 },
                { 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 0 },
                { 8192, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 4096 },
        };

        (void) mmap(NULL, wrong[how].size, wrong[how].access, wrong[how].flags, wrong[how].fd,
                    wrong[how].offset);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
        static ssize_t (*next)(int, struct msghdr *, int);
        uint16_t header[2];
        ssize_t n;

        if (!next)
                next = (ssize_t(*)(int, struct msghdr *, int)) dlsym(RTLD_NEXT, "recvmsg");
        serving = true;
        n = next(fd, message, flags);
        if (n >= 16) {
                memcpy(header, message->msg_iov[0].iov_base, sizeof(header));
                if (header[1] == 0x7777)
                        syscall(SYS_getppid);
                if (header[1] >= 0x7770 && header[1] <= 0x7774)
                        map_wrongly(header[1] - 0x7770U);
        }
        return n;
}

#if !SANITIZED
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static void look(void) {
        if (serving)
                syscall(SYS_getppid);
}

void *malloc(size_t size) {
        look();
        return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
        look();
        return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size) {
        look();
        return __libc_realloc(p, size);
}
#endif
