#include "daemon/vfio-open.h"

#include "daemon/child.h"
#include "daemon/util.h"
#include "daemon/vfio-watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

struct VfioOpen {
        pid_t pid;
        int channel;
        sd_event *event;
        sd_event_source *answer;
        VfioOpenDone *done;
        void *context;
};

/* What the child says; the descriptor comes beside it. */
typedef struct Answer {
        int32_t error;
        char step[60];
} Answer;

static int open_node(const char *name) {
        char path[64];

        snprintf(path, sizeof(path), "%s/vfio/%s", vfio_watch_dev_directory(), name);
        return open(path, O_RDWR | O_CLOEXEC);
}

/* Returns the device's descriptor, or -1 with `*ret_step` and errno set. */
static int open_device(const char *address, int32_t group_number, const char **ret_step) {
        struct vfio_group_status status = { .argsz = sizeof(status) };
        _cleanup_(closep) int container = -1, group = -1;
        char number[16];
        int device;

        *ret_step = "/dev/vfio/vfio";
        container = open_node("vfio");
        if (container < 0)
                return -1;
        snprintf(number, sizeof(number), "%d", group_number);
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
        device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address);
        if (device >= 0)
                (void) fcntl(device, F_SETFD, FD_CLOEXEC);
        return device;
}

static void answer(int channel, int device, int error, const char *step) {
        Answer text = { .error = error };
        char control[CMSG_SPACE(sizeof(int))] = { 0 };
        struct iovec iov = { .iov_base = &text, .iov_len = sizeof(text) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

        g_strlcpy(text.step, step, sizeof(text.step));
        if (device >= 0) {
                struct cmsghdr *header;

                message.msg_control = control;
                message.msg_controllen = sizeof(control);
                header = CMSG_FIRSTHDR(&message);
                header->cmsg_level = SOL_SOCKET;
                header->cmsg_type = SCM_RIGHTS;
                header->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(header), &device, sizeof(device));
        }
        (void) sendmsg(channel, &message, MSG_NOSIGNAL);
}

static void __attribute__((noreturn)) run(const Function *function, int channel) {
        char address[PCI_ADDRESS_STRING_MAX];
        const char *step;
        int device;

        device = open_device(pci_address_format(function_address(function), address),
                             function->facts.iommu_group, &step);
        answer(channel, device, device < 0 ? errno : 0, step);
        _exit(EXIT_SUCCESS);
}

static int receive(int channel, Answer *ret) {
        char control[CMSG_SPACE(sizeof(int))];
        struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
        struct msghdr message = { .msg_iov = &iov,
                                  .msg_iovlen = 1,
                                  .msg_control = control,
                                  .msg_controllen = sizeof(control) };
        const struct cmsghdr *header;
        int fd;

        if (recvmsg(channel, &message, MSG_CMSG_CLOEXEC) != sizeof(*ret)) {
                g_strlcpy(ret->step, "the process that opens it", sizeof(ret->step));
                return -EIO;
        }
        ret->step[sizeof(ret->step) - 1] = '\0';
        header = CMSG_FIRSTHDR(&message);
        if (!header || header->cmsg_type != SCM_RIGHTS)
                return ret->error > 0 ? -ret->error : -EIO;
        memcpy(&fd, CMSG_DATA(header), sizeof(fd));
        return fd;
}

static int on_answer(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        const VfioOpen *open = userdata;
        Answer text = { 0 };

        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        fd = receive(fd, &text);
        open->done(open->context, fd, text.step); /* frees */
        return 0;
}

int vfio_open_start(sd_event *event, const Function *function, VfioOpenDone *done, void *context,
                    VfioOpen **ret) {
        _cleanup_(closep) int ours = -1, theirs = -1;
        int pair[2], r;
        VfioOpen *open;
        pid_t pid;

        if (function->facts.iommu_group < 0)
                return -EOPNOTSUPP;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        ours = pair[0];
        theirs = pair[1];
        pid = child_fork("vfwarden-open", &theirs, 1);
        if (pid == 0)
                run(function, theirs);
        if (pid < 0)
                return (int) pid;

        open = g_new0(VfioOpen, 1);
        open->event = sd_event_ref(event);
        open->pid = pid;
        open->channel = take_fd(&ours);
        open->done = done;
        open->context = context;
        r = sd_event_add_io(event, &open->answer, open->channel, EPOLLIN, on_answer, open);
        if (r < 0) {
                vfio_open_free(open);
                return r;
        }
        *ret = open;
        return 0;
}

pid_t vfio_open_pid(const VfioOpen *open) {
        return open->pid;
}

VfioOpen *vfio_open_free(VfioOpen *open) {
        if (!open)
                return NULL;
        sd_event_source_disable_unref(open->answer);
        (void) kill(open->pid, SIGKILL);
        child_forget(open->event, open->pid);
        closep(&open->channel);
        sd_event_unref(open->event);
        g_free(open);
        return NULL;
}
