#include "cli/record/tar.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define BLOCK 512U

/* The header block. Numbers are octal digits; a field without room for one has no terminator. */
typedef struct TarHeader {
        char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8];
        char type;
        char link_name[100], magic[8], user[32], group[32], major[8], minor[8];
        char prefix[155], rest[12];
} TarHeader;

static_assert(sizeof(TarHeader) == BLOCK, "header");

/* With the version. */
static const char magic[] = { 'u', 's', 't', 'a', 'r', '\0', '0', '0' };

/* Of the header, with blanks for the checksum. */
static guint checksum_of(const TarHeader *header) {
        TarHeader copy = *header;
        const guint8 *bytes = (const guint8 *) &copy;
        guint sum = 0;

        memset(copy.checksum, ' ', sizeof(copy.checksum));
        for (gsize i = 0; i < BLOCK; i++)
                sum += bytes[i];
        return sum;
}

static gsize padding(gsize size) {
        return (BLOCK - size % BLOCK) % BLOCK;
}

static void add_zeros(GByteArray *archive, gsize n) {
        static const guint8 zeros[BLOCK] = { 0 };

        for (; n > 0; n -= MIN(n, BLOCK))
                g_byte_array_append(archive, zeros, (guint) MIN(n, BLOCK));
}

int tar_add(GByteArray *archive, const char *name, const void *data, gsize size) {
        TarHeader header = { .mode = "0000644", .uid = "0000000", .gid = "0000000", .type = '0' };

        if (strlen(name) >= sizeof(header.name) || size > TAR_BYTES_MAX ||
            archive->len + size > TAR_BYTES_MAX - 4 * BLOCK)
                return -E2BIG;
        memcpy(header.name, name, strlen(name));
        memcpy(header.magic, magic, sizeof(magic));
        g_snprintf(header.size, sizeof(header.size), "%011" G_GSIZE_MODIFIER "o", size);
        g_snprintf(header.mtime, sizeof(header.mtime), "%011o", 0);
        g_snprintf(header.checksum, sizeof(header.checksum), "%06o", checksum_of(&header));
        header.checksum[7] = ' ';
        g_byte_array_append(archive, (const guint8 *) &header, BLOCK);
        g_byte_array_append(archive, data, (guint) size);
        add_zeros(archive, padding(size));
        return 0;
}

void tar_end(GByteArray *archive) {
        add_zeros(archive, (gsize) 2 * BLOCK);
}

/* --- reading */

/* Octal digits, then blanks or zero bytes only. */
static gboolean read_octal(const char *field, gsize length, guint64 *ret) {
        guint64 number = 0;
        gsize i = 0;

        for (; i < length && field[i] >= '0' && field[i] <= '7'; i++)
                number = number * 8 + (guint64) (field[i] - '0');
        if (i == 0)
                return FALSE;
        for (; i < length; i++)
                if (field[i] != '\0' && field[i] != ' ')
                        return FALSE;
        *ret = number;
        return TRUE;
}

static gboolean is_zero(const guint8 *bytes, gsize n) {
        for (gsize i = 0; i < n; i++)
                if (bytes[i] != 0)
                        return FALSE;
        return TRUE;
}

/* What is wrong with the header, or NULL. */
static const char *judge(const TarHeader *header, TarAccepts *accepts, guint64 *ret_size) {
        guint64 sum;

        if (memcmp(header->magic, magic, sizeof(magic)) != 0 ||
            !read_octal(header->checksum, sizeof(header->checksum), &sum) ||
            sum != checksum_of(header))
                return "it is no ustar archive";
        if (header->type != '0' && header->type != '\0')
                return "it has something else than files";
        if (!is_zero((const guint8 *) header->link_name, sizeof(header->link_name)) ||
            header->prefix[0] != '\0')
                return "it has a link or a long name";
        if (memchr(header->name, '\0', sizeof(header->name)) == NULL || !accepts(header->name))
                return "it has a file that no recording has";
        if (!read_octal(header->size, sizeof(header->size), ret_size) || *ret_size > TAR_BYTES_MAX)
                return "a file is too large";
        return NULL;
}

static const char *read_members(GBytes *bytes, TarAccepts *accepts, GHashTable *members) {
        gsize length, at = 0;
        const guint8 *data = g_bytes_get_data(bytes, &length);

        while (length - at >= BLOCK && !is_zero(data + at, BLOCK)) {
                TarHeader header;
                guint64 size;
                const char *wrong;

                memcpy(&header, data + at, BLOCK);
                at += BLOCK;
                wrong = judge(&header, accepts, &size);
                if (wrong)
                        return wrong;
                if (size > length - at || padding(size) > length - at - size)
                        return "it is cut off";
                if (g_hash_table_contains(members, header.name))
                        return "it has a file twice";
                if (g_hash_table_size(members) >= TAR_MEMBERS_MAX)
                        return "it has too many files";
                g_hash_table_insert(members, g_strdup(header.name),
                                    g_bytes_new_from_bytes(bytes, at, size));
                at += size + padding(size);
        }
        return is_zero(data + at, length - at) ? NULL : "something follows its end";
}

static void unref_bytes(gpointer bytes) {
        g_bytes_unref(bytes);
}

int tar_read(GBytes *bytes, TarAccepts *accepts, GHashTable **ret, char **ret_wrong) {
        g_autoptr(GHashTable) members =
                g_hash_table_new_full(g_str_hash, g_str_equal, g_free, unref_bytes);
        const char *wrong = g_bytes_get_size(bytes) > TAR_BYTES_MAX
                                    ? "it is too large"
                                    : read_members(bytes, accepts, members);

        if (wrong) {
                *ret_wrong = g_strdup(wrong);
                return -EBADMSG;
        }
        *ret = g_steal_pointer(&members);
        return 0;
}
