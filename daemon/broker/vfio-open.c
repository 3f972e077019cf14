#include "daemon/broker/vfio-open.h"

#include "daemon/base/util.h"
#include "daemon/broker/packet.h"
#include "daemon/usage/vfio-node.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

struct VfioOpen {
        VfioOpenFor whom;
        Helper *helper;
        VfioTask task;
        uint64_t since_usec; /* CLOCK_MONOTONIC */
        bool told;
        /* One of them. */
        VfioOpenDone *done;
        VfioNodeDone *node_done;
        VfioImposed *imposed;
        void *context;
};

/* Reports the result; the handler frees. `n` is the number of descriptors, or a negative errno. */
static void tell_opened(VfioOpen *open, int n, const int *fds, const char *step) {
        int fd = n > 0 && fds ? fds[0] : n < 0 ? n : -EIO;
        int second = n > 1 && fds ? fds[1] : -1;

        open->told = true;
        helper_ignore(open->helper);
        if (open->imposed)
                open->imposed(open->context, n < 0 ? n : 0, step);
        else if (open->node_done)
                open->node_done(open->context, fd, second, step);
        else
                open->done(open->context, fd, second, step);
}

/* How many descriptors come with success. */
static unsigned expected_fds(const VfioTask *task) {
        if (task->kind == VFIO_TASK_DEVICE)
                return 1 + task->container;
        return task->kind == VFIO_TASK_TOKEN ? 0 : 1 + task->iommufd;
}

/* Returns -EAGAIN when there is no answer yet. */
static int take_answer(VfioOpen *open, int channel) {
        char buffer[sizeof(VfioAnswer) + 1];
        VfioAnswer answer = { 0 };
        Packet packet = { 0 };
        int r = packet_receive(channel, buffer, sizeof(buffer), MSG_DONTWAIT, &packet);

        if (r == -EAGAIN || r == -EINTR)
                return -EAGAIN;
        if (r < 0 || vfio_answer_take(buffer, packet.size, &answer) < 0 ||
            (answer.error == 0 && packet.n_fds != expected_fds(&open->task)))
                tell_opened(open, -EIO, NULL, "the process that opens it");
        else if (answer.error > 0)
                tell_opened(open, -answer.error, NULL, answer.step);
        else {
                /* They are the callee's. */
                tell_opened(open, (int) packet.n_fds, packet.fds, answer.step);
                return 0;
        }
        packet_clear(&packet);
        return 0;
}

static void on_device_answer(void *context, int channel) {
        (void) take_answer(context, channel);
}

static void on_opener_ended(void *context, int killer) {
        VfioOpen *open = context;

        if (!open->told && take_answer(open, helper_channel(open->helper)) < 0)
                tell_opened(open, -EIO, NULL, "the process that opens it");
}

static void on_started(void *context, int result) {
        VfioOpen *open = context;

        if (open->told)
                return;
        if (result >= 0) {
                if (open->whom.begun)
                        open->whom.begun(open->context, helper_pid(open->helper));
                result = packet_send(helper_channel(open->helper), &open->task, sizeof(open->task),
                                     NULL, 0);
        }
        explicit_bzero(&open->task.token, sizeof(open->task.token));
        if (result < 0)
                tell_opened(open, result, NULL, "the process that opens it");
}

/* It keeps its copy of the device. */
static const HelperHandler device_handler = {
        .name = "vfwarden-open",
        .started = on_started,
        .readable = on_device_answer,
        .ended = on_opener_ended,
};

/* Its answer is taken when it has ended: a client who has the node is its only user then. */
static const HelperHandler node_handler = {
        .name = "vfwarden-open",
        .started = on_started,
        .ended = on_opener_ended,
};

static int start(const VfioOpenFor *whom, const VfioTask *task, void *context, VfioOpen **ret) {
        VfioOpen *open = g_new0(VfioOpen, 1);
        int r;

        open->whom = *whom;
        open->task = *task;
        open->since_usec = (uint64_t) g_get_monotonic_time();
        open->context = context;
        r = spawner_start(whom->spawner, SPAWN_OPEN,
                          task->kind == VFIO_TASK_DEVICE ? &device_handler : &node_handler, open,
                          &open->helper);
        if (r < 0) {
                vfio_open_free(open);
                return r;
        }
        *ret = open;
        return 0;
}

/* Over the function's group, whose container the answer has, too, if it is asked for. */
static int choose_group(const Function *function, bool container, VfioTask *task) {
        if (function->facts.iommu_group < 0)
                return -EOPNOTSUPP;
        task->number = (uint32_t) function->facts.iommu_group;
        task->container = container;
        return 0;
}

/* Sets how the device is opened: by its own node where that can be used, else over its group. */
static int choose_way(const Function *function, VfioTask *task) {
        g_autofree char *node = NULL;
        LeaseKind kind;
        int r;

        r = vfio_node_choose(function, _LEASE_KIND_INVALID, &kind, &node);
        if (r == -EOPNOTSUPP)
                kind = LEASE_KIND_GROUP; /* which says what is missing */
        else if (r < 0)
                return r;
        if (kind == LEASE_KIND_DEVICE)
                return vfio_task_from_node(node, true, task);
        return choose_group(function, false, task);
}

static int start_device(const VfioOpenFor *whom, const Function *function, const VfToken *token,
                        bool container, void *context, VfioOpen **ret) {
        VfioTask task = { 0 };
        int r;

        r = container ? choose_group(function, true, &task) : choose_way(function, &task);
        if (r < 0)
                return r;
        task.kind = token ? VFIO_TASK_TOKEN : VFIO_TASK_DEVICE;
        task.key = function->facts.key;
        if (token)
                task.token = *token;
        r = start(whom, &task, context, ret);
        explicit_bzero(&task.token, sizeof(task.token));
        return r;
}

int vfio_open_start(const VfioOpenFor *whom, const Function *function, bool container,
                    VfioOpenDone *done, void *context, VfioOpen **ret) {
        int r = start_device(whom, function, NULL, container, context, ret);

        if (r >= 0)
                (*ret)->done = done;
        return r;
}

int vfio_open_node(const VfioOpenFor *whom, const char *name, bool iommufd, VfioNodeDone *done,
                   void *context, VfioOpen **ret) {
        VfioTask task;
        int r = vfio_task_from_node(name, iommufd, &task);

        if (r >= 0)
                r = start(whom, &task, context, ret);
        if (r >= 0)
                (*ret)->node_done = done;
        return r;
}

int vfio_open_impose(const VfioOpenFor *whom, const Function *pf, const VfToken *token,
                     VfioImposed *done, void *context, VfioOpen **ret) {
        int r = start_device(whom, pf, token, false, context, ret);

        if (r >= 0)
                (*ret)->imposed = done;
        return r;
}

/* Closes what the process has sent and nobody has taken. That comes before SIGKILL, as long as the
 * process has its own copy: the last close resets the device. From now on it cannot send (EPIPE by
 * unix_dgram_sendmsg()). */
static void discard_answer(int channel) {
        char buffer[sizeof(VfioAnswer) + 1];
        Packet packet;

        (void) shutdown(channel, SHUT_RD);
        while (packet_receive(channel, buffer, sizeof(buffer), MSG_DONTWAIT, &packet) >= 0 &&
               packet.size > 0)
                packet_clear(&packet);
}

VfioOpen *vfio_open_free(VfioOpen *open) {
        uint64_t now = (uint64_t) g_get_monotonic_time();

        if (!open)
                return NULL;
        if (open->helper && !open->told)
                discard_answer(helper_channel(open->helper));
        helper_condemn(open->helper, open->whom.children,
                       &(KilledChild){
                               .pidfd = -1,
                               .key = open->whom.key,
                               .uid = open->whom.uid,
                               .late = now - open->since_usec >= CHILDREN_GRACE_USEC,
                       });
        explicit_bzero(&open->task.token, sizeof(open->task.token));
        g_free(open);
        return NULL;
}
