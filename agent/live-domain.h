/* live-domain.h: what the XML of a running domain says of PCI functions of the host.
 *
 * Owns nothing but what it read. libvirt's daemon wrote the XML, so what is missing or odd in it is
 * left out: such a device is not found, and the domain is not touched. */
#pragma once

#include "policy/address.h"
#include "policy/guest-release.h"

#include <glib.h>

/* The namespace of our element in <metadata>: <unplug xmlns="..." action="detach"/>. */
#define LIVE_DOMAIN_METADATA "http://vfwarden.org/xmlns/libvirt/domain/1.0"

typedef struct LiveDevice {
        PciAddress function; /* of the host */
        char *alias;         /* NULL: it has none */
        char *xml;           /* the device's element */
        bool is_root_bus;    /* see GuestFacts */
        bool slot_is_fixed;
} LiveDevice;

typedef struct LiveDomain {
        char *name;
        char *uuid;
        GuestWish wish;
        bool has_hotplug;
        GPtrArray *devices; /* of LiveDevice*, owned */
} LiveDomain;

/* Returns a domain of the caller's, or NULL if the text is no XML of a domain. */
LiveDomain *live_domain_parse(const char *xml);
LiveDomain *live_domain_free(LiveDomain *domain);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LiveDomain, live_domain_free)

/* The next device after `after` (NULL: the first) that was made of the function; or NULL. */
const LiveDevice *live_domain_find(const LiveDomain *domain, PciAddress function,
                                   const LiveDevice *after);

/* Whether a device of the domain has this alias. */
bool live_domain_has_alias(const LiveDomain *domain, const char *alias);
