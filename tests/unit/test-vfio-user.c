#include "policy/vfio-user.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

typedef struct Message {
        uint8_t bytes[VFIO_USER_MESSAGE_MAX + 64];
        size_t size;
} Message;

static Message message(uint16_t command, uint32_t flags, const void *payload, size_t size) {
        Message m = { .size = sizeof(VfioUserHeader) + size };
        VfioUserHeader header = {
                .id = 0x1234, .command = command, .size = (uint32_t) m.size, .flags = flags
        };

        memcpy(m.bytes, &header, sizeof(header));
        if (payload)
                memcpy(m.bytes + sizeof(header), payload, size);
        return m;
}

static int parse(const Message *m, VfioUserRequest *ret) {
        return vfio_user_parse(m->bytes, m->size, ret);
}

Test(vfio_user, sizes) {
        static const struct {
                uint32_t size;
                int64_t expected;
        } cases[] = {
                { 0, -EBADMSG },
                { 15, -EBADMSG },
                { 16, 16 },
                { 17, 17 },
                { VFIO_USER_MESSAGE_MAX, VFIO_USER_MESSAGE_MAX },
                { VFIO_USER_MESSAGE_MAX + 1, -EMSGSIZE },
                { 0x80000000, -EMSGSIZE },
                { UINT32_MAX, -EMSGSIZE },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                Message m = message(VFIO_USER_GET_INFO, 0, NULL, 0);
                VfioUserHeader header = { .size = cases[i].size };

                memcpy(m.bytes, &header, sizeof(header));
                cr_assert_eq(vfio_user_message_size(m.bytes, 16), cases[i].expected, "%zu", i);
                cr_assert_eq(vfio_user_message_size(m.bytes, 15), 0);
                cr_assert_eq(vfio_user_message_size(m.bytes, 0), 0);
        }
}

/* Each command with exactly its fixed part, one byte less, and one more. */
Test(vfio_user, fixed_parts) {
        static const struct {
                uint16_t command;
                size_t fixed;
                bool more; /* data may follow */
        } cases[] = {
                { VFIO_USER_DMA_MAP, 32, false },       { VFIO_USER_DMA_UNMAP, 24, false },
                { VFIO_USER_GET_INFO, 16, false },      { VFIO_USER_GET_REGION_INFO, 32, false },
                { VFIO_USER_GET_IRQ_INFO, 16, false },  { VFIO_USER_SET_IRQS, 20, true },
                { VFIO_USER_VFWARDEN_RING, 16, false },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                uint8_t payload[64] = { 0 };
                VfioUserRequest request;
                uint32_t argsz = (uint32_t) cases[i].fixed;
                Message m;

                memcpy(payload, &argsz, sizeof(argsz));
                m = message(cases[i].command, 0, payload, cases[i].fixed);
                cr_assert_eq(parse(&m, &request), 0, "%zu", i);
                cr_assert_eq(request.header.id, 0x1234);
                m = message(cases[i].command, 0, payload, cases[i].fixed - 1);
                cr_assert_eq(parse(&m, &request), -EINVAL, "%zu", i);
                m = message(cases[i].command, 0, payload, cases[i].fixed + 1);
                cr_assert_eq(parse(&m, &request), cases[i].more ? 0 : -EINVAL, "%zu", i);

                argsz--;
                memcpy(payload, &argsz, sizeof(argsz));
                m = message(cases[i].command, 0, payload, cases[i].fixed);
                cr_assert_eq(parse(&m, &request), -EINVAL, "%zu", i);
        }
}

Test(vfio_user, fields) {
        static const VfioUserDmaMap map = { 32, 3, 0x1000, UINT64_C(0x123456789000), 0x2000 };
        Message m = message(VFIO_USER_DMA_MAP, VFIO_USER_FLAG_NO_REPLY, &map, sizeof(map));
        VfioUserRequest request;

        cr_assert_eq(parse(&m, &request), 0);
        cr_assert_eq(memcmp(&request.map, &map, sizeof(map)), 0);
        cr_assert_eq(request.data_size, 0);
        cr_assert_not(vfio_user_wants_reply(&request.header));
}

/* Every command there could be: offered, or -EOPNOTSUPP. */
Test(vfio_user, commands) {
        for (unsigned command = 0; command <= UINT16_MAX; command++) {
                Message m = message((uint16_t) command, 0, NULL, 0);
                VfioUserRequest request;
                bool offered = (command >= 1 && command <= 10 && command != 6) || command == 15 ||
                               command == VFIO_USER_VFWARDEN_RING;
                int expected = offered ? -EINVAL : -EOPNOTSUPP;

                /* The only one that is nothing but a header. */
                if (command == VFIO_USER_DEVICE_RESET)
                        expected = 0;
                cr_assert_eq(parse(&m, &request), expected, "%u", command);
                cr_assert_eq(request.header.command, command);
        }
}

/* All that is not a command, and no reply to one of ours, since there is none. */
Test(vfio_user, types) {
        static const VfioUserDeviceInfo info = { .argsz = sizeof(info) };

        for (uint32_t flags = 0; flags < 64; flags++) {
                Message m = message(VFIO_USER_GET_INFO, flags, &info, sizeof(info));
                VfioUserRequest request;

                cr_assert_eq(parse(&m, &request), flags & 15 ? -EINVAL : 0, "%#x", flags);
        }
}

Test(vfio_user, version) {
        static const struct {
                const char *data;
                size_t size;
                int expected;
        } cases[] = {
                { "", 0, 0 },         { "", 1, 0 },        { "{}", 3, 0 },
                { "{}", 2, -EINVAL }, { "x", 1, -EINVAL },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                uint8_t payload[16] = { 0, 0, 1, 0 };
                VfioUserRequest request;
                Message m;

                memcpy(payload + 4, cases[i].data, cases[i].size);
                m = message(VFIO_USER_VERSION, 0, payload, 4 + cases[i].size);
                cr_assert_eq(parse(&m, &request), cases[i].expected, "%zu", i);
        }
}

Test(vfio_user, accesses) {
        static const struct {
                uint16_t command;
                uint32_t count;
                size_t data;
                int expected;
        } cases[] = {
                { VFIO_USER_REGION_READ, 0, 0, -EINVAL },
                { VFIO_USER_REGION_READ, 1, 0, 0 },
                { VFIO_USER_REGION_READ, 4096, 0, 0 },
                { VFIO_USER_REGION_READ, 4097, 0, -EINVAL },
                { VFIO_USER_REGION_READ, UINT32_MAX, 0, -EINVAL },
                { VFIO_USER_REGION_READ, 8, 8, -EINVAL },
                { VFIO_USER_REGION_WRITE, 0, 0, -EINVAL },
                { VFIO_USER_REGION_WRITE, 8, 8, 0 },
                { VFIO_USER_REGION_WRITE, 8, 7, -EINVAL },
                { VFIO_USER_REGION_WRITE, 7, 8, -EINVAL },
                { VFIO_USER_REGION_WRITE, 4096, 4096, 0 },
                { VFIO_USER_REGION_WRITE, 4097, 4097, -EINVAL },
                { VFIO_USER_REGION_WRITE, UINT32_MAX, 8, -EINVAL },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                static uint8_t payload[16 + 4097];
                VfioUserRegionAccess access = { .region = 3, .count = cases[i].count };
                VfioUserRequest request;
                Message m;

                memcpy(payload, &access, sizeof(access));
                m = message(cases[i].command, 0, payload, sizeof(access) + cases[i].data);
                cr_assert_eq(parse(&m, &request), cases[i].expected, "%zu", i);
                if (cases[i].expected == 0) {
                        cr_assert_eq(request.data_size, cases[i].data);
                        cr_assert_eq(request.data, m.bytes + 32);
                }
        }
}

Test(vfio_user, several_writes) {
        static const struct {
                uint64_t count;
                size_t writes; /* that follow */
                int more;      /* or fewer bytes */
                int expected;
        } cases[] = {
                { 1, 1, 0, 0 },
                { VFIO_USER_WRITES_MAX, VFIO_USER_WRITES_MAX, 0, 0 },
                { 0, 0, 0, -EINVAL },
                { 0, 1, 0, -EINVAL },
                { 1, 0, 0, -EINVAL },
                { 1, 2, 0, -EINVAL },
                { 2, 1, 0, -EINVAL },
                { 1, 1, 1, -EINVAL },
                { 1, 1, -1, -EINVAL },
                { VFIO_USER_WRITES_MAX + 1, VFIO_USER_WRITES_MAX, 0, -EINVAL },
                { UINT64_MAX, 1, 0, -EINVAL },
                /* 24 times this is 24, but for what is lost */
                { UINT64_MAX / 24 * 2 + 2, 1, 0, -EINVAL },
                { (UINT64_C(1) << 61) + 1, 1, 0, -EINVAL },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                static uint8_t payload[8 + (VFIO_USER_WRITES_MAX + 1) * 24];
                VfioUserRequest request;
                int bytes = (int) cases[i].writes * 24 + cases[i].more;
                size_t data = (size_t) bytes;
                Message m;

                memcpy(payload, &cases[i].count, sizeof(cases[i].count));
                m = message(VFIO_USER_REGION_WRITE_MULTI, 0, payload, 8 + data);
                cr_assert_eq(parse(&m, &request), cases[i].expected, "%zu", i);
                if (cases[i].expected == 0)
                        cr_assert_eq(request.multi.count, cases[i].writes);
        }
}

Test(vfio_user, reset_has_no_payload) {
        VfioUserRequest request;
        Message m = message(VFIO_USER_DEVICE_RESET, 0, "x", 1);

        cr_assert_eq(parse(&m, &request), -EINVAL);
}

Test(vfio_user, replies) {
        VfioUserHeader request = { .id = 7, .command = VFIO_USER_GET_INFO, .size = 32 };
        VfioUserHeader reply = vfio_user_reply(&request, 0, 16);

        cr_assert_eq(reply.id, 7);
        cr_assert_eq(reply.command, VFIO_USER_GET_INFO);
        cr_assert_eq(reply.size, 32);
        cr_assert_eq(reply.flags, VFIO_USER_FLAG_REPLY);
        cr_assert_eq(reply.error, 0);

        reply = vfio_user_reply(&request, EIO, 16);
        cr_assert_eq(reply.size, 16);
        cr_assert_eq(reply.flags, VFIO_USER_FLAG_REPLY | VFIO_USER_FLAG_ERROR);
        cr_assert_eq(reply.error, EIO);
}
