/* uname.c: lets the daemon run on another machine, for the tests.
 *
 * Preloaded. uname() says $VFWARDEN_MACHINE, if that is set, where it would say "x86_64". */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

__attribute__((visibility("default"))) int uname(struct utsname *name) {
        static int (*next)(struct utsname *);
        const char *machine = getenv("VFWARDEN_MACHINE");
        int r;

        if (!next)
                *(void **) &next = dlsym(RTLD_NEXT, "uname");
        r = next(name);
        if (r == 0 && machine)
                snprintf(name->machine, sizeof(name->machine), "%s", machine);
        return r;
}
