#include "agent/warden.h"

#include "agent/log.h"
#include "lib/addressed-signals.h"
#include "policy/client-text.h"
#include "policy/inhibitor.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#define NAME      "org.vfwarden1"
#define ROOT      "/org/vfwarden1"
#define FUNCTIONS "/org/vfwarden1/function"
#define MANAGER   "org.vfwarden1.Manager"
#define FUNCTION  "org.vfwarden1.Function"

/* What the agent delays: the steps of an unplug. */
#define WHAT "unbind:remove:power-off"

/* What vfwardend takes as the reason of a refusal. */
#define REFUSAL_MAX 512

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sd_bus_message, sd_bus_message_unref)

struct Warden {
        sd_bus *bus;
        const WardenHandler *handler;
        void *context;
};

static bool read_path(const char *path, PciAddress *ret) {
        g_autofree char *copy = NULL;
        char *text = NULL;
        int r = sd_bus_path_decode(path, FUNCTIONS, &text);

        copy = g_strdup(text);
        free(text);
        return r > 0 && pci_address_parse(copy, ret) >= 0;
}

static char *make_path(PciAddress function) {
        char address[PCI_ADDRESS_STRING_MAX], *path = NULL, *copy;

        (void) sd_bus_path_encode(FUNCTIONS, pci_address_format(function, address), &path);
        copy = g_strdup(path);
        free(path);
        return copy;
}

static int on_requested(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const Warden *warden = userdata;
        PciAddress function;
        uint64_t deadline_usec;

        if (sd_bus_message_read(message, "t", &deadline_usec) >= 0 &&
            read_path(sd_bus_message_get_path(message), &function))
                warden->handler->requested(warden->context, function, deadline_usec, false);
        return 0;
}

/* Returns whether the changed properties say that no unplug is pending. */
static int read_is_present(sd_bus_message *message) {
        const char *name, *state;
        int r, present = 0;

        r = sd_bus_message_skip(message, "s");
        if (r >= 0)
                r = sd_bus_message_enter_container(message, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                r = sd_bus_message_read(message, "s", &name);
                if (r >= 0 && g_str_equal(name, "State")) {
                        r = sd_bus_message_read(message, "v", "s", &state);
                        present = r >= 0 && g_str_equal(state, "present");
                } else if (r >= 0)
                        r = sd_bus_message_skip(message, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        }
        return r < 0 ? r : present;
}

static int on_warden_properties_changed(sd_bus_message *message, void *userdata,
                                        sd_bus_error *error) {
        const Warden *warden = userdata;

        if (read_is_present(message) > 0)
                warden->handler->ended(warden->context);
        return 0;
}

static int on_warden_name_owner_changed(sd_bus_message *message, void *userdata,
                                        sd_bus_error *error) {
        const Warden *warden = userdata;

        warden->handler->restarted(warden->context);
        return 0;
}

/* Without the bus there is no vfwardend, and systemd starts the agent again. */
static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        log_error("The connection to the bus was lost");
        return sd_event_exit(sd_bus_get_event(sd_bus_message_get_bus(message)), 1);
}

static int warden_watch(Warden *warden) {
        int r = addressed_signals_drop(warden->bus);

        if (r >= 0)
                r = sd_bus_match_signal(warden->bus, NULL, NAME, NULL, FUNCTION, "UnplugRequested",
                                        on_requested, warden);
        if (r >= 0)
                r = sd_bus_add_match(warden->bus, NULL,
                                     "type='signal',sender='" NAME "',"
                                     "interface='org.freedesktop.DBus.Properties',"
                                     "member='PropertiesChanged',arg0='" FUNCTION "'",
                                     on_warden_properties_changed, warden);
        if (r >= 0)
                r = sd_bus_add_match(warden->bus, NULL,
                                     "type='signal',sender='org.freedesktop.DBus',"
                                     "interface='org.freedesktop.DBus',member='NameOwnerChanged',"
                                     "arg0='" NAME "'",
                                     on_warden_name_owner_changed, warden);
        if (r >= 0)
                r = sd_bus_match_signal(warden->bus, NULL, "org.freedesktop.DBus.Local", NULL,
                                        "org.freedesktop.DBus.Local", "Disconnected",
                                        on_disconnected, warden);
        return r;
}

int warden_new(sd_event *event, const WardenHandler *handler, void *context, Warden **ret) {
        Warden *warden = g_new0(Warden, 1);
        int r;

        warden->handler = handler;
        warden->context = context;
        r = sd_bus_open_system(&warden->bus);
        if (r >= 0)
                r = warden_watch(warden);
        if (r >= 0)
                r = sd_bus_attach_event(warden->bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0) {
                warden_free(warden);
                return r;
        }
        *ret = warden;
        return 0;
}

Warden *warden_free(Warden *warden) {
        if (!warden)
                return NULL;
        sd_bus_flush_close_unref(warden->bus);
        g_free(warden);
        return NULL;
}

void warden_announce(Warden *warden, bool can_ask) {
        int r = can_ask ? sd_bus_request_name_async(warden->bus, NULL, WARDEN_AGENT_NAME, 0, NULL,
                                                    NULL)
                        : sd_bus_release_name_async(warden->bus, NULL, WARDEN_AGENT_NAME, NULL,
                                                    NULL);

        if (r < 0)
                log_error("Failed to %s the name " WARDEN_AGENT_NAME ": %s",
                          can_ask ? "take" : "give up", g_strerror(-r));
}

typedef struct Delay {
        PciAddress function;
        WardenDelayed *done;
        void *context;
} Delay;

static int on_warden_delayed(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        g_autofree Delay *delay = userdata;
        const sd_bus_error *error = sd_bus_message_get_error(reply);
        char address[PCI_ADDRESS_STRING_MAX];
        int fd = -1, copy = -1;

        if (error)
                log_warning("%s: Failed to delay its unplug: %s",
                            pci_address_format(delay->function, address), error->message);
        else if (sd_bus_message_read(reply, "h", &fd) >= 0)
                copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1); /* the other is the reply's */
        delay->done(delay->context, copy);
        return 0;
}

int warden_delay(Warden *warden, PciAddress function, const char *why, WardenDelayed *done,
                 void *context) {
        g_autofree char *text = client_text_fit(why, INHIBITOR_TEXT_MAX);
        Delay *delay = g_new(Delay, 1);
        char address[PCI_ADDRESS_STRING_MAX];
        int r;

        *delay = (Delay){ function, done, context };
        r = sd_bus_call_method_async(warden->bus, NULL, NAME, ROOT, MANAGER, "InhibitWithOptions",
                                     on_warden_delayed, delay, "ssssa{sv}",
                                     pci_address_format(function, address), WHAT,
                                     "vfwarden-libvirt", text, 1, "mode", "s", "delay");
        if (r < 0)
                g_free(delay);
        return r < 0 ? r : 0;
}

/* A question about a function, until vfwardend has answered it. */
typedef struct Search {
        Warden *warden;
        PciAddress function;
        WardenUsers *users_found; /* of warden_find_users() */
        void *context;
} Search;

/* Calls a method without arguments; `on_reply` gets a copy of the search, and frees it. */
static void search_begin(const Search *search, const char *path, const char *interface,
                         const char *method, sd_bus_message_handler_t on_reply) {
        Search *copy = g_memdup2(search, sizeof(*search));
        char address[PCI_ADDRESS_STRING_MAX];
        int r = sd_bus_call_method_async(search->warden->bus, NULL, NAME, path, interface, method,
                                         on_reply, copy, NULL);

        if (r >= 0)
                return;
        log_warning("%s: Failed to call %s: %s", pci_address_format(search->function, address),
                    method, g_strerror(-r));
        g_free(copy);
}

static int on_request_found(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        g_autofree Search *search = userdata;
        const Warden *warden = search->warden;
        const sd_bus_error *error = sd_bus_message_get_error(reply);
        char address[PCI_ADDRESS_STRING_MAX];
        uint64_t deadline_usec = 0;

        /* Most often the function has gone. */
        if (error)
                log_info("%s: Nothing is to be released: %s",
                         pci_address_format(search->function, address), error->message);
        else
                (void) sd_bus_message_read(reply, "t", &deadline_usec);
        if (deadline_usec != 0)
                warden->handler->requested(warden->context, search->function, deadline_usec, true);
        else
                warden->handler->not_requested(warden->context, search->function);
        return 0;
}

void warden_find_request(Warden *warden, PciAddress function) {
        g_autofree char *path = make_path(function);

        search_begin(&(Search){ .warden = warden, .function = function }, path, FUNCTION,
                     "GetUnplugRequest", on_request_found);
}

/* The pids in a reply to ListUsers() that belong to the function. */
static int read_pids(sd_bus_message *reply, PciAddress function, GArray *pids) {
        char wanted[PCI_ADDRESS_STRING_MAX];
        const char *address;
        uint32_t pid;
        int r = sd_bus_message_enter_container(reply, 'a', "(suuss)");

        pci_address_format(function, wanted);
        while (r >= 0 &&
               (r = sd_bus_message_read(reply, "(suuss)", &address, &pid, NULL, NULL, NULL)) > 0)
                if (g_str_equal(address, wanted) && pid != 0)
                        g_array_append_val(pids, pid);
        return r;
}

static int on_users_found(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        g_autofree Search *search = userdata;
        const sd_bus_error *error = sd_bus_message_get_error(reply);
        g_autoptr(GArray) pids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
        char address[PCI_ADDRESS_STRING_MAX];
        int r = error ? -sd_bus_error_get_errno(error) : read_pids(reply, search->function, pids);

        if (r < 0)
                log_warning("%s: Failed to find its users: %s",
                            pci_address_format(search->function, address), g_strerror(-r));
        else
                search->users_found(search->context, search->function,
                                    (const uint32_t *) pids->data, pids->len);
        return 0;
}

void warden_find_users(Warden *warden, PciAddress function, WardenUsers *done, void *context) {
        search_begin(&(Search){ warden, function, done, context }, ROOT, MANAGER, "ListUsers",
                     on_users_found);
}

/* The inhibitor is kept until vfwardend has answered: it notices the end of one at once, whatever
 * waits on the bus, and would go on with the unplug that was to be refused. */
static int on_refused(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(reply);
        int delay = GPOINTER_TO_INT(userdata);

        /* Most often the unplug has ended meanwhile. */
        if (error)
                log_info("The unplug goes on: %s", error->message);
        if (delay >= 0)
                (void) close(delay);
        return 0;
}

void warden_refuse(Warden *warden, PciAddress function, const char *why, int delay) {
        g_autofree char *text = client_text_fit(why, REFUSAL_MAX);
        g_autofree char *path = make_path(function);
        int r = sd_bus_call_method_async(warden->bus, NULL, NAME, path, FUNCTION, "RefuseUnplug",
                                         on_refused, GINT_TO_POINTER(delay), "s", text);

        if (r >= 0)
                return;
        log_warning("Failed to refuse the unplug: %s", g_strerror(-r));
        if (delay >= 0)
                (void) close(delay);
}
