#include "policy/device-node.h"

#include <string.h>

/* A node of a mediated device is found by another way, since its subsystem is VFIO's. */
static const struct {
        const char *subsystem;
        UseKind use;
} device_subsystems[] = {
        { "accel", USE_PROGRAM_DISPLAY },
        { "block", USE_PROGRAM_BLOCK },
        { "bsg", USE_PROGRAM_STORAGE },
        { "drm", USE_PROGRAM_DISPLAY },
        { "graphics", USE_PROGRAM_DISPLAY },
        { "hidraw", USE_PROGRAM_INPUT },
        { "infiniband_mad", USE_PROGRAM_RDMA },
        { "infiniband_verbs", USE_PROGRAM_RDMA },
        { "input", USE_PROGRAM_INPUT },
        { "nvme", USE_PROGRAM_STORAGE },
        { "nvme-generic", USE_PROGRAM_STORAGE },
        { "scsi_changer", USE_PROGRAM_STORAGE },
        { "scsi_generic", USE_PROGRAM_STORAGE },
        { "scsi_tape", USE_PROGRAM_STORAGE },
        { "sound", USE_PROGRAM_SOUND },
        { "tty", USE_PROGRAM_TERMINAL },
        { "ucma", USE_PROGRAM_RDMA },
        { "uio", USE_PROGRAM_UIO },
        { "vdpa", USE_PROGRAM_VDPA },
        { "vfio", _USE_KIND_INVALID },
        { "vfio-dev", _USE_KIND_INVALID },
        { "vhost-vdpa", USE_PROGRAM_VDPA },
};

UseKind device_node_use(const char *subsystem) {
        for (size_t i = 0; i < sizeof(device_subsystems) / sizeof(device_subsystems[0]); i++)
                if (strcmp(device_subsystems[i].subsystem, subsystem) == 0)
                        return device_subsystems[i].use;
        return USE_PROGRAM_NODE;
}
