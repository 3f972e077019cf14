#include "daemon/io/session.h"

#include "daemon/io/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* A reply in the making. */
typedef struct Reply {
        uint8_t *payload;
        size_t size;
} Reply;

static void reply_add(Reply *reply, const void *data, size_t size) {
        memcpy(reply->payload + reply->size, data, size);
        reply->size += size;
}

void session_init(Session *session, const IoBackend *backend, unsigned max_maps,
                  uint64_t max_bytes) {
        memset(session, 0, sizeof(*session));
        session->backend = *backend;
        session->memory.max_maps = max_maps < IO_MAPS_MAX ? max_maps : IO_MAPS_MAX;
        session->memory.max_bytes = max_bytes;
        notifier_init(&session->notifier);
        pthread_mutex_init(&session->lock, NULL);
        pthread_cond_init(&session->idle, NULL);
}

static int handle_version(Session *session, const VfioUserRequest *request, Reply *reply) {
        VfioUserVersion version = request->version;
        int length;

        if (session->versioned)
                return -EINVAL;
        if (version.major != VFIO_USER_MAJOR)
                return -EPROTONOSUPPORT;
        if (version.minor > VFIO_USER_MINOR)
                version.minor = VFIO_USER_MINOR;
        reply_add(reply, &version, sizeof(version));
        length = snprintf((char *) reply->payload + reply->size, VFIO_USER_DATA_MAX,
                          "{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":%u,"
                          "\"max_dma_maps\":%u,\"pgsizes\":%u,\"write_multiple\":false}}",
                          VFIO_USER_DATA_MAX, session->memory.max_maps, IO_PAGE_SIZE);
        reply->size += (size_t) length + 1;
        session->versioned = true;
        return 0;
}

static int handle_dma_map(Session *session, const VfioUserRequest *request, int *fd) {
        const VfioUserDmaMap *map = &request->map;
        int r;

        if (map->flags & ~(VFIO_USER_DMA_READ | VFIO_USER_DMA_WRITE))
                return -EINVAL;
        pthread_mutex_lock(&session->lock);
        r = io_memory_map(&session->memory, map->address, map->size, map->offset,
                          map->flags & VFIO_USER_DMA_READ, map->flags & VFIO_USER_DMA_WRITE, *fd);
        pthread_mutex_unlock(&session->lock);
        if (r >= 0)
                *fd = -1;
        return r;
}

static int handle_dma_unmap(Session *session, const VfioUserRequest *request, Reply *reply) {
        int r;

        if (request->unmap.flags != 0)
                return -EINVAL;
        pthread_mutex_lock(&session->lock);
        r = io_memory_unmap(&session->memory, request->unmap.address, request->unmap.size);
        pthread_mutex_unlock(&session->lock);
        if (r >= 0)
                reply_add(reply, &request->unmap, sizeof(request->unmap));
        return r;
}

static int handle_region_info(const Session *session, const VfioUserRequest *request,
                              Reply *reply) {
        const ZpciTarget *target = &session->backend.target;
        VfioUserRegionInfo info = { .argsz = sizeof(info), .index = request->region.index };
        VfioUserRegionType capability = {
                .id = VFIO_USER_REGION_CAP_TYPE,
                .version = 1,
                .type = ZPCI_REGION_TYPE,
                .subtype = ZPCI_REGION_SUBTYPE,
        };

        if (info.index >= VFIO_USER_N_REGIONS)
                return -EINVAL;
        if (info.index < ZPCI_N_BARS) {
                info.size = target->bar_size[info.index];
                if (info.size != 0)
                        info.flags = VFIO_USER_REGION_FLAG_READ | VFIO_USER_REGION_FLAG_WRITE;
        } else if (info.index == VFIO_USER_REGION_CONFIG) {
                info.size = target->config_size;
                info.flags = VFIO_USER_REGION_FLAG_READ;
        } else if (info.index == VFIO_USER_REGION_ZPCI) {
                info.size = ZPCI_REGION_SIZE;
                info.argsz += (uint32_t) sizeof(capability);
                info.flags = VFIO_USER_REGION_FLAG_READ | VFIO_USER_REGION_FLAG_WRITE |
                             VFIO_USER_REGION_FLAG_CAPS;
                if (request->region.argsz >= info.argsz)
                        info.cap_offset = sizeof(info);
        }
        reply_add(reply, &info, sizeof(info));
        if (info.cap_offset != 0)
                reply_add(reply, &capability, sizeof(capability));
        return 0;
}

static int handle_irq_info(const VfioUserRequest *request, Reply *reply) {
        VfioUserIrqInfo info = { .argsz = sizeof(info), .index = request->irq.index };

        if (info.index >= VFIO_USER_N_IRQS)
                return -EINVAL;
        if (info.index == VFIO_USER_IRQ_REQUEST) {
                info.flags = VFIO_USER_IRQ_EVENTFD | VFIO_USER_IRQ_NORESIZE;
                info.count = 1;
        }
        reply_add(reply, &info, sizeof(info));
        return 0;
}

/* A file that is no anonymous inode is no eventfd, and the other kinds of these accept no such
 * write. */
static int check_eventfd(int fd) {
        struct stat st;

        if (syscall(SYS_fstat, fd, &st) < 0 || (st.st_mode & S_IFMT) != 0)
                return -EINVAL;
        /* So that one that is full needs no waiting; the client may undo it, see notifier.h. */
        return fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? -EINVAL : 0;
}

static bool is_asked(Session *session) {
        bool asked;

        pthread_mutex_lock(&session->lock);
        asked = session->asked;
        pthread_mutex_unlock(&session->lock);
        return asked;
}

static int handle_set_irqs(Session *session, const VfioUserRequest *request, int *fd) {
        const VfioUserIrqSet *set = &request->irq_set;
        int r;

        if (set->index >= VFIO_USER_N_IRQS)
                return -EINVAL;
        /* "Disable all of this index": there is nothing to disable but the request. */
        if (set->flags == (VFIO_USER_IRQ_SET_NONE | VFIO_USER_IRQ_SET_TRIGGER) && set->start == 0 &&
            set->count == 0) {
                if (set->index == VFIO_USER_IRQ_REQUEST)
                        notifier_set(&session->notifier, -1);
                return 0;
        }
        if (set->index != VFIO_USER_IRQ_REQUEST || set->start != 0 || set->count != 1 ||
            set->flags != (VFIO_USER_IRQ_SET_EVENTFD | VFIO_USER_IRQ_SET_TRIGGER))
                return -EINVAL;
        if (*fd >= 0) {
                r = check_eventfd(*fd);
                if (r < 0)
                        return r;
        }
        notifier_set(&session->notifier, take_fd(fd));
        if (is_asked(session))
                notifier_signal(&session->notifier);
        return 0;
}

/* Returns 0, or -ENODEV when the session has ended. */
static int begin_access(Session *session) {
        int r = 0;

        pthread_mutex_lock(&session->lock);
        if (session->ended)
                r = -ENODEV;
        else
                session->in_device = true;
        pthread_mutex_unlock(&session->lock);
        return r;
}

/* The thread that waits for the device to be idle closes it. */
static void end_access(Session *session, uint64_t *counter, uint64_t *bytes, size_t length) {
        pthread_mutex_lock(&session->lock);
        if (counter) {
                ++*counter;
                *bytes += length;
        }
        session->in_device = false;
        pthread_cond_broadcast(&session->idle);
        pthread_mutex_unlock(&session->lock);
}

/* One load. The device's data goes to `data`. */
static int do_load(Session *session, unsigned pcias, uint64_t offset, void *data, size_t length) {
        int r = begin_access(session);

        if (r < 0)
                return r;
        r = session->backend.load(&session->backend, pcias, offset, data, length);
        end_access(session, r < 0 ? NULL : &session->counts.loads, &session->counts.bytes_loaded,
                   length);
        return r;
}

static int do_store(Session *session, unsigned pcias, uint64_t offset, const void *data,
                    size_t length) {
        int r = begin_access(session);

        if (r < 0)
                return r;
        r = session->backend.store(&session->backend, pcias, offset, data, length);
        end_access(session, r < 0 ? NULL : &session->counts.stores, &session->counts.bytes_stored,
                   length);
        return r;
}

static int do_read_config(Session *session, uint64_t offset, void *data, size_t length) {
        int r = begin_access(session);

        if (r < 0)
                return r;
        r = io_backend_read_config(&session->backend, offset, data, length);
        end_access(session, NULL, NULL, 0);
        return r;
}

static int handle_region_read(Session *session, const VfioUserRequest *request, Reply *reply) {
        const VfioUserRegionAccess *access = &request->access;
        const ZpciTarget *target = &session->backend.target;
        ZpciRegionHeader header = { .max = target->max_store_block };
        uint8_t *data;
        int r = -EINVAL;

        reply_add(reply, access, sizeof(*access));
        data = reply->payload + reply->size;
        if (access->region < ZPCI_N_BARS) {
                if (zpci_check_load(target, access->region, access->offset, access->count) !=
                    ZPCI_ALLOWED)
                        return -EINVAL;
                r = do_load(session, access->region, access->offset, data, access->count);
        } else if (access->region == VFIO_USER_REGION_CONFIG) {
                r = do_read_config(session, access->offset, data, access->count);
        } else if (access->region == VFIO_USER_REGION_ZPCI) {
                r = zpci_region_check_read(access->offset, access->count);
                if (r >= 0)
                        memcpy(data, (const uint8_t *) &header + access->offset, access->count);
        }
        if (r >= 0)
                reply->size += access->count;
        return r;
}

/* A whole request of the zPCI I/O region. */
static int do_request(Session *session, const uint8_t *data) {
        ZpciRegionRequest request;
        int r;

        memcpy(&request, data, sizeof(request));
        if (zpci_check_request(&session->backend.target, &request) != ZPCI_ALLOWED)
                return -EIO;
        if (request.flags == ZPCI_REQUEST_LOAD) {
                r = do_load(session, request.pcias, request.offset, session->bounce,
                            request.length);
                return r < 0 ? r
                             : io_memory_write(&session->memory, request.gaddr, session->bounce,
                                               request.length);
        }
        /* Read once: what the guest changes afterwards changes nothing. */
        r = io_memory_read(&session->memory, request.gaddr, session->bounce, request.length);
        if (r < 0)
                return r;
        return do_store(session, request.pcias, request.offset, session->bounce, request.length);
}

static int handle_region_write(Session *session, const VfioUserRequest *request, Reply *reply) {
        const VfioUserRegionAccess *access = &request->access;
        int r = -EINVAL;

        if (access->region < ZPCI_N_BARS) {
                if (zpci_check_store(&session->backend.target, access->region, access->offset,
                                     access->count) != ZPCI_ALLOWED)
                        return -EINVAL;
                /* A system call takes its data from anywhere; the emulated device copies it. */
                r = do_store(session, access->region, access->offset, request->data, access->count);
        } else if (access->region == VFIO_USER_REGION_CONFIG) {
                r = -EPERM;
        } else if (access->region == VFIO_USER_REGION_ZPCI) {
                r = zpci_region_check_write(access->offset, access->count);
                if (r >= 0)
                        r = do_request(session, request->data);
        }
        if (r >= 0)
                reply_add(reply, access, sizeof(*access));
        return r;
}

static int handle_parsed(Session *session, const VfioUserRequest *request, int *fd, Reply *reply) {
        VfioUserDeviceInfo info = {
                .argsz = sizeof(info),
                .flags = VFIO_USER_DEVICE_PCI,
                .n_regions = VFIO_USER_N_REGIONS,
                .n_irqs = VFIO_USER_N_IRQS,
        };

        switch (request->header.command) {
        case VFIO_USER_REGION_READ:
                return handle_region_read(session, request, reply);
        case VFIO_USER_REGION_WRITE:
                return handle_region_write(session, request, reply);
        case VFIO_USER_DMA_MAP:
                return handle_dma_map(session, request, fd);
        case VFIO_USER_DMA_UNMAP:
                return handle_dma_unmap(session, request, reply);
        case VFIO_USER_GET_INFO:
                reply_add(reply, &info, sizeof(info));
                return 0;
        case VFIO_USER_GET_REGION_INFO:
                return handle_region_info(session, request, reply);
        case VFIO_USER_GET_IRQ_INFO:
                return handle_irq_info(request, reply);
        case VFIO_USER_SET_IRQS:
                return handle_set_irqs(session, request, fd);
        case VFIO_USER_VERSION:
                return handle_version(session, request, reply);
        default:
                return -EOPNOTSUPP;
        }
}

/* Returns 0, or -ENODEV when the session has ended. */
static int begin_message(Session *session) {
        int r;

        pthread_mutex_lock(&session->lock);
        r = session->ended ? -ENODEV : 0;
        session->in_message = true;
        pthread_mutex_unlock(&session->lock);
        return r;
}

static void end_message(Session *session, bool refused, bool unreported) {
        pthread_mutex_lock(&session->lock);
        session->counts.refused += refused;
        session->counts.unreported += unreported;
        session->in_message = false;
        if (session->ended)
                io_memory_unmap_all(&session->memory);
        pthread_mutex_unlock(&session->lock);
}

int session_handle(Session *session, const uint8_t *message, size_t size, int *fd, bool too_many,
                   uint8_t *reply_bytes, size_t *ret_size) {
        Reply reply = { .payload = reply_bytes + sizeof(VfioUserHeader) };
        VfioUserRequest request;
        VfioUserHeader header;
        int r, ended;

        ended = begin_message(session);
        r = vfio_user_parse(message, size, &request);
        if (r >= 0 && too_many)
                r = -EINVAL;
        if (r >= 0 && !session->versioned && request.header.command != VFIO_USER_VERSION)
                r = -EINVAL;
        if (ended < 0)
                r = ended;
        if (r >= 0)
                r = handle_parsed(session, &request, fd, &reply);
        end_message(session, r < 0, r < 0 && !vfio_user_wants_reply(&request.header));
        closep(fd);

        *ret_size = 0;
        if (vfio_user_wants_reply(&request.header)) {
                header = vfio_user_reply(&request.header, r < 0 ? -r : 0, reply.size);
                memcpy(reply_bytes, &header, sizeof(header));
                *ret_size = header.size;
        }
        return r == -EPROTONOSUPPORT ? r : 0;
}

void session_drain(Session *session) {
        pthread_mutex_lock(&session->lock);
        session->asked = true;
        pthread_mutex_unlock(&session->lock);
        notifier_signal(&session->notifier);
}

void session_end(Session *session) {
        bool first;

        pthread_mutex_lock(&session->lock);
        first = !session->ended;
        session->asked = session->ended = true;
        while (session->in_device)
                pthread_cond_wait(&session->idle, &session->lock);
        if (first) {
                io_backend_close(&session->backend);
                if (!session->in_message)
                        io_memory_unmap_all(&session->memory);
        }
        pthread_mutex_unlock(&session->lock);
        if (first)
                notifier_signal(&session->notifier);
}

void session_report(Session *session, IoReport *ret) {
        const IoBackend *backend = &session->backend;

        pthread_mutex_lock(&session->lock);
        ret->counts = session->counts;
        ret->counts.mapped = session->memory.bytes;
        ret->counts.maps = session->memory.n_maps;
        snprintf(ret->backend, sizeof(ret->backend), "%s", backend->name);
        memcpy(ret->bar_size, backend->target.bar_size, sizeof(ret->bar_size));
        ret->max_store_block = backend->target.max_store_block;
        ret->relaxed = backend->target.relaxed;
        ret->pieces = backend->pieces;
        pthread_mutex_unlock(&session->lock);
}
