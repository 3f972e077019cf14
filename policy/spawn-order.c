#include "policy/spawn-order.h"

#include "policy/number.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

/* NSIG; a wait status has seven bits for it. */
#define SIGNAL_MAX 127

const char *spawn_kind_to_name(SpawnKind kind) {
        switch (kind) {
        case SPAWN_OPEN:
                return "vfwarden-open";
        case SPAWN_IO:
                return "vfwarden-io";
        default:
                return NULL;
        }
}

static int take(const void *packet, size_t size, void *ret, size_t expected) {
        if (size != expected)
                return -EBADMSG;
        memcpy(ret, packet, size);
        return 0;
}

/* Whether all behind the text's NUL is zero, which is so of one that is whole. */
static bool is_text(const char *text, size_t size) {
        size_t length = strnlen(text, size);

        if (length == size)
                return false;
        for (size_t i = length; i < size; i++)
                if (text[i] != '\0')
                        return false;
        return true;
}

int spawn_order_take(const void *packet, size_t size, unsigned n_fds, SpawnOrder *ret) {
        SpawnOrder order;

        if (take(packet, size, &order, sizeof(order)) < 0 || n_fds != 1 ||
            order.version != SPAWN_VERSION || !spawn_kind_to_name((SpawnKind) order.kind))
                return -EBADMSG;
        *ret = order;
        return 0;
}

int spawn_started_take(const void *packet, size_t size, unsigned n_fds, SpawnStarted *ret) {
        SpawnStarted started;

        if (take(packet, size, &started, sizeof(started)) < 0 || started.error < 0 ||
            n_fds != (started.error == 0) || (started.error == 0 && started.pid <= 1))
                return -EBADMSG;
        *ret = started;
        return 0;
}

int spawn_ended_take(const void *packet, size_t size, unsigned n_fds, SpawnEnded *ret) {
        SpawnEnded ended;

        if (take(packet, size, &ended, sizeof(ended)) < 0 || n_fds != 0 || ended.killer < 0 ||
            ended.killer > SIGNAL_MAX)
                return -EBADMSG;
        *ret = ended;
        return 0;
}

static bool is_token(const VfToken *token) {
        if (!is_text(token->text, sizeof(token->text)) ||
            strlen(token->text) != sizeof(token->text) - 1)
                return false;
        for (const char *p = token->text; *p != '\0'; p++)
                if (!g_ascii_isxdigit(*p) && *p != '-')
                        return false;
        return true;
}

int vfio_task_take(const void *packet, size_t size, unsigned n_fds, VfioTask *ret) {
        static const VfioTask none;
        VfioTask task;
        bool is_device, may_have_container;

        if (take(packet, size, &task, sizeof(task)) < 0 || n_fds != 0 || task.kind == 0 ||
            task.kind >= _VFIO_TASK_MAX || task.number > INT32_MAX)
                return -EBADMSG;
        is_device = task.kind == VFIO_TASK_DEVICE || task.kind == VFIO_TASK_TOKEN;
        may_have_container = task.kind == VFIO_TASK_DEVICE && task.iommufd == 0;
        if (task.iommufd > (task.kind != VFIO_TASK_GROUP) || (!is_device && task.key != 0) ||
            task.container > 1 || (task.container == 1 && !may_have_container) ||
            pci_address_key(pci_address_from_key(task.key)) != task.key)
                return -EBADMSG;
        if (task.kind == VFIO_TASK_TOKEN ? !is_token(&task.token)
                                         : memcmp(&task.token, &none.token, sizeof(VfToken)) != 0)
                return -EBADMSG;
        if (memcmp(task.zero, none.zero, sizeof(none.zero)) != 0)
                return -EBADMSG;
        *ret = task;
        return 0;
}

int vfio_answer_take(const void *packet, size_t size, VfioAnswer *ret) {
        VfioAnswer answer;

        if (take(packet, size, &answer, sizeof(answer)) < 0 || answer.error < 0 ||
            !is_text(answer.step, sizeof(answer.step)))
                return -EBADMSG;
        *ret = answer;
        return 0;
}

int io_task_take(const void *packet, size_t size, unsigned n_fds, IoTask *ret) {
        IoTask task;

        if (take(packet, size, &task, sizeof(task)) < 0 || task.single > 1 || task.emulated > 1 ||
            task.listens > !task.single || task.dma > !task.single || task.zero != 0 ||
            n_fds != 2 - task.single + task.listens + io_task_has_container(&task) ||
            !is_text(task.driver, sizeof(task.driver)))
                return -EBADMSG;
        for (const char *p = task.driver; *p != '\0'; p++)
                if (!g_ascii_isgraph(*p))
                        return -EBADMSG;
        *ret = task;
        return 0;
}

int vfio_task_from_node(const char *name, bool iommufd, VfioTask *ret) {
        static const char cdev[] = "devices/vfio";
        bool is_cdev = g_str_has_prefix(name, cdev);
        uint64_t number;

        if (number_parse(is_cdev ? name + strlen(cdev) : name, 10, INT32_MAX, &number) < 0 ||
            (iommufd && !is_cdev))
                return -EINVAL;
        *ret = (VfioTask){
                .kind = is_cdev ? VFIO_TASK_CDEV : VFIO_TASK_GROUP,
                .iommufd = iommufd,
                .number = (uint32_t) number,
        };
        return 0;
}

void vfio_task_format_node(const VfioTask *task, char node[static VFIO_TASK_NODE_MAX]) {
        bool is_cdev = task->kind == VFIO_TASK_CDEV || task->iommufd;

        snprintf(node, VFIO_TASK_NODE_MAX, is_cdev ? "vfio/devices/vfio%u" : "vfio/%u",
                 task->number);
}
