/* tar.h: the archives of recordings: ustar (POSIX.1-2017, pax, "ustar Interchange Format") with
 * nothing but regular files.
 *
 * Owns nothing. An archive that is read may come from anybody. Always holds: it is taken as a whole
 * or not at all; a link, a directory, a device, an extended header, a name with a prefix, a name
 * twice, a wrong checksum or a size beyond the limits is refused. Nothing is unpacked into files.
 */
#pragma once

#include <glib.h>

#define TAR_BYTES_MAX   ((gsize) 64 * 1024 * 1024)
#define TAR_MEMBERS_MAX 16384U

/* Adds a file to `archive`. Returns 0, or -E2BIG and nothing is added: the name or the file is too
 * long, or there is no more room. */
int tar_add(GByteArray *archive, const char *name, const void *data, gsize size);

/* The end of the archive. */
void tar_end(GByteArray *archive);

/* Whether a file may have this name. */
typedef gboolean TarAccepts(const char *name);

/* Name -> GBytes of an archive; `bytes` must outlive nothing of it. Returns 0 and a table of the
 * caller's, or -EBADMSG and what is wrong, a string of the caller's. */
int tar_read(GBytes *bytes, TarAccepts *accepts, GHashTable **ret, char **ret_wrong);
