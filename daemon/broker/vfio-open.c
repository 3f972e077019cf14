#include "daemon/broker/vfio-open.h"

#include "daemon/base/child.h"
#include "daemon/base/util.h"
#include "daemon/broker/vfio-cdev.h"
#include "daemon/usage/vfio-node.h"
#include "daemon/usage/vfio-watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define FDS_MAX 2

struct VfioOpen {
        VfioOpenFor whom;
        pid_t pid;
        uint64_t since_usec; /* CLOCK_MONOTONIC */
        int channel;
        sd_event_source *answer;
        /* One of them. */
        VfioOpenDone *done;
        VfioNodeDone *node_done;
        VfioImposed *imposed;
        void *context;
};

/* The order to the child. */
typedef struct Task {
        const Function *function; /* its device is to be opened ... */
        const VfToken *token;     /* ... with this, and closed; or NULL */
        const char *node;         /* this is to be opened; or the device by it; or NULL ... */
        bool iommufd;             /* ... and /dev/iommu, too */
} Task;

/* The report of the child; the descriptors come beside it. */
typedef struct Answer {
        int32_t error;
        char step[60];
} Answer;

/* `name` below /dev. */
static int open_node(const char *name) {
        char path[64];

        snprintf(path, sizeof(path), "%s/%s", vfio_watch_dev_directory(), name);
        return open(path, O_RDWR | O_CLOEXEC);
}

/* Opens by name: "ADDRESS", or "ADDRESS vf_token=UUID". Returns the device's descriptor, or -1 with
 * `*ret_step` and errno set. */
static int open_device(const char *name, int32_t group_number, const char **ret_step) {
        struct vfio_group_status status = { .argsz = sizeof(status) };
        _cleanup_(closep) int container = -1, group = -1;
        char number[32];
        int device;

        *ret_step = "/dev/vfio/vfio";
        container = open_node("vfio/vfio");
        if (container < 0)
                return -1;
        snprintf(number, sizeof(number), "vfio/%d", group_number);
        *ret_step = "the node of its IOMMU group";
        group = open_node(number);
        if (group < 0 || ioctl(group, VFIO_GROUP_GET_STATUS, &status) < 0)
                return -1;
        if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
                *ret_step = "its IOMMU group, of which a member has a driver of the host";
                errno = EPERM;
                return -1;
        }
        *ret_step = "attaching the group to a container";
        if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) < 0)
                return -1;
        *ret_step = "an IOMMU for the container";
        if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
                return -1;
        *ret_step = "the device";
        device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
        if (device >= 0)
                (void) fcntl(device, F_SETFD, FD_CLOEXEC);
        return device;
}

static void answer(int channel, const int *fds, unsigned n_fds, int error, const char *step) {
        Answer text = { .error = error };
        char control[CMSG_SPACE(FDS_MAX * sizeof(int))] = { 0 };
        struct iovec iov = { .iov_base = &text, .iov_len = sizeof(text) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

        g_strlcpy(text.step, step, sizeof(text.step));
        if (n_fds > 0) {
                struct cmsghdr *header;

                message.msg_control = control;
                message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
                header = CMSG_FIRSTHDR(&message);
                header->cmsg_level = SOL_SOCKET;
                header->cmsg_type = SCM_RIGHTS;
                header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
        }
        (void) sendmsg(channel, &message, MSG_NOSIGNAL);
}

/* By its own node. */
static int open_by_node(const char *node, const VfToken *token, const char **ret_step) {
        const char *dev = vfio_watch_dev_directory();
        char path[64], iommufd[64];

        snprintf(path, sizeof(path), "%s/vfio/%s", dev, node);
        snprintf(iommufd, sizeof(iommufd), "%s/iommu", dev);
        return vfio_cdev_open(path, iommufd, token, ret_step);
}

/* Over its group. */
static int open_by_group(const Function *function, const VfToken *token, const char **ret_step) {
        char address[PCI_ADDRESS_STRING_MAX],
                name[PCI_ADDRESS_STRING_MAX + sizeof(" vf_token=") + VF_TOKEN_STRING_MAX];
        int device;

        pci_address_format(function_address(function), address);
        if (token)
                snprintf(name, sizeof(name), "%s vf_token=%s", address, token->text);
        else
                g_strlcpy(name, address, sizeof(name));
        device = open_device(name, function->facts.iommu_group, ret_step);
        explicit_bzero(name, sizeof(name));
        return device;
}

static void run_device(const Task *task, int channel) {
        const VfToken *token = task->token;
        const char *step;
        int device = task->node ? open_by_node(task->node, token, &step)
                                : open_by_group(task->function, token, &step);
        int error = device < 0 ? errno : 0;

        if (device >= 0 && token) {
                /* The handler finds the PF free. */
                close(device);
                device = -1;
        }
        answer(channel, &device, device >= 0, error, step);
        /* The copy here is not to be closed before the daemon's: until it is killed, or the daemon
         * ends. */
        while (device >= 0 && recv(channel, &error, sizeof(error), 0) > 0)
                ;
}

static void run_node(const Task *task, int channel) {
        char node[48];
        int fds[FDS_MAX];
        unsigned n = 0;

        snprintf(node, sizeof(node), "vfio/%s", task->node);
        fds[n] = open_node(node);
        if (fds[n] < 0) {
                answer(channel, NULL, 0, errno, "its node");
                return;
        }
        n++;
        if (task->iommufd) {
                fds[n] = open_node("iommu");
                if (fds[n] < 0) {
                        answer(channel, NULL, 0, errno, "/dev/iommu");
                        return;
                }
                n++;
        }
        answer(channel, fds, n, 0, "");
}

/* Returns how many descriptors came, or a negative errno. */
static int receive(int channel, Answer *ret, int fds[FDS_MAX]) {
        char control[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
        struct msghdr message = { .msg_iov = &iov,
                                  .msg_iovlen = 1,
                                  .msg_control = control,
                                  .msg_controllen = sizeof(control) };
        const struct cmsghdr *header;
        size_t size;
        ssize_t n;

        n = recvmsg(channel, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n != sizeof(*ret)) {
                g_strlcpy(ret->step, "the process that opens it", sizeof(ret->step));
                return -EIO;
        }
        ret->step[sizeof(ret->step) - 1] = '\0';
        if (ret->error != 0)
                return ret->error > 0 ? -ret->error : -EIO;
        header = CMSG_FIRSTHDR(&message);
        if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                return 0;
        size = header->cmsg_len - CMSG_LEN(0);
        memcpy(fds, CMSG_DATA(header), size);
        return (int) (size / sizeof(int));
}

/* Each of these frees. */
static int on_answer(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        const VfioOpen *open = userdata;
        Answer text = { 0 };
        int fds[FDS_MAX] = { -1, -1 };
        int n;

        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        n = receive(fd, &text, fds);
        if (open->imposed)
                open->imposed(open->context, n < 0 ? n : 0, text.step);
        else if (open->node_done)
                open->node_done(open->context,
                                n > 0   ? fds[0]
                                : n < 0 ? n
                                        : -EIO,
                                fds[1], text.step);
        else
                open->done(open->context, n > 0 ? fds[0] : n < 0 ? n : -EIO, text.step);
        return 0;
}

static int start(sd_event *event, const VfioOpenFor *whom, const Task *task, void *context,
                 VfioOpen **ret) {
        _cleanup_(closep) int ours = -1, theirs = -1;
        int pair[2], r;
        VfioOpen *open;
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        ours = pair[0];
        theirs = pair[1];
        pid = child_fork("vfwarden-open", &theirs, 1);
        if (pid == 0) {
                if (task->function)
                        run_device(task, theirs);
                else
                        run_node(task, theirs);
                _exit(EXIT_SUCCESS);
        }
        if (pid < 0)
                return (int) pid;

        open = g_new0(VfioOpen, 1);
        open->whom = *whom;
        open->since_usec = (uint64_t) g_get_monotonic_time();
        open->pid = pid;
        open->channel = take_fd(&ours);
        open->context = context;
        r = sd_event_add_io(event, &open->answer, open->channel, EPOLLIN, on_answer, open);
        if (r < 0) {
                vfio_open_free(open);
                return r;
        }
        *ret = open;
        return 0;
}

/* Sets how the device is opened: by its own node where that can be used, else over its group. */
static int choose_way(Task *task, char **ret_node) {
        const Function *function = task->function;
        g_autofree char *node = NULL;
        LeaseKind kind;
        int r;

        r = vfio_node_choose(function, _LEASE_KIND_INVALID, &kind, &node);
        if (r == -EOPNOTSUPP)
                kind = LEASE_KIND_GROUP; /* which says what is missing */
        else if (r < 0)
                return r;
        if (kind == LEASE_KIND_GROUP)
                return function->facts.iommu_group < 0 ? -EOPNOTSUPP : 0;
        task->node = *ret_node = g_steal_pointer(&node);
        return 0;
}

int vfio_open_start(sd_event *event, const VfioOpenFor *whom, const Function *function,
                    VfioOpenDone *done, void *context, VfioOpen **ret) {
        Task task = { .function = function };
        g_autofree char *node = NULL;
        int r;

        r = choose_way(&task, &node);
        if (r >= 0)
                r = start(event, whom, &task, context, ret);
        if (r >= 0)
                (*ret)->done = done;
        return r;
}

int vfio_open_node(sd_event *event, const VfioOpenFor *whom, const char *name, bool iommufd,
                   VfioNodeDone *done, void *context, VfioOpen **ret) {
        const Task task = { .node = name, .iommufd = iommufd };
        int r;

        r = start(event, whom, &task, context, ret);
        if (r >= 0)
                (*ret)->node_done = done;
        return r;
}

int vfio_open_impose(sd_event *event, const VfioOpenFor *whom, const Function *pf,
                     const VfToken *token, VfioImposed *done, void *context, VfioOpen **ret) {
        Task task = { .function = pf, .token = token };
        g_autofree char *node = NULL;
        int r;

        r = choose_way(&task, &node);
        if (r >= 0)
                r = start(event, whom, &task, context, ret);
        if (r >= 0)
                (*ret)->imposed = done;
        return r;
}

pid_t vfio_open_pid(const VfioOpen *open) {
        return open->pid;
}

VfioOpen *vfio_open_free(VfioOpen *open) {
        uint64_t now = (uint64_t) g_get_monotonic_time();
        KilledChild child;

        if (!open)
                return NULL;
        sd_event_source_disable_unref(open->answer);
        child = (KilledChild){
                .pid = open->pid,
                .pidfd = -1,
                .name = "vfwarden-open",
                .key = open->whom.key,
                .uid = open->whom.uid,
                .late = now - open->since_usec >= CHILDREN_GRACE_USEC,
        };
        children_kill(open->whom.children, &child);
        closep(&open->channel);
        g_free(open);
        return NULL;
}
