#include "policy/external-removal.h"

#include "policy/slot.h"
#include "policy/topology.h"

#include <string.h>

void removal_writer_free(RemovalWriter *writer) {
        g_free(writer->path);
        g_free(writer);
}

const char *external_removal_path(const char *path) {
        const char *found = strstr(path, "/devices/");

        return found ? found : strstr(path, "/bus/pci/");
}

Operation external_removal_file_operation(const char *path) {
        static const struct {
                const char *beginning, *end;
                Operation operation;
        } files[] = {
                { "/devices/", "/remove", OPERATION_REMOVE },
                { "/devices/", "/recover", OPERATION_REMOVE }, /* recover_store() of s390 */
                { "/devices/", "/sriov_numvfs", OPERATION_SET_NUM_VFS },
                { "/bus/pci/slots/", "/power", OPERATION_POWER_OFF },
                { "/bus/pci/drivers/", "/unbind", OPERATION_UNBIND },
                { EXTERNAL_REMOVAL_OF_MODULE, "", OPERATION_UNBIND },
        };

        for (unsigned i = 0; i < G_N_ELEMENTS(files); i++)
                if (g_str_has_prefix(path, files[i].beginning) &&
                    g_str_has_suffix(path, files[i].end))
                        return files[i].operation;
        return _OPERATION_INVALID;
}

bool external_removal_is_stuck(const Function *function) {
        return function->facts.driver[0] == '\0' && function_is_held(function);
}

/* What we do to a bridge, we do to all that is below it. */
static bool is_ours(const Function *function) {
        for (; function; function = function->parent)
                if (function->operation)
                        return true;
        return false;
}

bool external_removal_suspects(const Function *function) {
        return external_removal_is_stuck(function) && !function->outside && !is_ours(function) &&
               !(function->pf && function->pf->operation);
}

/* Whether `path` is the file `name` of the directory. */
static bool is_file_of(const char *path, const char *directory, const char *name) {
        size_t length = directory ? strlen(directory) : 0;

        return length > 0 && strncmp(path, directory, length) == 0 && path[length] == '/' &&
               strcmp(path + length + 1, name) == 0;
}

static bool is_removal_of(const char *path, const char *directory) {
        return is_file_of(path, directory, "remove") || is_file_of(path, directory, "recover");
}

/* Whether `path` is the file `remove` of a directory above: a bridge's. */
static bool is_remove_above(const char *path, const char *directory) {
        const char *last = strrchr(path, '/');
        size_t length = (size_t) (last - path);

        return directory && strlen(directory) > length && strncmp(path, directory, length) == 0 &&
               directory[length] == '/';
}

/* The function in whose directory the file at `path` is, of those above `function`. */
static Function *find_above(Function *function, const char *path) {
        g_autofree char *directory = g_path_get_dirname(path);
        const char *name = strrchr(directory, '/');
        PciAddress address;

        if (!name || pci_address_parse(name + 1, &address) < 0)
                return NULL;
        while (function && function->facts.key != pci_address_key(address))
                function = function->parent;
        return function;
}

static Function *head(Function *function) {
        return function->pf && !function->facts.s390 ? function->pf : function;
}

/* The whole slot, or what is behind a bridge. */
static RemovalFinding find_device(Function *function, Operation operation, uint32_t pid) {
        const Function *owner = topology_slot_owner(function);

        return (RemovalFinding){ .operation = operation,
                                 .pid = pid,
                                 .subject = owner ? (Function *) owner : head(function),
                                 .takes_subject = true,
                                 .takes_vfs = true,
                                 .takes_slot = !function->facts.s390,
                                 .takes_below = true };
}

/* A bridge is removed with all that is below it. */
static RemovalFinding find_bridge(Function *function, const RemovalWriter *writer) {
        Function *bridge = find_above(function, writer->path);

        if (!bridge) /* one that is not known */
                return find_device(function, OPERATION_REMOVE, writer->pid);
        return (RemovalFinding){ .operation = OPERATION_REMOVE,
                                 .pid = writer->pid,
                                 .subject = bridge,
                                 .takes_subject = true,
                                 .takes_vfs = true,
                                 .takes_below = true };
}

/* The operation of the write, if it takes `function` away. */
static bool judge_writer(Function *function, const RemovalPlace *place, const RemovalWriter *writer,
                         RemovalFinding *ret) {
        RemovalFinding finding = { .operation = writer->operation, .pid = writer->pid };

        switch (writer->operation) {
        case OPERATION_SET_NUM_VFS:
                finding.subject = function->pf;
                finding.takes_vfs = true;
                *ret = finding;
                return is_file_of(writer->path, place->pf, "sriov_numvfs");
        case OPERATION_POWER_OFF:
                *ret = find_device(function, OPERATION_POWER_OFF, writer->pid);
                return g_strcmp0(writer->path, place->power) == 0;
        case OPERATION_REMOVE:
                if (is_remove_above(writer->path, place->function)) {
                        *ret = find_bridge(function, writer);
                        return true;
                }
                finding.subject = is_removal_of(writer->path, place->pf) ? function->pf : function;
                finding.takes_subject = finding.takes_vfs = true;
                *ret = finding;
                return finding.subject != function || is_removal_of(writer->path, place->function);
        default:
                return false;
        }
}

/* A file `unbind` serves all functions of a driver, and does not say which is written; nor does a
 * system call show which module is unloaded (`of_module`). */
static uint32_t unbinder(const GPtrArray *writers, bool of_module) {
        for (guint i = 0; i < writers->len; i++) {
                const RemovalWriter *writer = writers->pdata[i];

                if (writer->operation == OPERATION_UNBIND &&
                    g_str_equal(writer->path, EXTERNAL_REMOVAL_OF_MODULE) == of_module)
                        return writer->pid;
        }
        return 0;
}

/* A driver that takes its VFs along has been taken from the PF before they go. */
static RemovalFinding find_pf_unbound(Function *pf, const RemovalPlace *place,
                                      const GPtrArray *writers) {
        return (RemovalFinding){ .operation = OPERATION_UNBIND,
                                 .pid = unbinder(writers, place->driver_leaves),
                                 .subject = pf,
                                 .driver = place->driver_leaves ? pf->last_driver : NULL,
                                 .takes_vfs = true };
}

static RemovalFinding find_removal(Function *function, const RemovalPlace *place,
                                   const GPtrArray *writers) {
        RemovalFinding finding;
        uint32_t pid = unbinder(writers, false);

        for (guint i = 0; i < writers->len; i++)
                if (judge_writer(function, place, writers->pdata[i], &finding))
                        return finding;
        if (function->pf && function->pf->facts.driver[0] == '\0')
                return find_pf_unbound(function->pf, place, writers);
        if (pid != 0 || place->remover != 0)
                return (RemovalFinding){ .operation = OPERATION_UNBIND,
                                         .pid = pid,
                                         .subject = function };
        return find_device(function, OPERATION_POWER_OFF, 0);
}

RemovalFinding external_removal_judge(Function *function, const RemovalPlace *place,
                                      const GPtrArray *writers) {
        RemovalFinding finding = find_removal(function, place, writers);

        if (place->remover != 0)
                finding.pid = place->remover;
        return finding;
}

static void external_removal_add_once(GPtrArray *array, Function *function) {
        if (!g_ptr_array_find(array, function, NULL))
                g_ptr_array_add(array, function);
}

static void add_with_vfs(GPtrArray *array, const RemovalFinding *finding, Function *function,
                         bool itself) {
        g_autoptr(GPtrArray) below = NULL;

        for (guint i = 0; finding->takes_vfs && function->vfs && i < function->vfs->len; i++)
                external_removal_add_once(array, function->vfs->pdata[i]);
        below = finding->takes_below ? topology_below(function) : NULL;
        for (guint i = 0; below && i < below->len; i++)
                external_removal_add_once(array, below->pdata[i]);
        if (itself)
                external_removal_add_once(array, function);
}

GPtrArray *external_removal_affected(const Inventory *inventory, Function *function,
                                     const RemovalFinding *finding) {
        GPtrArray *affected = g_ptr_array_new();
        g_autoptr(GPtrArray) mates = NULL;

        g_ptr_array_add(affected, function);
        add_with_vfs(affected, finding, finding->subject, finding->takes_subject);
        mates = finding->takes_slot ? slot_mates(inventory, finding->subject) : NULL;
        for (guint i = 0; mates && i < mates->len; i++)
                add_with_vfs(affected, finding, mates->pdata[i], true);
        return affected;
}
