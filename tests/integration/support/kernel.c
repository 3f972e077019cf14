/* kernel.c: hands what a worker writes to sysfs to the kernel of the tests, and waits for its
 * answer.
 *
 * Preloaded before umockdev. Files of a fake sysfs take every write and do nothing about it. With
 * $VFWARDEN_KERNEL naming a socket, a process called "vfwarden-worker" that writes below
 * $UMOCKDEV_DIR/sys sends "PATH\nVALUE" there instead and blocks, as it would in the kernel, until
 * it gets the errno of the write (int32, 0 for success). When the socket is closed without an
 * answer, the device has gone. */

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool is_worker(void) {
        char name[17] = "";

        return prctl(PR_GET_NAME, name) == 0 && strcmp(name, "vfwarden-worker") == 0;
}

/* The path behind `fd` from the root of the fake tree on; false if it is elsewhere. */
static bool path_in_bed(int fd, char *path, size_t size) {
        const char *bed = getenv("UMOCKDEV_DIR");
        char link[64];
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, path, size - 1);
        if (!bed || n <= 0)
                return false;
        path[n] = '\0';
        return strncmp(path, bed, strlen(bed)) == 0 &&
               strncmp(path + strlen(bed), "/sys/", strlen("/sys/")) == 0;
}

static int ask(const char *kernel, const char *path, const void *value, size_t size) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char message[8192];
        int32_t answer = ENODEV;
        size_t length;
        int fd;

        length = (size_t) snprintf(message, sizeof(message), "%s\n", path);
        if (length + size > sizeof(message) || strlen(kernel) >= sizeof(address.sun_path))
                return E2BIG;
        memcpy(message + length, value, size);
        memcpy(address.sun_path, kernel, strlen(kernel) + 1);
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ||
            send(fd, message, length + size, MSG_NOSIGNAL) < 0 ||
            recv(fd, &answer, sizeof(answer), 0) != sizeof(answer))
                answer = ENODEV;
        if (fd >= 0)
                close(fd);
        return answer;
}

__attribute__((visibility("default"))) ssize_t write(int fd, const void *value, size_t size) {
        static ssize_t (*next)(int, const void *, size_t);
        const char *kernel = getenv("VFWARDEN_KERNEL");
        char path[4096];
        int answer;

        if (!next)
                *(void **) &next = dlsym(RTLD_NEXT, "write");
        if (!kernel || !is_worker() || !path_in_bed(fd, path, sizeof(path)))
                return next(fd, value, size);
        answer = ask(kernel, path, value, size);
        if (answer == 0)
                return (ssize_t) size;
        errno = answer;
        return -1;
}
