/* deathless.c: preloaded into vfwardend. While there is a file $UMOCKDEV_DIR/deathless, its
 * children do not end by SIGKILL, as those that hang in the kernel. */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((visibility("default"))) int kill(pid_t pid, int number) {
        static int (*next)(pid_t, int);
        const char *bed = getenv("UMOCKDEV_DIR");
        char path[4096];

        if (!next)
                *(void **) &next = dlsym(RTLD_NEXT, "kill");
        snprintf(path, sizeof(path), "%s/deathless", bed ? bed : "");
        if (number == SIGKILL && access(path, F_OK) == 0)
                return 0;
        return next(pid, number);
}
