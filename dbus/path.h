/* path.h: object paths of functions. Owns the encoding. */
#pragma once

#include "policy/address.h"

#define BUS_NAME            "org.vfwarden1"
#define BUS_ROOT            "/org/vfwarden1"
#define BUS_FUNCTION_PREFIX BUS_ROOT "/function"
#define BUS_INTERFACE(name) BUS_NAME "." name

/* Each of up to 16 bytes of an address takes three ("_3a") at the most. */
#define FUNCTION_PATH_MAX (sizeof(BUS_FUNCTION_PREFIX) + 1 + 3 * PCI_ADDRESS_STRING_MAX)

/* Writes the path of the function as sd_bus_path_encode() makes it, and returns it. */
const char *function_path_format(PciKey key, char path[static FUNCTION_PATH_MAX]);

/* Returns 0, or -EINVAL when `path` is not in the one form that function_path_format() gives. */
int function_path_parse(const char *path, PciKey *ret);
