#include "policy/device-file.h"

#include "policy/address.h"
#include "policy/number.h"
#include "policy/proc-text.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

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

bool device_file_parse_proc(const char *link, PciAddress *ret) {
        static const char folder[] = "/bus/pci/";
        const char *found = link[0] == '/' ? g_strrstr(link, folder) : NULL;
        const char *bus = found ? found + strlen(folder) : "", *slash = strchr(bus, '/');
        g_autofree char *address = NULL;

        if (!slash)
                return false;
        /* Domain 0 is not named (pci_proc_attach_device()). */
        address = g_strdup_printf("%s%.*s:%s",
                                  memchr(bus, ':', (size_t) (slash - bus)) ? "" : "0000:",
                                  (int) (slash - bus), bus, slash + 1);
        return pci_address_parse(address, ret) >= 0;
}

static int take_uid(const char *value, const char **ret_rest, uint32_t *ret) {
        size_t length = strspn(value, "0123456789");
        g_autofree char *number = g_strndup(value, length);
        uint64_t parsed;

        if (number_parse(number, 10, UINT32_MAX, &parsed) < 0)
                return -EBADMSG;
        *ret = (uint32_t) parsed;
        *ret_rest = value + length + strspn(value + length, " \t");
        return 0;
}

/* "Uid:\t1000\t1000\t1000\t1000": real, effective, saved, file system. */
static int parse_uid(const char *value, uint32_t *ret) {
        uint32_t real, effective;

        if (take_uid(value, &value, &real) < 0 || take_uid(value, &value, &effective) < 0)
                return -EBADMSG;
        *ret = real != 0 ? real : effective;
        return 0;
}

int process_status_parse(const char *text, ProcessStatus *ret) {
        const char *name = proc_text_find(text, "Name:"), *uid = proc_text_find(text, "Uid:"),
                   *state = proc_text_find(text, "State:"),
                   *descriptors = proc_text_find(text, "FDSize:");
        ProcessStatus status = { 0 };

        if (!name || !uid || parse_uid(uid, &status.uid) < 0)
                return -EBADMSG;
        /* The table goes first; for a while the thread runs without (do_exit(), task_state()). */
        status.ended = (state && (state[0] == 'Z' || state[0] == 'X')) ||
                       (descriptors && descriptors[0] == '0');
        g_strlcpy(status.name, name, MIN(sizeof(status.name), strcspn(name, "\n") + 1));
        *ret = status;
        return 0;
}

/* Returns the rest: "\n" when all of the line were taken. */
static const char *take_gids(const char *value, ProcessGroups *groups) {
        uint32_t gid;

        while (g_ascii_isdigit(*value) && groups->n < PROCESS_GROUPS_MAX &&
               take_uid(value, &value, &gid) == 0)
                groups->gids[groups->n++] = gid;
        return value;
}

void process_groups_parse(const char *text, ProcessGroups *ret) {
        const char *own = proc_text_find(text, "Gid:"), *others = proc_text_find(text, "Groups:");
        ProcessGroups groups = { 0 };
        const char *rest = "";
        uint32_t n_own;

        (void) take_gids(own ? own : "", &groups);
        n_own = groups.n;
        if (others)
                rest = take_gids(others, &groups);
        /* The last number may be a part of one. */
        if (*rest == '\0' && groups.n > n_own)
                groups.n--;
        groups.cut = *rest != '\n';
        groups.end = groups.n > n_own ? groups.gids[groups.n - 1] : 0;
        *ret = groups;
}

bool process_groups_may_contain(const ProcessGroups *groups, uint32_t gid) {
        for (uint32_t i = 0; i < groups->n; i++)
                if (groups->gids[i] == gid)
                        return true;
        return groups->cut && gid >= groups->end;
}
