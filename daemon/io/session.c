#include "daemon/io/session.h"

#include "daemon/io/irqs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void session_init(Session *session, const IoBackend *backend, const SessionOptions *options) {
        memset(session, 0, sizeof(*session));
        device_init(&session->device, backend, options->dma != DMA_NONE);
        dma_init(&session->dma, options->dma, options->container);
        session->regions.device = &session->device;
        session->regions.memory = &session->memory;
        session->memory.max_maps =
                options->max_maps < IO_MAPS_MAX ? options->max_maps : IO_MAPS_MAX;
        session->memory.max_bytes = options->max_bytes;
        notifier_init(&session->notifier);
        ring_init(&session->ring, options->ring, options->may_spin);
        pthread_mutex_init(&session->lock, NULL);
}

static int handle_version(Session *session, const VfioUserRequest *request, Reply *reply) {
        VfioUserVersion version = request->version;
        bool ring = session->ring.offered && io_ring_is_asked(request->data, request->data_size);
        char text[96] = "";
        int length;

        if (session->versioned)
                return -EINVAL;
        if (version.major != VFIO_USER_MAJOR)
                return -EPROTONOSUPPORT;
        if (version.minor > VFIO_USER_MINOR)
                version.minor = VFIO_USER_MINOR;
        reply_add(reply, &version, sizeof(version));
        /* Not to every client: QEMU warns of a capability that it does not know (caps_parse()). */
        if (ring)
                snprintf(text, sizeof(text),
                         "," IO_RING_CAPABILITY ":{\"entries\":%u,\"max_spin_usec\":%u}",
                         IO_RING_ENTRIES_MAX, session->ring.may_spin ? IO_RING_SPIN_MAX_USEC : 0);
        length = snprintf((char *) reply->payload + reply->size, VFIO_USER_DATA_MAX,
                          "{\"capabilities\":{\"max_msg_fds\":%u,\"max_data_xfer_size\":%u,"
                          "\"max_dma_maps\":%u,\"pgsizes\":%u,\"write_multiple\":true%s}}",
                          CLIENT_FDS_OFFERED, VFIO_USER_DATA_MAX, session->memory.max_maps,
                          IO_PAGE_SIZE, text);
        reply->size += (size_t) length + 1;
        session->versioned = true;
        return 0;
}

static void forget_map(Session *session, uint64_t address, uint64_t size) {
        _cleanup_(closep) int fd = -1; /* without the lock */

        pthread_mutex_lock(&session->lock);
        (void) io_memory_unmap(&session->memory, address, size, &fd);
        pthread_mutex_unlock(&session->lock);
}

/* This thread alone changes the maps while it handles a message. So it reads them without the lock,
 * which is not held while memory is pinned. */
static int handle_dma_map(Session *session, const VfioUserRequest *request, ClientFds *fds) {
        const VfioUserDmaMap *map = &request->map;
        int fd = fds->n > 0 ? fds->fds[0] : -1;
        int r;

        if (map->flags & ~(VFIO_USER_DMA_READ | VFIO_USER_DMA_WRITE))
                return -EINVAL;
        pthread_mutex_lock(&session->lock);
        r = io_memory_map(&session->memory, map->address, map->size, map->offset,
                          map->flags & VFIO_USER_DMA_READ, map->flags & VFIO_USER_DMA_WRITE, fd);
        pthread_mutex_unlock(&session->lock);
        if (r < 0)
                return r;
        (void) client_fds_take_first(fds);
        r = dma_map(&session->dma, io_memory_get(&session->memory, map->address, map->size));
        if (r < 0)
                forget_map(session, map->address, map->size);
        return r;
}

/* The device has lost the memory before the client hears of it. */
static int handle_dma_unmap(Session *session, const VfioUserRequest *request, Reply *reply) {
        const VfioUserDmaUnmap *unmap = &request->unmap;
        const IoMap *map = io_memory_get(&session->memory, unmap->address, unmap->size);
        int r;

        if (unmap->flags != 0 || !map)
                return -EINVAL;
        r = map->fd >= 0 ? dma_unmap(&session->dma, map->address, map->size) : 0;
        if (r < 0)
                return r;
        forget_map(session, unmap->address, unmap->size);
        reply_add(reply, unmap, sizeof(*unmap));
        return 0;
}

static int handle_device_info(const Session *session, Reply *reply) {
        VfioUserDeviceInfo info = {
                .argsz = sizeof(info),
                .flags = VFIO_USER_DEVICE_PCI,
                .n_regions = VFIO_USER_N_REGIONS,
                .n_irqs = VFIO_USER_N_IRQS,
        };

        if (device_can_reset(&session->device))
                info.flags |= VFIO_USER_DEVICE_RESETS;
        reply_add(reply, &info, sizeof(info));
        return 0;
}

static int handle_parsed(Session *session, const VfioUserRequest *request, ClientFds *fds,
                         Reply *reply) {
        switch (request->header.command) {
        case VFIO_USER_REGION_READ:
                return regions_read(&session->regions, request, reply);
        case VFIO_USER_REGION_WRITE:
                return regions_write(&session->regions, request, reply);
        case VFIO_USER_REGION_WRITE_MULTI:
                return regions_write_multi(&session->regions, request, reply);
        case VFIO_USER_DMA_MAP:
                return handle_dma_map(session, request, fds);
        case VFIO_USER_DMA_UNMAP:
                return handle_dma_unmap(session, request, reply);
        case VFIO_USER_GET_INFO:
                return handle_device_info(session, reply);
        case VFIO_USER_GET_REGION_INFO:
                return regions_info(&session->regions, request, reply);
        case VFIO_USER_GET_IRQ_INFO:
                return irqs_info(&session->device, request, reply);
        case VFIO_USER_SET_IRQS:
                return irqs_set(&session->device, &session->notifier, request, fds);
        case VFIO_USER_DEVICE_RESET:
                return device_reset(&session->device);
        case VFIO_USER_VERSION:
                return handle_version(session, request, reply);
        case VFIO_USER_VFWARDEN_RING:
                return ring_set_up(&session->ring, &request->ring, fds, reply);
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

static void end_message(Session *session, unsigned refused, bool reported) {
        IoMemoryFds fds;

        fds.n = 0; /* and not all of them, for each message */
        pthread_mutex_lock(&session->lock);
        session->refused += refused;
        session->unreported += reported ? 0 : refused;
        session->in_message = false;
        if (session->ended)
                io_memory_unmap_all(&session->memory, &fds);
        pthread_mutex_unlock(&session->lock);
        io_memory_close(&fds);
}

/* The other commands have a use for one descriptor at most. */
static bool takes_several(uint16_t command) {
        return command == VFIO_USER_SET_IRQS || command == VFIO_USER_VFWARDEN_RING;
}

int session_handle(Session *session, const uint8_t *message, size_t size, ClientFds *fds,
                   uint8_t *reply_bytes, size_t *ret_size) {
        Reply reply = { .payload = reply_bytes + sizeof(VfioUserHeader) };
        VfioUserRequest request;
        VfioUserHeader header;
        unsigned refused;
        int r, ended;

        session->regions.failed = 0;
        ended = begin_message(session);
        r = vfio_user_parse(message, size, &request);
        if (r >= 0 && (fds->too_many || (fds->n > 1 && !takes_several(request.header.command))))
                r = -EINVAL;
        if (r >= 0 && !session->versioned && request.header.command != VFIO_USER_VERSION)
                r = -EINVAL;
        if (ended < 0)
                r = ended;
        if (r >= 0)
                r = handle_parsed(session, &request, fds, &reply);
        refused = session->regions.failed > 0 ? session->regions.failed : r < 0;
        end_message(session, refused, vfio_user_wants_reply(&request.header));
        client_fds_close(fds);

        *ret_size = 0;
        if (vfio_user_wants_reply(&request.header)) {
                header = vfio_user_reply(&request.header, r < 0 ? -r : 0, reply.size);
                memcpy(reply_bytes, &header, sizeof(header));
                *ret_size = header.size;
        }
        return r == -EPROTONOSUPPORT ? r : 0;
}

int session_serve_ring(Session *session, int socket, bool *ret_has_ring) {
        *ret_has_ring = ring_is_up(&session->ring);
        return *ret_has_ring ? ring_serve(&session->ring, &session->device, socket) : 0;
}

void session_drain(Session *session) {
        notifier_ask(&session->notifier);
}

void session_end(Session *session) {
        IoMemoryFds fds;
        bool first;

        fds.n = 0;
        pthread_mutex_lock(&session->lock);
        session->ended = true;
        pthread_mutex_unlock(&session->lock);
        dma_stop(&session->dma);
        first = device_end(&session->device);
        dma_close(&session->dma);

        pthread_mutex_lock(&session->lock);
        if (!session->in_message)
                io_memory_unmap_all(&session->memory, &fds);
        pthread_mutex_unlock(&session->lock);
        io_memory_close(&fds);
        if (first)
                notifier_ask(&session->notifier);
}

void session_report(Session *session, IoReport *ret) {
        device_report(&session->device, ret);
        pthread_mutex_lock(&session->lock);
        ret->counts.refused = session->refused + ring_refused(&session->ring);
        ret->counts.unreported = session->unreported;
        ret->counts.mapped = session->memory.bytes;
        ret->counts.maps = session->memory.n_maps;
        pthread_mutex_unlock(&session->lock);
}
