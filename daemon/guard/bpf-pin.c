#include "daemon/guard/bpf-pin.h"

#include <errno.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

static int call(enum bpf_cmd command, union bpf_attr *attributes) {
        long r = syscall(SYS_bpf, command, attributes, sizeof(*attributes));

        return r < 0 ? -errno : (int) r;
}

static uint64_t pointer(const void *data) {
        return (uint64_t) (uintptr_t) data;
}

int bpf_open_pin(const char *path) {
        union bpf_attr attributes = { .pathname = pointer(path) };

        return call(BPF_OBJ_GET, &attributes);
}

int bpf_attach_program(int program) {
        union bpf_attr attributes = { .raw_tracepoint.prog_fd = (uint32_t) program };

        return call(BPF_RAW_TRACEPOINT_OPEN, &attributes);
}

int bpf_pin(int fd, const char *path) {
        union bpf_attr attributes = { .pathname = pointer(path), .bpf_fd = (uint32_t) fd };

        return call(BPF_OBJ_PIN, &attributes);
}

int bpf_map_set(int map, const void *key, const void *value) {
        union bpf_attr attributes = {
                .map_fd = (uint32_t) map,
                .key = pointer(key),
                .value = pointer(value),
                .flags = BPF_ANY,
        };

        return call(BPF_MAP_UPDATE_ELEM, &attributes);
}

int bpf_map_remove(int map, const void *key) {
        union bpf_attr attributes = { .map_fd = (uint32_t) map, .key = pointer(key) };

        return call(BPF_MAP_DELETE_ELEM, &attributes);
}

int bpf_map_get(int map, const void *key, void *ret_value) {
        union bpf_attr attributes = {
                .map_fd = (uint32_t) map,
                .key = pointer(key),
                .value = pointer(ret_value),
        };

        return call(BPF_MAP_LOOKUP_ELEM, &attributes);
}

int bpf_map_next_key(int map, const void *key, void *ret_key) {
        union bpf_attr attributes = {
                .map_fd = (uint32_t) map,
                .key = pointer(key),
                .next_key = pointer(ret_key),
        };

        return call(BPF_MAP_GET_NEXT_KEY, &attributes);
}
