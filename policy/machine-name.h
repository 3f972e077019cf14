/* machine-name.h: the name of a virtual machine, from the systemd unit that it runs in.
 *
 * Pure. libvirt registers its machines as NAME with the driver and a number before it
 * ("qemu-1-web"), and systemd-machined makes machine-ESCAPED.scope of it. */
#pragma once

/* "web" for "machine-qemu\x2d1\x2dweb.scope", "box" for "machine-box.scope"; NULL for what is no
 * machine's unit, or unescapes to what client-text.h does not take. Free with g_free(). */
char *machine_name_from_unit(const char *unit);

/* "web" for "qemu-1-web", "box" for "box": without what libvirt puts before. Points into `name`. */
const char *machine_name_short(const char *name);
