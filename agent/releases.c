#include "agent/releases.h"

#include "agent/live-domain.h"
#include "agent/log.h"

#include <errno.h>
#include <unistd.h>

/* How long after the end of a request the guest's release still counts as its answer. What comes
 * later has most likely another reason: an administrator detaches the device. */
#define ANSWER_USEC (10 * 60 * G_USEC_PER_SEC)

/* A device that a guest was asked to release, or is about to be. */
typedef struct Release {
        Releases *releases;
        PciAddress function;
        uint64_t deadline_usec; /* of the request */
        char *uuid, *name;      /* of the domain */
        char *alias, *xml;      /* of the device */
        GuestRelease how;
        int inhibitor;   /* -1: none */
        bool is_delayed; /* the inhibitor is being made, and on_delayed() will be called */
        bool is_asked;   /* the guest was */
        bool was_missed; /* the request began before it was seen: the guest may have been asked */
        bool has_ended;  /* the request has; the guest may release the device all the same */
        bool may_have_ended; /* ... or may have: vfwardend has not answered yet */
        gint64 ended_usec;
        bool is_released; /* by the guest, before it was known whether the request has ended */
        bool is_over;     /* nothing is expected of the guest any more */
} Release;

struct Releases {
        Warden *warden;
        Hypervisor *hypervisor;
        GPtrArray *entries; /* of Release*, owned */
};

static void release_free(gpointer data) {
        Release *release = data;

        if (release->inhibitor >= 0)
                (void) close(release->inhibitor);
        g_free(release->uuid);
        g_free(release->name);
        g_free(release->alias);
        g_free(release->xml);
        g_free(release);
}

Releases *releases_new(void) {
        Releases *releases = g_new0(Releases, 1);

        releases->entries = g_ptr_array_new_with_free_func(release_free);
        return releases;
}

Releases *releases_free(Releases *releases) {
        if (!releases)
                return NULL;
        g_ptr_array_unref(releases->entries);
        g_free(releases);
        return NULL;
}

void releases_set(Releases *releases, Warden *warden, Hypervisor *hypervisor) {
        releases->warden = warden;
        releases->hypervisor = hypervisor;
}

/* Lets the unplug go on, or another begin. */
static void release_undelay(Release *release) {
        if (release->inhibitor >= 0)
                (void) close(release->inhibitor);
        release->inhibitor = -1;
}

/* Forgets the device, once no call is pending for it. */
static void release_end(Release *release) {
        release_undelay(release);
        release->is_over = true;
        if (!release->is_delayed)
                g_ptr_array_remove(release->releases->entries, release);
}

static Release *release_find(const Releases *releases, const char *uuid, const char *alias) {
        for (guint i = 0; i < releases->entries->len; i++) {
                Release *release = releases->entries->pdata[i];

                if (!release->is_over && g_str_equal(release->uuid, uuid) &&
                    g_strcmp0(release->alias, alias) == 0)
                        return release;
        }
        return NULL;
}

/* `delay` as of warden_refuse(). */
static void refuse(const Releases *releases, PciAddress function, const char *name, const char *why,
                   int delay) {
        g_autofree char *text = g_strdup_printf("domain %s does not release it: %s", name, why);
        char address[PCI_ADDRESS_STRING_MAX];

        log_notice("%s: %s", pci_address_format(function, address), text);
        warden_refuse(releases->warden, function, text, delay);
}

static void release_refuse(Release *release, const char *why) {
        int delay = release->inhibitor;

        release->inhibitor = -1;
        refuse(release->releases, release->function, release->name, why, delay);
}

/* --- a guest is asked */

static void ask(Release *release) {
        Hypervisor *hypervisor = release->releases->hypervisor;
        char address[PCI_ADDRESS_STRING_MAX];
        bool again = release->is_asked || release->was_missed;
        g_autofree char *why = NULL;
        int r;

        pci_address_format(release->function, address);
        log_info("%s: Asking the guest of domain %s to %s", address, release->name,
                 release->how == GUEST_RELEASE_SHUT_DOWN ? "shut down" : "release it");
        r = release->how == GUEST_RELEASE_SHUT_DOWN
                    ? hypervisor_shut_down(hypervisor, release->uuid, &why)
                    : hypervisor_detach(hypervisor, release->uuid, release->alias, &why);
        release->is_asked = true;
        /* QEMU refuses a second request while the guest has not answered the first. */
        if (r >= 0 || again)
                return;
        release_refuse(release, why);
        release_end(release);
}

static void on_delayed(void *context, int fd) {
        Release *release = context;

        release->is_delayed = false;
        release->inhibitor = fd;
        if (release->is_over || (release->has_ended && !release->is_asked))
                release_end(release);
        else if (release->has_ended)
                release_undelay(release);
        else
                ask(release);
}

/* Delays the unplug and asks the guest then; without a delay the guest is asked all the same. One
 * inhibitor serves all requests for the device: of two, the end of the first would look to
 * vfwardend like a holder that released the function, and the second may be refused. */
static void begin(Release *release) {
        g_autofree char *why =
                g_strdup_printf("waits for the guest of domain %s to release it", release->name);

        release->has_ended = false;
        if (release->is_delayed)
                return;
        if (release->inhibitor < 0 && warden_delay(release->releases->warden, release->function,
                                                   why, on_delayed, release) >= 0)
                release->is_delayed = true;
        else
                ask(release);
}

typedef struct Request {
        uint64_t deadline_usec;
        bool missed; /* see releases_request() */
} Request;

static void request_of_domain(Releases *releases, const LiveDomain *domain,
                              const LiveDevice *device, bool is_running, const Request *request) {
        const GuestFacts facts = {
                .wish = domain->wish,
                .has_alias = device->alias != NULL,
                .is_root_bus = device->is_root_bus,
                .has_hotplug = domain->has_hotplug,
                .slot_is_fixed = device->slot_is_fixed,
                .is_running = is_running,
        };
        const char *why;
        GuestRelease how = guest_release_choose(&facts, &why);
        Release *release;

        if (how == GUEST_RELEASE_REFUSE) {
                refuse(releases, device->function, domain->name, why, -1);
                return;
        }
        release = release_find(releases, domain->uuid, device->alias);
        if (release)
                release->may_have_ended = false;
        /* The same request once more, which was looked for. */
        if (release && !release->has_ended && release->deadline_usec == request->deadline_usec)
                return;
        if (!release) {
                release = g_new0(Release, 1);
                *release = (Release){
                        .releases = releases,
                        .function = device->function,
                        .uuid = g_strdup(domain->uuid),
                        .name = g_strdup(domain->name),
                        .alias = g_strdup(device->alias),
                        .xml = g_strdup(device->xml),
                        .inhibitor = -1,
                };
                g_ptr_array_add(releases->entries, release);
        }
        release->how = how;
        release->deadline_usec = request->deadline_usec;
        release->was_missed = request->missed;
        begin(release);
}

/* Returns whether a domain has the function, by its XML. */
static bool request_of_domains(Releases *releases, GPtrArray *domains, PciAddress function,
                               const Request *request) {
        bool found_any = false;

        for (guint i = 0; i < domains->len; i++) {
                const HypervisorDomain *found = domains->pdata[i];
                g_autoptr(LiveDomain) domain = live_domain_parse(found->xml);
                const LiveDevice *device = NULL;

                while (domain && (device = live_domain_find(domain, function, device))) {
                        request_of_domain(releases, domain, device, found->is_running, request);
                        found_any = true;
                }
        }
        return found_any;
}

static bool contains(const uint32_t *pids, size_t n_pids, uint32_t pid) {
        for (size_t i = 0; i < n_pids; i++)
                if (pids[i] == pid)
                        return true;
        return false;
}

/* A domain that has the function otherwise than by its XML, as by options of QEMU's own: nothing
 * there can be named to libvirt. */
static void refuse_unknown_devices(void *context, PciAddress function, const uint32_t *pids,
                                   size_t n_pids) {
        const Releases *releases = context;
        g_autoptr(GPtrArray) domains = NULL;
        g_autofree char *why = NULL;

        if (hypervisor_list(releases->hypervisor, &domains, &why) < 0)
                return;
        for (guint i = 0; i < domains->len; i++) {
                const HypervisorDomain *found = domains->pdata[i];
                g_autoptr(LiveDomain) domain = NULL;

                if (found->pid == 0 || !contains(pids, n_pids, found->pid))
                        continue;
                domain = live_domain_parse(found->xml);
                if (domain && !live_domain_find(domain, function, NULL))
                        refuse(releases, function, domain->name,
                               "its process has it open, and its XML has no such device", -1);
        }
}

static void note_released(Release *release) {
        char address[PCI_ADDRESS_STRING_MAX];

        log_info("%s: Domain %s has released it", pci_address_format(release->function, address),
                 release->name);
        release_end(release);
}

/* The request for which a guest has released the function is pending still, or another one is.
 * Returns whether there was such a guest. */
static bool end_released(const Releases *releases, PciAddress function) {
        bool found = false;

        for (guint i = releases->entries->len; i > 0; i--) {
                Release *release = releases->entries->pdata[i - 1];

                if (!release->is_released || release->is_over ||
                    pci_address_key(release->function) != pci_address_key(function))
                        continue;
                note_released(release);
                found = true;
        }
        return found;
}

void releases_request(Releases *releases, PciAddress function, uint64_t deadline_usec,
                      bool missed) {
        const Request request = { deadline_usec, missed };
        g_autoptr(GPtrArray) domains = NULL;
        char address[PCI_ADDRESS_STRING_MAX];
        g_autofree char *why = NULL;

        /* In an external removal the kernel asks QEMU, and QEMU the guest. */
        if (deadline_usec == 0 || end_released(releases, function) ||
            !hypervisor_is_connected(releases->hypervisor))
                return;
        if (hypervisor_list(releases->hypervisor, &domains, &why) < 0)
                log_warning("%s: Failed to list the domains: %s",
                            pci_address_format(function, address), why);
        else if (!request_of_domains(releases, domains, function, &request))
                warden_find_users(releases->warden, function, refuse_unknown_devices, releases);
}

/* --- the request ends */

static void give_back(Release *release) {
        char address[PCI_ADDRESS_STRING_MAX];
        g_autofree char *why = NULL;

        pci_address_format(release->function, address);
        if (g_get_monotonic_time() - release->ended_usec > ANSWER_USEC)
                log_notice("%s: Domain %s has released it, too long after an unplug to be its "
                           "answer",
                           address, release->name);
        else if (hypervisor_attach(release->releases->hypervisor, release->uuid, release->xml,
                                   &why) < 0)
                log_error("%s: Domain %s released it after the unplug had ended; failed to give "
                          "it back: %s",
                          address, release->name, why);
        else
                log_notice("%s: Domain %s released it after the unplug had ended, and has it again",
                           address, release->name);
        release_end(release);
}

/* The guest has released it, and nobody asks for it. Without an end of a request before that,
 * somebody else takes the function away. */
static void end_with_release(Release *release) {
        if (!release->may_have_ended) {
                note_released(release);
                return;
        }
        release->ended_usec = g_get_monotonic_time();
        give_back(release);
}

static void end_request(Release *release) {
        char address[PCI_ADDRESS_STRING_MAX];

        if (release->has_ended || release->is_over)
                return;
        if (release->is_released) {
                end_with_release(release);
                return;
        }
        log_notice("%s: The unplug has ended, and domain %s has not released it",
                   pci_address_format(release->function, address), release->name);
        release->has_ended = true;
        release->ended_usec = g_get_monotonic_time();
        release_undelay(release);
        /* A shutdown cannot be cancelled, and has nothing to be given back. */
        if (!release->is_asked || release->how == GUEST_RELEASE_SHUT_DOWN)
                release_end(release);
}

/* The function that was to be removed may be another one, with which those here would have gone;
 * and another unplug may want them. vfwardend knows. */
void releases_look(const Releases *releases) {
        for (guint i = 0; i < releases->entries->len; i++) {
                Release *release = releases->entries->pdata[i];

                if (release->has_ended || release->is_over)
                        continue;
                release->may_have_ended = true;
                warden_find_request(releases->warden, release->function);
        }
}

void releases_end(Releases *releases, PciAddress function) {
        for (guint i = releases->entries->len; i > 0; i--) {
                Release *release = releases->entries->pdata[i - 1];

                if (pci_address_key(release->function) == pci_address_key(function))
                        end_request(release);
        }
}

void releases_end_all(Releases *releases) {
        for (guint i = releases->entries->len; i > 0; i--) {
                Release *release = releases->entries->pdata[i - 1];

                release->may_have_ended = true;
                end_request(release);
        }
}

/* --- what guests do */

/* While its inhibitor delays the unplug, vfwardend can tell whether the unplug is pending still:
 * libvirt's event may come before the signal that it has ended. */
static void on_device_removed(void *context, const char *uuid, const char *alias) {
        Release *release = release_find(context, uuid, alias);

        if (!release)
                return;
        if (release->has_ended)
                give_back(release);
        else if (release->inhibitor < 0)
                note_released(release);
        else {
                release->is_released = true;
                warden_find_request(release->releases->warden, release->function);
        }
}

static void on_removal_failed(void *context, const char *uuid, const char *alias) {
        Releases *releases = context;
        Release *release = release_find(releases, uuid, alias);

        if (!release)
                return;
        if (!release->has_ended)
                release_refuse(release, "its guest rejected the request (DEVICE_REMOVAL_FAILED)");
        release_end(release);
}

static void on_stopped(void *context, const char *uuid) {
        const Releases *releases = context;

        for (guint i = releases->entries->len; i > 0; i--) {
                Release *release = releases->entries->pdata[i - 1];

                if (g_str_equal(release->uuid, uuid))
                        release_end(release);
        }
}

static bool has_device(GPtrArray *domains, const Release *release) {
        for (guint i = 0; i < domains->len; i++) {
                const HypervisorDomain *found = domains->pdata[i];
                g_autoptr(LiveDomain) domain = live_domain_parse(found->xml);

                if (domain && g_str_equal(domain->uuid, release->uuid))
                        return live_domain_has_alias(domain, release->alias);
        }
        return false;
}

/* What was asked for while there was no agent, or no connection. */
static void find_requests(const Releases *releases, GPtrArray *domains) {
        for (guint i = 0; i < domains->len; i++) {
                const HypervisorDomain *found = domains->pdata[i];
                g_autoptr(LiveDomain) domain = live_domain_parse(found->xml);

                for (guint j = 0; domain && j < domain->devices->len; j++) {
                        const LiveDevice *device = domain->devices->pdata[j];

                        warden_find_request(releases->warden, device->function);
                }
        }
}

static void on_connected(void *context) {
        Releases *releases = context;
        g_autoptr(GPtrArray) domains = NULL;
        g_autofree char *why = NULL;

        warden_announce(releases->warden, true);
        if (hypervisor_list(releases->hypervisor, &domains, &why) < 0) {
                log_warning("Failed to list the domains: %s", why);
                return;
        }
        for (guint i = releases->entries->len; i > 0; i--) {
                Release *release = releases->entries->pdata[i - 1];

                if (release->is_asked && !release->is_over && !has_device(domains, release))
                        release_end(release);
        }
        find_requests(releases, domains);
}

static void on_lost(void *context) {
        warden_announce(((const Releases *) context)->warden, false);
}

const HypervisorHandler releases_hypervisor_handler = {
        .connected = on_connected,
        .lost = on_lost,
        .device_removed = on_device_removed,
        .removal_failed = on_removal_failed,
        .stopped = on_stopped,
};
