/* io-stubborn.c: preloaded into vfwarden-io, it makes what a client can only do by luck certain.
 *
 *  - A first connection is accepted by somebody else, after vfwarden-io has seen it.
 *  - To close memory that begins with "hold it" takes until it does not any more, as the last close
 *    of a huge file takes long. */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static bool is_held(int fd) {
        char begin[7];

        return syscall(SYS_pread64, fd, begin, sizeof(begin), 0) == sizeof(begin) &&
               memcmp(begin, "hold it", sizeof(begin)) == 0;
}

__attribute__((visibility("default"))) int close(int fd) {
        static const struct timespec nap = { .tv_nsec = 5000000 };
        static uint32_t never;

        while (is_held(fd))
                syscall(SYS_futex, &never, FUTEX_WAIT_PRIVATE, 0, &nap, NULL, 0);
        return (int) syscall(SYS_close, fd);
}

__attribute__((visibility("default"))) int accept4(int fd, struct sockaddr *address,
                                                   socklen_t *size, int flags) {
        static int (*next)(int, struct sockaddr *, socklen_t *, int);
        static bool stolen;

        if (!next)
                *(void **) &next = dlsym(RTLD_NEXT, "accept4");
        if (!stolen) {
                stolen = true;
                syscall(SYS_close, next(fd, address, size, flags));
        }
        return next(fd, address, size, flags);
}
