/* overrun.c: makes a udev monitor's buffer overrun, for the tests.
 *
 * Preloaded before umockdev, whose monitors are datagram sockets `$UMOCKDEV_DIR/event*` and can
 * never overrun. When a file `$UMOCKDEV_DIR/overrun` exists, the next message received by such a
 * monitor and all that wait behind it are thrown away, the file goes, and the receiver gets
 * ENOBUFS: what the kernel does to a listener who is too slow. */

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool is_monitor(int fd, const char *bed) {
        struct sockaddr_un address = { 0 };
        socklen_t length = sizeof(address) - 1;

        return getsockname(fd, (struct sockaddr *) &address, &length) == 0 &&
               address.sun_family == AF_UNIX && strncmp(address.sun_path, bed, strlen(bed)) == 0 &&
               strncmp(address.sun_path + strlen(bed), "/event", strlen("/event")) == 0;
}

__attribute__((visibility("default"))) ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
        static ssize_t (*next)(int, struct msghdr *, int);
        const char *bed = getenv("UMOCKDEV_DIR");
        char flag[512];
        char byte;

        if (!next)
                *(void **) &next = dlsym(RTLD_NEXT, "recvmsg");
        if (!bed || snprintf(flag, sizeof(flag), "%s/overrun", bed) >= (int) sizeof(flag))
                return next(fd, message, flags);
        if (access(flag, F_OK) < 0 || !is_monitor(fd, bed))
                return next(fd, message, flags);

        while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0)
                ;
        (void) unlink(flag);
        errno = ENOBUFS;
        return -1;
}
