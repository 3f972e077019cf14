/* io-probe.c: preloaded into vfwarden-io, it does what vfwarden-io must not do, so that it is seen
 * the result.
 *
 * A message with command 0x7777 makes it call getppid(), which is in no list. From the first
 * message on, any use of the heap does the same (not with a sanitizer, which has a heap of its
 * own). */
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool serving;

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
