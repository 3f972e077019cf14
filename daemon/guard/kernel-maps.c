#include "daemon/guard/kernel-maps.h"

#include "daemon/base/util.h"
#include "daemon/guard/bpf-pin.h"

#include <string.h>
#include <sys/syscall.h>

/* Keys are as long as this at most. */
#define KEY_MAX 64
G_STATIC_ASSERT(GUARD_MODULE_MAX <= KEY_MAX && GUARD_NAME_MAX <= KEY_MAX);

typedef enum Map {
        MAP_SETTINGS,
        MAP_FILES,
        MAP_FUNCTIONS,
        MAP_MODULES,
        MAP_EXEMPT,
        MAP_COUNTERS,
        _MAP_MAX,
} Map;

static const char *const map_names[_MAP_MAX] = {
        [MAP_SETTINGS] = GUARD_MAP_SETTINGS,   [MAP_FILES] = GUARD_MAP_FILES,
        [MAP_FUNCTIONS] = GUARD_MAP_FUNCTIONS, [MAP_MODULES] = GUARD_MAP_MODULES,
        [MAP_EXEMPT] = GUARD_MAP_EXEMPT,       [MAP_COUNTERS] = GUARD_MAP_COUNTERS,
};

struct KernelMaps {
        int fds[_MAP_MAX];
};

static int open_map(const char *directory, const char *name) {
        g_autofree char *path = g_build_filename(directory, name, NULL);

        return bpf_open_pin(path);
}

int kernel_maps_open(const char *directory, KernelMaps **ret) {
        KernelMaps *maps = g_new(KernelMaps, 1);
        int r = 0;

        for (Map map = 0; map < _MAP_MAX; map++)
                maps->fds[map] = -1;
        for (Map map = 0; map < _MAP_MAX && r >= 0; map++) {
                r = open_map(directory, map_names[map]);
                if (r >= 0)
                        maps->fds[map] = r;
        }
        if (r < 0) {
                kernel_maps_free(maps);
                return r;
        }
        *ret = maps;
        return 0;
}

KernelMaps *kernel_maps_free(KernelMaps *maps) {
        if (!maps)
                return NULL;
        for (Map map = 0; map < _MAP_MAX; map++)
                closep(&maps->fds[map]);
        g_free(maps);
        return NULL;
}

int kernel_maps_set_settings(KernelMaps *maps, const GuardSettings *settings) {
        const uint32_t key = 0;

        return bpf_map_set(maps->fds[MAP_SETTINGS], &key, settings);
}

/* Sets the entry, or removes it where `value` is NULL. */
static int set(const KernelMaps *maps, Map map, const void *key, const void *value) {
        int r = value ? bpf_map_set(maps->fds[map], key, value)
                      : bpf_map_remove(maps->fds[map], key);

        return !value && r == -ENOENT ? 0 : r;
}

int kernel_maps_set_file(KernelMaps *maps, uint64_t inode, const GuardFile *value) {
        return set(maps, MAP_FILES, &inode, value);
}

int kernel_maps_set_function(KernelMaps *maps, const char *address, const GuardFunction *value) {
        char key[GUARD_NAME_MAX] = "";

        if (g_strlcpy(key, address, sizeof(key)) >= sizeof(key))
                return -ENAMETOOLONG;
        return set(maps, MAP_FUNCTIONS, key, value);
}

int kernel_maps_set_module(KernelMaps *maps, const char *module, bool guarded) {
        const uint32_t value = 1;
        char key[GUARD_MODULE_MAX] = "";

        if (g_strlcpy(key, module, sizeof(key)) >= sizeof(key))
                return -ENAMETOOLONG;
        return set(maps, MAP_MODULES, key, guarded ? &value : NULL);
}

int kernel_maps_exempt(KernelMaps *maps, pid_t pid) {
        _cleanup_(closep) int pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        const uint32_t value = 1;

        if (pidfd < 0)
                return -errno;
        return bpf_map_set(maps->fds[MAP_EXEMPT], &pidfd, &value);
}

static bool key_is_wanted(Map map, const char *key, KernelMapsWanted *is_wanted, void *context) {
        KernelMapsKey wanted = { 0 };

        switch (map) {
        case MAP_FUNCTIONS:
                wanted.address = key;
                break;
        case MAP_MODULES:
                wanted.module = key;
                break;
        default:
                memcpy(&wanted.inode, key, sizeof(wanted.inode));
        }
        return is_wanted(context, &wanted);
}

/* A key that is removed has no successor: the next one is asked for before. */
static void sweep(const KernelMaps *maps, Map map, KernelMapsWanted *is_wanted, void *context) {
        char key[KEY_MAX + 1] = "", next[KEY_MAX + 1] = "";
        int fd = maps->fds[map];
        int r = bpf_map_next_key(fd, NULL, key);

        while (r >= 0) {
                r = bpf_map_next_key(fd, key, next);
                if (!key_is_wanted(map, key, is_wanted, context))
                        (void) bpf_map_remove(fd, key);
                memcpy(key, next, sizeof(key));
        }
}

void kernel_maps_sweep(KernelMaps *maps, KernelMapsWanted *is_wanted, void *context) {
        sweep(maps, MAP_FILES, is_wanted, context);
        sweep(maps, MAP_FUNCTIONS, is_wanted, context);
        sweep(maps, MAP_MODULES, is_wanted, context);
}

uint64_t kernel_maps_lost(const KernelMaps *maps) {
        const uint32_t key = GUARD_COUNTER_LOST;
        uint64_t lost = 0;

        return bpf_map_get(maps->fds[MAP_COUNTERS], &key, &lost) < 0 ? 0 : lost;
}

int kernel_maps_read_events(const char *directory, sd_event *event, BpfRingHandler *handler,
                            void *context, BpfRing **ret) {
        _cleanup_(closep) int fd = open_map(directory, GUARD_MAP_EVENTS);

        return fd < 0 ? fd : bpf_ring_new(event, &fd, GUARD_EVENTS_SIZE, handler, context, ret);
}
