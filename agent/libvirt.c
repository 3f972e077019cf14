/* The hypervisor of libvirt's library. */
#include "agent/hypervisor.h"
#include "agent/libvirt-loop.h"
#include "agent/log.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#define RETRY_USEC (2 * G_USEC_PER_SEC)
/* A daemon that hangs is given up after so many seconds. */
#define KEEPALIVE_SECONDS 5
#define KEEPALIVE_COUNT   3U

/* What is registered for all domains. */
#define EVENTS_MAX 3

struct Hypervisor {
        sd_event *event;
        char *uri;
        const HypervisorHandler *handler;
        void *context;
        virConnectPtr connection;
        sd_event_source *retry;
        int callbacks[EVENTS_MAX];
        bool said; /* that the connection failed; once is enough */
};

static int connect_later(Hypervisor *hypervisor, uint64_t usec);

/* The calls below report what fails; libvirt would print it as well. */
static void on_error(void *userdata, virErrorPtr error) {
}

static const char *get_uuid(virDomainPtr domain, char buffer[static VIR_UUID_STRING_BUFLEN]) {
        return virDomainGetUUIDString(domain, buffer) < 0 ? "" : buffer;
}

static void on_libvirt_device_removed(virConnectPtr connection, virDomainPtr domain,
                                      const char *alias, void *userdata) {
        const Hypervisor *hypervisor = userdata;
        char uuid[VIR_UUID_STRING_BUFLEN];

        hypervisor->handler->device_removed(hypervisor->context, get_uuid(domain, uuid), alias);
}

static void on_libvirt_removal_failed(virConnectPtr connection, virDomainPtr domain,
                                      const char *alias, void *userdata) {
        const Hypervisor *hypervisor = userdata;
        char uuid[VIR_UUID_STRING_BUFLEN];

        hypervisor->handler->removal_failed(hypervisor->context, get_uuid(domain, uuid), alias);
}

static int on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail,
                        void *userdata) {
        const Hypervisor *hypervisor = userdata;
        char uuid[VIR_UUID_STRING_BUFLEN];

        if (event == VIR_DOMAIN_EVENT_STOPPED)
                hypervisor->handler->stopped(hypervisor->context, get_uuid(domain, uuid));
        return 0;
}

static void hypervisor_disconnect(Hypervisor *hypervisor) {
        if (!hypervisor->connection)
                return;
        (void) virConnectUnregisterCloseCallback(hypervisor->connection, NULL);
        for (size_t i = 0; i < EVENTS_MAX; i++)
                if (hypervisor->callbacks[i] >= 0)
                        (void) virConnectDomainEventDeregisterAny(hypervisor->connection,
                                                                  hypervisor->callbacks[i]);
        (void) virConnectClose(hypervisor->connection);
        hypervisor->connection = NULL;
}

/* Called from within libvirt, which is using the connection: it is closed in the next turn. */
static void on_closed(virConnectPtr connection, int reason, void *userdata) {
        Hypervisor *hypervisor = userdata;

        log_warning("The connection to libvirt's daemon was lost");
        hypervisor->handler->lost(hypervisor->context);
        (void) connect_later(hypervisor, 0);
}

static int watch_events(Hypervisor *hypervisor) {
        static const struct {
                int id;
                virConnectDomainEventGenericCallback callback;
        } events[EVENTS_MAX] = {
                { VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle) },
                { VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
                  VIR_DOMAIN_EVENT_CALLBACK(on_libvirt_device_removed) },
                { VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
                  VIR_DOMAIN_EVENT_CALLBACK(on_libvirt_removal_failed) },
        };

        for (size_t i = 0; i < EVENTS_MAX; i++) {
                hypervisor->callbacks[i] =
                        virConnectDomainEventRegisterAny(hypervisor->connection, NULL, events[i].id,
                                                         events[i].callback, hypervisor, NULL);
                if (hypervisor->callbacks[i] < 0)
                        return -EIO;
        }
        return virConnectRegisterCloseCallback(hypervisor->connection, on_closed, hypervisor,
                                               NULL) < 0
                       ? -EIO
                       : 0;
}

static int open_connection(Hypervisor *hypervisor) {
        for (size_t i = 0; i < EVENTS_MAX; i++)
                hypervisor->callbacks[i] = -1;
        hypervisor->connection = virConnectOpen(hypervisor->uri);
        if (!hypervisor->connection)
                return -EIO;
        /* The driver of tests has no daemon, and no keep-alive. */
        (void) virConnectSetKeepAlive(hypervisor->connection, KEEPALIVE_SECONDS, KEEPALIVE_COUNT);
        return watch_events(hypervisor);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        Hypervisor *hypervisor = userdata;

        hypervisor_disconnect(hypervisor);
        if (open_connection(hypervisor) >= 0) {
                log_info("Connected to libvirt at %s", hypervisor->uri);
                hypervisor->said = false;
                hypervisor->handler->connected(hypervisor->context);
                return 0;
        }
        if (!hypervisor->said)
                log_warning("Failed to connect to libvirt at %s: %s", hypervisor->uri,
                            virGetLastErrorMessage());
        hypervisor->said = true;
        hypervisor_disconnect(hypervisor);
        return connect_later(hypervisor, RETRY_USEC);
}

static int connect_later(Hypervisor *hypervisor, uint64_t usec) {
        sd_event_source_disable_unref(hypervisor->retry);
        hypervisor->retry = NULL;
        return sd_event_add_time_relative(hypervisor->event, &hypervisor->retry, CLOCK_MONOTONIC,
                                          usec, 0, on_retry, hypervisor);
}

int hypervisor_new(sd_event *event, const char *uri, const HypervisorHandler *handler,
                   void *context, Hypervisor **ret) {
        Hypervisor *hypervisor;
        int r;

        r = libvirt_loop_register(event);
        if (r < 0)
                return r;
        if (virInitialize() < 0)
                return -EIO;
        virSetErrorFunc(NULL, on_error);
        hypervisor = g_new0(Hypervisor, 1);
        hypervisor->event = sd_event_ref(event);
        hypervisor->uri = g_strdup(uri);
        hypervisor->handler = handler;
        hypervisor->context = context;
        r = connect_later(hypervisor, 0);
        if (r < 0) {
                hypervisor_free(hypervisor);
                return r;
        }
        *ret = hypervisor;
        return 0;
}

Hypervisor *hypervisor_free(Hypervisor *hypervisor) {
        if (!hypervisor)
                return NULL;
        hypervisor_disconnect(hypervisor);
        sd_event_source_disable_unref(hypervisor->retry);
        sd_event_unref(hypervisor->event);
        g_free(hypervisor->uri);
        g_free(hypervisor);
        return NULL;
}

bool hypervisor_is_connected(const Hypervisor *hypervisor) {
        return hypervisor->connection && virConnectIsAlive(hypervisor->connection) == 1;
}

static int hypervisor_fail(char **ret_why) {
        *ret_why = g_strdup(virGetLastErrorMessage());
        return -EIO;
}

static void domain_free(gpointer data) {
        HypervisorDomain *domain = data;

        free(domain->xml);
        g_free(domain);
}

/* libvirt's library does not say it; its daemon's driver for QEMU keeps it in a file for each
 * domain. */
static uint32_t read_pid(virDomainPtr domain) {
        const char *name = virDomainGetName(domain);
        g_autofree char *path = NULL, *text = NULL;
        guint64 pid = 0;

        if (!name)
                return 0;
        path = g_strdup_printf("/run/libvirt/qemu/%s.pid", name);
        if (!g_file_get_contents(path, &text, NULL, NULL) ||
            !g_ascii_string_to_unsigned(g_strchomp(text), 10, 1, INT32_MAX, &pid, NULL))
                return 0;
        return (uint32_t) pid;
}

/* A domain that has just ended has no XML any more, and is left out. */
static void add_domain(GPtrArray *domains, virDomainPtr domain) {
        HypervisorDomain *added;
        char *xml = virDomainGetXMLDesc(domain, 0);
        int state = VIR_DOMAIN_NOSTATE;

        if (!xml)
                return;
        added = g_new(HypervisorDomain, 1);
        (void) virDomainGetState(domain, &state, NULL, 0);
        *added = (HypervisorDomain){ xml, state == VIR_DOMAIN_RUNNING, read_pid(domain) };
        g_ptr_array_add(domains, added);
}

int hypervisor_list(Hypervisor *hypervisor, GPtrArray **ret, char **ret_why) {
        GPtrArray *domains;
        virDomainPtr *found = NULL;
        int n = virConnectListAllDomains(hypervisor->connection, &found,
                                         VIR_CONNECT_LIST_DOMAINS_ACTIVE);

        if (n < 0)
                return hypervisor_fail(ret_why);
        domains = g_ptr_array_new_with_free_func(domain_free);
        for (int i = 0; i < n; i++) {
                add_domain(domains, found[i]);
                (void) virDomainFree(found[i]);
        }
        free(found);
        *ret = domains;
        return 0;
}

/* Does something to a domain: `act` returns a negative number if that fails. */
static int act_on(Hypervisor *hypervisor, const char *uuid, const char *argument,
                  int (*act)(virDomainPtr domain, const char *argument), char **ret_why) {
        virDomainPtr domain = virDomainLookupByUUIDString(hypervisor->connection, uuid);
        int r = 0;

        if (!domain)
                return hypervisor_fail(ret_why);
        if (act(domain, argument) < 0)
                r = hypervisor_fail(ret_why);
        (void) virDomainFree(domain);
        return r;
}

static int detach(virDomainPtr domain, const char *alias) {
        return virDomainDetachDeviceAlias(domain, alias, VIR_DOMAIN_AFFECT_LIVE);
}

static int attach(virDomainPtr domain, const char *xml) {
        return virDomainAttachDeviceFlags(domain, xml, VIR_DOMAIN_AFFECT_LIVE);
}

static int shut_down(virDomainPtr domain, const char *argument) {
        return virDomainShutdown(domain);
}

int hypervisor_detach(Hypervisor *hypervisor, const char *uuid, const char *alias, char **ret_why) {
        return act_on(hypervisor, uuid, alias, detach, ret_why);
}

int hypervisor_shut_down(Hypervisor *hypervisor, const char *uuid, char **ret_why) {
        return act_on(hypervisor, uuid, NULL, shut_down, ret_why);
}

int hypervisor_attach(Hypervisor *hypervisor, const char *uuid, const char *xml, char **ret_why) {
        return act_on(hypervisor, uuid, xml, attach, ret_why);
}
