/* The process that opens VFIO's device nodes. */
#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/broker/packet.h"
#include "daemon/broker/spawn-child.h"
#include "daemon/broker/vfio-cdev.h"

#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* `name` below /dev. */
static int open_node(const char *name) {
        char path[64];

        snprintf(path, sizeof(path), "%s/%s", process_system_dev(), name);
        return open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
}

/* Opens by name: "ADDRESS", or "ADDRESS vf_token=UUID". Returns the device's descriptor, or -1 with
 * `*ret_step` and errno set. `*ret_container` is written on success, if the task says so. */
static int open_device(const VfioTask *task, const char *name, int *ret_container,
                       const char **ret_step) {
        struct vfio_group_status status = { .argsz = sizeof(status) };
        _cleanup_(closep) int container = -1, group = -1;
        char node[VFIO_TASK_NODE_MAX];
        int device;

        *ret_step = "/dev/vfio/vfio";
        container = open_node("vfio/vfio");
        if (container < 0)
                return -1;
        vfio_task_format_node(task, node);
        *ret_step = "the node of its IOMMU group";
        group = open_node(node);
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
        if (device < 0)
                return -1;
        (void) fcntl(device, F_SETFD, FD_CLOEXEC);
        if (task->container)
                *ret_container = take_fd(&container);
        return device;
}

static void answer(int channel, const int *fds, unsigned n_fds, int error, const char *step) {
        VfioAnswer text = { .error = error };

        /* The rest is zero, as vfio_answer_take() wants it. */
        g_strlcpy(text.step, step, sizeof(text.step));
        (void) packet_send(channel, &text, sizeof(text), fds, n_fds);
}

/* By its own node. */
static int open_by_node(const VfioTask *task, const char **ret_step) {
        const char *dev = process_system_dev();
        char node[VFIO_TASK_NODE_MAX], path[64], iommufd[64];

        vfio_task_format_node(task, node);
        snprintf(path, sizeof(path), "%s/%s", dev, node);
        snprintf(iommufd, sizeof(iommufd), "%s/iommu", dev);
        return vfio_cdev_open(path, iommufd, task->kind == VFIO_TASK_TOKEN ? &task->token : NULL,
                              ret_step);
}

/* Over its group. */
static int open_by_group(const VfioTask *task, int *ret_container, const char **ret_step) {
        char address[PCI_ADDRESS_STRING_MAX],
                name[PCI_ADDRESS_STRING_MAX + sizeof(" vf_token=") + VF_TOKEN_STRING_MAX];
        int device;

        pci_address_format(pci_address_from_key(task->key), address);
        if (task->kind == VFIO_TASK_TOKEN)
                snprintf(name, sizeof(name), "%s vf_token=%s", address, task->token.text);
        else
                g_strlcpy(name, address, sizeof(name));
        device = open_device(task, name, ret_container, ret_step);
        explicit_bzero(name, sizeof(name));
        return device;
}

static void run_device(const VfioTask *task, int channel) {
        _cleanup_(closep) int container = -1;
        const char *step;
        int device =
                task->iommufd ? open_by_node(task, &step) : open_by_group(task, &container, &step);
        int error = device < 0 ? errno : 0;
        const int fds[] = { device, container };
        char byte;

        if (device >= 0 && task->kind == VFIO_TASK_TOKEN) {
                /* The handler finds the PF free. */
                close(device);
                device = -1;
        }
        answer(channel, fds, device < 0 ? 0 : 1 + task->container, error, error != 0 ? step : "");
        closep(&container);
        /* The copy here is not to be closed before the daemon's: until it is killed, or the daemon
         * ends. */
        while (device >= 0 && recv(channel, &byte, sizeof(byte), 0) > 0)
                ;
}

static void run_node(const VfioTask *task, int channel) {
        char node[VFIO_TASK_NODE_MAX];
        int fds[VFIO_ANSWER_FDS_MAX];
        unsigned n = 0;

        vfio_task_format_node(task, node);
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

void spawn_open_run(int channel) {
        char buffer[sizeof(VfioTask) + 1];
        Packet packet;
        VfioTask task;

        if (packet_receive(channel, buffer, sizeof(buffer), 0, &packet) < 0 ||
            vfio_task_take(buffer, packet.size, packet.n_fds, &task) < 0)
                return;
        if (task.kind == VFIO_TASK_DEVICE || task.kind == VFIO_TASK_TOKEN)
                run_device(&task, channel);
        else
                run_node(&task, channel);
        _exit(0);
}
