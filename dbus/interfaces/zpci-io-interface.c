#include "dbus/authority.h"
#include "dbus/error.h"
#include "dbus/interfaces/interface.h"

#include <errno.h>

/* What a client may map if it does not say how much it wants. */
#define MAX_MAPPED_DEFAULT (1ULL << 30)
#define MAX_MAPPED_MAX     (1ULL << 50)
/* No store is longer: policy/zpci-request.h. */
#define ACCESS_MAX 4096

PROPERTY_VALUE(zpci_io_backend) {
        return value_write_string(writer, function_io_backend(function));
}

PROPERTY_VALUE(zpci_io_max_store_block) {
        return value_write_uint16(writer, function_io_max_store_block(function));
}

PROPERTY_VALUE(zpci_io_relaxed) {
        return value_write_boolean(writer, function_io_relaxed(function));
}

static ManagerIo zpci_io_client_of(const MethodCall *call) {
        return (ManagerIo){
                .uid = call->uid,
                .pid = call->pid,
                .max_mapped = MAX_MAPPED_DEFAULT,
                .listener = -1,
        };
}

static void on_loaded(void *context, int result, const char *message, const uint8_t *loaded,
                      size_t length) {
        MethodReply *reply = context;
        sd_bus_message *values;
        int r;

        if (!method_reply_begin(reply, result, message, &values))
                return;
        r = sd_bus_message_append_array(values, 'y', loaded, length);
        method_reply_with(reply, values, r);
}

int zpci_io_method_load(const MethodCall *call, sd_bus_error *error) {
        Function *function = method_function(call, error);
        ManagerIo io = zpci_io_client_of(call);
        ManagerAccess access = { 0 };
        MethodReply *reply;
        int r;

        if (!function)
                return -ENODEV;
        r = sd_bus_message_read(call->message, "ytq", &access.pcias, &access.offset,
                                &access.length);
        if (r < 0)
                return r;
        reply = method_reply_later(call, error);
        if (!reply)
                return -EDQUOT;
        io.max_mapped = 0;
        manager_access(call->bus->manager, function, &io, &access, on_loaded, reply);
        return 1;
}

static void on_stored(void *context, int result, const char *message, const uint8_t *loaded,
                      size_t length) {
        method_reply(context, result, message);
}

int zpci_io_method_store_block(const MethodCall *call, sd_bus_error *error) {
        Function *function = method_function(call, error);
        ManagerIo io = zpci_io_client_of(call);
        ManagerAccess access = { 0 };
        const void *data;
        MethodReply *reply;
        size_t length;
        int r;

        if (!function)
                return -ENODEV;
        r = sd_bus_message_read(call->message, "yt", &access.pcias, &access.offset);
        if (r >= 0)
                r = sd_bus_message_read_array(call->message, 'y', &data, &length);
        if (r < 0)
                return r;
        if (length == 0 || length > ACCESS_MAX)
                return bus_error_set(error, -EINVAL, "a store has 1 to %d bytes, not %zu",
                                     ACCESS_MAX, length);
        access.data = data;
        access.length = (uint16_t) length;
        reply = method_reply_later(call, error);
        if (!reply)
                return -EDQUOT;
        io.max_mapped = 0;
        manager_access(call->bus->manager, function, &io, &access, on_stored, reply);
        return 1;
}

static int zpci_io_append_facts(sd_bus_message *reply, const IoSession *session) {
        return sd_bus_message_append(
                reply, "a{sv}", 6, "backend", "s", session->backend, "max-store-block", "q",
                session->max_store_block, "relaxed", "b", (int) session->relaxed, "pieces", "b",
                (int) session->pieces, "config-region", "u", 7U, "zpci-region", "u", 9U);
}

static void on_session(void *context, int result, const char *message, int client,
                       const IoSession *session) {
        MethodReply *reply = context;
        sd_bus_message *values;
        int r;

        if (!method_reply_begin(reply, result, message, &values))
                return;
        r = sd_bus_message_append(values, "h", client);
        if (r >= 0)
                r = zpci_io_append_facts(values, session);
        method_reply_with(reply, values, r);
}

/* Reads them anew after polkit was asked. */
static int read_session_options(const MethodCall *call, ManagerIo *ret, sd_bus_error *error) {
        ManagerIo io = zpci_io_client_of(call);
        int dma = false, r = sd_bus_message_rewind(call->message, true);

        if (r >= 0)
                r = method_read_options(call->message,
                                        (const MethodOption[]){
                                                { "max-mapped-memory", "t", &io.max_mapped },
                                                { "listener", "h", &io.listener },
                                                { "dma", "b", &dma },
                                                { NULL },
                                        },
                                        error);
        if (r < 0)
                return r;
        if (io.max_mapped > MAX_MAPPED_MAX)
                return bus_error_set(error, -EINVAL,
                                     "the option 'max-mapped-memory' is in bytes, at most %llu",
                                     MAX_MAPPED_MAX);
        io.dma = dma;
        *ret = io;
        return 0;
}

static int begin_session(const MethodCall *call, sd_bus_error *error) {
        Function *function = method_function(call, error);
        MethodReply *reply;
        ManagerIo io = { 0 };
        int r;

        if (!function)
                return -ENODEV;
        r = read_session_options(call, &io, error);
        if (r < 0)
                return r;
        reply = method_reply_later(call, error);
        if (!reply)
                return -EDQUOT;
        manager_open_session(call->bus->manager, function, &io, on_session, reply);
        return 1;
}

/* Runs when the caller may have the device access memory, too. */
static void on_may_do_dma(void *userdata, const MethodCall *call) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r = begin_session(call, &error);

        if (r < 0)
                method_reply_error(call, r, &error);
}

int zpci_io_method_open_session(const MethodCall *call, sd_bus_error *error) {
        ManagerIo io = { 0 };
        int r = read_session_options(call, &io, error);

        if (r < 0)
                return r;
        if (!io.dma)
                return begin_session(call, error);
        return authority_ask(call->bus->authority, call, ACTION_ZPCI_IO_DMA, false, on_may_do_dma,
                             NULL, error);
}

/* clang-format off */
#define ZPCI_IO_PROPERTIES(ROW)                                                           \
        ROW("Backend", "s", FUNCTION_PROPERTY_IO_BACKEND, zpci_io_backend)                \
        ROW("MaxStoreBlock", "q", FUNCTION_PROPERTY_IO_MAX_STORE_BLOCK, zpci_io_max_store_block) \
        ROW("Relaxed", "b", FUNCTION_PROPERTY_IO_RELAXED, zpci_io_relaxed)
/* clang-format on */

const sd_bus_vtable zpci_io_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Load", SD_BUS_ARGS("y", pcias, "t", offset, "q", length),
                                SD_BUS_RESULT("ay", data), method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("StoreBlock", SD_BUS_ARGS("y", pcias, "t", offset, "ay", data),
                                SD_BUS_NO_RESULT, method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("OpenSession", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("h", socket, "a{sv}", facts), method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        ZPCI_IO_PROPERTIES(PROPERTY_VTABLE_ROW) SD_BUS_VTABLE_END,
};

const InterfaceProperty zpci_io_properties[] = PROPERTY_TABLE(ZPCI_IO_PROPERTIES);
