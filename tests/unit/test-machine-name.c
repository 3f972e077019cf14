#include "policy/machine-name.h"

#include <criterion/criterion.h>
#include <glib.h>

Test(machine_name, from_unit) {
        static const struct {
                const char *unit, *name;
        } cases[] = {
                { "machine-qemu\\x2d1\\x2dweb.scope", "web" },
                { "machine-qemu\\x2d12\\x2dmy\\x2dweb\\x2d2.scope", "my-web-2" },
                { "machine-lxc\\x2d3\\x2dbox.scope", "box" },
                { "machine-box.scope", "box" },
                { "machine-qemu.scope", "qemu" },
                { "machine-qemu\\x2dx\\x2dweb.scope", "qemu-x-web" },
                { "machine-qemu\\x2d1\\x2d.scope", "qemu-1-" },
                { "machine-w\\xc3\\xb6rk.scope", "w\xc3\xb6rk" },
                { "machine-w\\xff.scope", NULL },
                { "machine-w\\xef\\xbf\\xbe.scope", NULL },
                { "machine-w\\x1b.scope", NULL },
                { "machine-w\\x00b.scope", NULL },
                { "machine-.scope", NULL },
                { "machine.slice", NULL },
                { "machine-a.service", NULL },
                { "libvirtd.service", NULL },
                { "", NULL },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *name = machine_name_from_unit(cases[i].unit);

                cr_assert(g_strcmp0(name, cases[i].name) == 0, "%s: %s", cases[i].unit, name);
        }
}
