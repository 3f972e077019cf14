/* number.h: the one strict reader of numbers, for sysfs, files and clients alike.
 *
 * Owns nothing. Accepts digits only: no sign (but for number_parse_int), no blanks, no trailing
 * text, no empty string, nothing above `max`; so nothing half-understood gets in. */
#pragma once

#include <stdint.h>

/* Reads `text` in `base` 10 or 16. Base 16 takes an optional "0x". Returns 0, -EINVAL when it is no
 * such number, -ERANGE when it is above `max`; `*ret` is written on success only. */
int number_parse(const char *text, unsigned base, uint64_t max, uint64_t *ret);

/* Reads a decimal number from `min` to INT32_MAX that may bear a minus sign. Errors as above. */
int number_parse_int(const char *text, int32_t min, int32_t *ret);

/* Reads the number of a device, "MAJOR:MINOR", as `dev` of sysfs has it in base 10 and
 * /proc/PID/maps in base 16. Errors as above; both are written on success only. */
int number_parse_device(const char *text, unsigned base, uint32_t *ret_major, uint32_t *ret_minor);
