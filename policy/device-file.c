#include "policy/device-file.h"

#include "policy/address.h"
#include "policy/number.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* O_ACCMODE and O_PATH in asm-generic/fcntl.h, octal in fdinfo (seq_show() in fs/proc/fd.c);
 * fcntl.h is for those who do I/O. */
#define FLAGS_ACCESS 03
#define FLAGS_PATH   010000000
/* The BARs of a function (PCI_STD_NUM_BARS). */
#define BARS_MAX 6

static bool is_digits(const char *text) {
        return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* "resource0" and "resource0_wc", but not "resource", which is a list. */
static bool is_resource(const char *name) {
        static const char prefix[] = "resource";
        const char *number = name + sizeof(prefix) - 1;

        if (!g_str_has_prefix(name, prefix) || number[0] < '0' || number[0] >= '0' + BARS_MAX)
                return false;
        return number[1] == '\0' || strcmp(number + 1, "_wc") == 0;
}

/* Whether the last folder of the path is that of a PCI function. */
static bool is_in_function(const char *link, const char *name) {
        g_autofree char *folder = g_strndup(link, (gsize) (name - link - 1));
        const char *last = strrchr(folder, '/');
        PciAddress address;

        return last && pci_address_parse(last + 1, &address) >= 0;
}

DeviceFile device_file_parse(const char *link) {
        const char *slash = strrchr(link, '/'), *name = slash ? slash + 1 : "";

        if (link[0] != '/')
                return DEVICE_FILE_OTHER;
        if (g_str_has_prefix(name, "uio"))
                return is_digits(name + strlen("uio")) ? DEVICE_FILE_UIO : DEVICE_FILE_OTHER;
        if (!is_resource(name) && strcmp(name, "config") != 0)
                return DEVICE_FILE_OTHER;
        if (!is_in_function(link, name))
                return DEVICE_FILE_OTHER;
        return name[0] == 'c' ? DEVICE_FILE_CONFIG : DEVICE_FILE_RESOURCE;
}

/* Where the value of `key` begins, after its blanks; NULL: there is no such line. */
static const char *find_line(const char *text, const char *key) {
        size_t length = strlen(key);

        for (const char *line = text; *line != '\0';) {
                size_t end = strcspn(line, "\n");

                if (strncmp(line, key, length) == 0)
                        return line + length + strspn(line + length, " \t");
                line += end + (line[end] == '\n');
        }
        return NULL;
}

OpenFlags open_flags_parse(const char *text) {
        const char *value = find_line(text, "flags:");
        guint64 flags = value ? g_ascii_strtoull(value, NULL, 8) : FLAGS_PATH;

        return (OpenFlags){
                .path_only = (flags & FLAGS_PATH) != 0,
                .writes = (flags & FLAGS_PATH) == 0 && (flags & FLAGS_ACCESS) != 0,
        };
}

/* "Uid:\t1000\t1000\t1000\t1000": real, effective, saved, file system. */
static int parse_uid(const char *value, uint32_t *ret) {
        const char *effective = value + strspn(value, "0123456789");
        g_autofree char *number = NULL;
        uint64_t uid;

        effective += strspn(effective, " \t");
        number = g_strndup(effective, strspn(effective, "0123456789"));
        if (number_parse(number, 10, UINT32_MAX, &uid) < 0)
                return -EBADMSG;
        *ret = (uint32_t) uid;
        return 0;
}

int process_status_parse(const char *text, ProcessStatus *ret) {
        const char *name = find_line(text, "Name:"), *uid = find_line(text, "Uid:");
        ProcessStatus status = { 0 };

        if (!name || !uid || parse_uid(uid, &status.uid) < 0)
                return -EBADMSG;
        g_strlcpy(status.name, name, MIN(sizeof(status.name), strcspn(name, "\n") + 1));
        *ret = status;
        return 0;
}
