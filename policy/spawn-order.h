/* spawn-order.h: what the daemon and vfwarden-spawn say to each other, and to the processes that it
 * starts; see daemon/broker/spawner.h.
 *
 * Pure rules: each packet is judged here before anything is done about it, for who may send it
 * could be somebody else than the daemon one day. All sockets are of type SOCK_SEQPACKET; one
 * structure is a packet. A connection to vfwarden-spawn carries one order:
 *
 *   daemon          SpawnOrder, with the other end of a channel
 *   vfwarden-spawn  SpawnStarted, with a pidfd if a process was started
 *   vfwarden-spawn  SpawnEnded, when that process has ended
 *
 * The process does nothing before it gets its task over the channel: a VfioTask, which it answers
 * with a VfioAnswer, or an IoTask with the descriptors that vfwarden-io serves. */
#pragma once

#include "policy/address.h"
#include "policy/vf-token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPAWN_VERSION 1

typedef enum SpawnKind {
        SPAWN_OPEN = 1, /* opens VFIO's device nodes */
        SPAWN_IO,       /* becomes vfwarden-io */
        _SPAWN_KIND_MAX,
} SpawnKind;

/* The process's name; NULL for no kind. */
const char *spawn_kind_to_name(SpawnKind kind);

typedef struct SpawnOrder {
        uint32_t version;
        uint32_t kind; /* SpawnKind */
} SpawnOrder;

typedef struct SpawnStarted {
        int32_t error; /* 0, or a positive errno: nothing was started */
        int32_t pid;
} SpawnStarted;

typedef struct SpawnEnded {
        int32_t killer; /* the signal that ended it, 0: by itself */
} SpawnEnded;

typedef enum VfioTaskKind {
        VFIO_TASK_GROUP = 1, /* the node of group `number` */
        VFIO_TASK_CDEV,      /* the node devices/vfio`number` */
        VFIO_TASK_DEVICE,    /* the device `key` over group `number` */
        VFIO_TASK_TOKEN,     /* the same with `token`; it is closed again */
        _VFIO_TASK_MAX,
} VfioTaskKind;

typedef struct VfioTask {
        uint32_t kind; /* VfioTaskKind */
        /* 1: /dev/iommu is opened, too; a device then by devices/vfio`number` and not over its
         * group. */
        uint32_t iommufd;
        PciKey key;
        uint32_t number;
        VfToken token;
        /* 1, of VFIO_TASK_DEVICE over its group: the answer has the container, too. */
        uint8_t container;
        uint8_t zero[6];
} VfioTask;

#define VFIO_ANSWER_FDS_MAX 2

/* The descriptors come beside it. */
typedef struct VfioAnswer {
        int32_t error; /* 0 or a positive errno */
        char step[60]; /* what failed, for people */
} VfioAnswer;

/* With the device; the client's socket, unless it is `single`; the socket that listens, and the
 * container. */
typedef struct IoTask {
        uint64_t max_mapped; /* bytes that the client may map */
        uint32_t single;     /* 1: requests come over the control socket */
        uint8_t emulated;    /* 1: the device is a memfd */
        uint8_t listens; /* 1: the client will connect, and its socket tells that it still may */
        uint8_t dma;     /* 1: the device may access the client's memory, by the container of a
                            device that is no memfd */
        uint8_t zero;
        char driver[64]; /* of the function, "" none */
} IoTask;

#define IO_TASK_FDS_MAX 4

/* Of a sound task. */
static inline bool io_task_has_container(const IoTask *task) {
        return task->dma && !task->emulated;
}

/* Each takes a packet of `size` bytes and `n_fds` descriptors. Returns 0, or -EBADMSG. */
int spawn_order_take(const void *packet, size_t size, unsigned n_fds, SpawnOrder *ret);
int spawn_started_take(const void *packet, size_t size, unsigned n_fds, SpawnStarted *ret);
int spawn_ended_take(const void *packet, size_t size, unsigned n_fds, SpawnEnded *ret);
int vfio_task_take(const void *packet, size_t size, unsigned n_fds, VfioTask *ret);
int vfio_answer_take(const void *packet, size_t size, VfioAnswer *ret);
int io_task_take(const void *packet, size_t size, unsigned n_fds, IoTask *ret);

/* The task of opening the node `name` below /dev/vfio ("12", "devices/vfio3"). Returns 0, or
 * -EINVAL when VFIO has no such nodes. */
int vfio_task_from_node(const char *name, bool iommufd, VfioTask *ret);

/* The node below /dev that a task opens. */
#define VFIO_TASK_NODE_MAX 32
void vfio_task_format_node(const VfioTask *task, char node[static VFIO_TASK_NODE_MAX]);
