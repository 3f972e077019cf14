#include "dbus/service-manager.h"

#include "daemon/base/log.h"

#include <stdlib.h>

#define SYSTEMD_NAME         "org.freedesktop.systemd1"
#define SYSTEMD_PATH         "/org/freedesktop/systemd1"
#define ANSWER_TIMEOUT_USEC  (5 * 1000 * 1000ULL)
#define SYSTEMD_SERVICE      SYSTEMD_NAME ".Service"
#define SYSTEMD_MANAGER      SYSTEMD_NAME ".Manager"
#define UNKNOWN_FD_STORE_MAX UINT32_MAX

static int ask_number(Bus *bus, const char *unit, const char *property, uint32_t *ret,
                      sd_bus_error *error) {
        return sd_bus_get_property_trivial(bus->connection, SYSTEMD_NAME, unit, SYSTEMD_SERVICE,
                                           property, error, 'u', ret);
}

static int ask(Bus *bus, ServiceFacts *ret, sd_bus_error *error) {
        ServiceFacts facts = { 0 };
        sd_bus_message *reply = NULL;
        uint32_t n_restarts;
        const char *unit;
        int r;

        /* 0 is the caller's own process. */
        r = sd_bus_call_method(bus->connection, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER,
                               "GetUnitByPID", error, &reply, "u", 0U);
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &unit);
        if (r >= 0)
                r = ask_number(bus, unit, "FileDescriptorStoreMax", &facts.fd_store_max, error);
        /* Counts automatic restarts since a start that somebody asked for: service_start() in
         * systemd's src/core/service.c flushes it then. */
        if (r >= 0)
                r = ask_number(bus, unit, "NRestarts", &n_restarts, error);
        sd_bus_message_unref(reply);
        if (r < 0)
                return r;
        facts.started = n_restarts == 0;
        *ret = facts;
        return 0;
}

ServiceFacts service_manager_ask(Bus *bus) {
        ServiceFacts facts = { .fd_store_max = UNKNOWN_FD_STORE_MAX };
        sd_bus_error error = SD_BUS_ERROR_NULL;
        uint64_t timeout = 0;

        if (!getenv("NOTIFY_SOCKET"))
                return facts;
        (void) sd_bus_get_method_call_timeout(bus->connection, &timeout);
        (void) sd_bus_set_method_call_timeout(bus->connection, ANSWER_TIMEOUT_USEC);
        if (ask(bus, &facts, &error) < 0)
                log_info("systemd does not describe the daemon's unit: %s",
                         error.message ? error.message : "no answer");
        (void) sd_bus_set_method_call_timeout(bus->connection, timeout);
        sd_bus_error_free(&error);
        return facts;
}
