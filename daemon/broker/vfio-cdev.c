#include "daemon/broker/vfio-cdev.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

/* <linux/vfio.h> has these since Linux 6.6, the token since 6.17 or so; Debian 12's is older. */
#define BIND_IOMMUFD    _IO(VFIO_TYPE, VFIO_BASE + 18)
#define BIND_FLAG_TOKEN 1

typedef struct BindIommufd {
        uint32_t argsz, flags;
        int32_t iommufd;
        uint32_t out_devid;
        uint64_t token_uuid_ptr;
} BindIommufd;

#define UUID_SIZE 16

typedef struct TokenFeature {
        struct vfio_device_feature feature;
        uint8_t uuid[UUID_SIZE];
} TokenFeature;

/* The token's text is ours (vf_token_format()): pairs of digits, and dashes. */
static void parse_token(const VfToken *token, uint8_t uuid[UUID_SIZE]) {
        const char *p = token->text;

        for (unsigned i = 0; i < UUID_SIZE; i++, p += 2) {
                p += *p == '-';
                uuid[i] = (uint8_t) (g_ascii_xdigit_value(p[0]) << 4 | g_ascii_xdigit_value(p[1]));
        }
}

static int set_token(int device, const uint8_t uuid[UUID_SIZE]) {
        TokenFeature feature = {
                .feature = { .argsz = sizeof(feature),
                             .flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN },
        };
        int r;

        memcpy(feature.uuid, uuid, UUID_SIZE);
        r = ioctl(device, VFIO_DEVICE_FEATURE, &feature);
        explicit_bzero(&feature, sizeof(feature));
        return r;
}

/* A kernel that asks for tokens here takes the PF's with the bind: it is refused if a VF is open
 * with another. An older one knows no such flag, and takes the token afterwards. */
static int bind_with_token(int device, int iommufd, const VfToken *token) {
        uint8_t uuid[UUID_SIZE];
        BindIommufd bind = {
                .argsz = sizeof(bind),
                .flags = BIND_FLAG_TOKEN,
                .iommufd = iommufd,
                .token_uuid_ptr = (uint64_t) (uintptr_t) uuid,
        };
        int r;

        parse_token(token, uuid);
        r = ioctl(device, BIND_IOMMUFD, &bind);
        if (r < 0 && errno == EINVAL) {
                bind.flags = 0;
                r = ioctl(device, BIND_IOMMUFD, &bind);
                if (r >= 0)
                        r = set_token(device, uuid);
        }
        explicit_bzero(uuid, sizeof(uuid));
        return r;
}

int vfio_cdev_open(const char *path, const char *iommufd_path, const VfToken *token,
                   const char **ret_step) {
        _cleanup_(closep) int iommufd = -1, device = -1;
        BindIommufd bind = { .argsz = sizeof(bind) };
        int r;

        *ret_step = "/dev/iommu";
        iommufd = open(iommufd_path, O_RDWR | O_CLOEXEC);
        if (iommufd < 0)
                return -1;
        *ret_step = "its node";
        device = open(path, O_RDWR | O_CLOEXEC);
        if (device < 0)
                return -1;
        *ret_step = "binding it to an iommufd";
        bind.iommufd = iommufd;
        r = token ? bind_with_token(device, iommufd, token) : ioctl(device, BIND_IOMMUFD, &bind);
        return r < 0 ? -1 : take_fd(&device);
}
