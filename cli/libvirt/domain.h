/* domain.h: what the XML of a libvirt domain says of PCI functions of the host.
 *
 * Owns nothing but what it read. Functions are given in three ways: <hostdev type='pci'>,
 * <interface type='hostdev'>, and <disk type='nvme'>, whose controller QEMU drives through VFIO. An
 * interface of a network that has functions to give is seen once libvirt has chosen one: not in the
 * XML that a hook gets at "prepare", but in that of "start". */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

/* More than libvirt itself ever writes. */
#define DOMAIN_XML_MAX (16 * 1024 * 1024)

typedef struct DomainFunction {
        char *address;      /* canonical */
        bool managed;       /* libvirt takes it from its driver, and gives it back */
        GPtrArray *aliases; /* of char*: what libvirt calls its devices while the domain runs */
} DomainFunction;

typedef struct Domain {
        char *name;        /* NULL: none */
        char *uuid;        /* 36 characters, lower case */
        char *not_guarded; /* "mdev, vDPA": devices without a function of their own; NULL: none */
        GPtrArray *functions; /* of DomainFunction*, each address once */
} Domain;

/* Returns 0 and a domain of the caller's, or -EBADMSG and in `ret_why`, the caller's, what is wrong
 * with the document, to follow a colon. */
int domain_parse(const char *xml, size_t size, Domain **ret, char **ret_why);

Domain *domain_free(Domain *domain);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Domain, domain_free)

/* The function at `address`, or NULL. Stays the domain's. */
const DomainFunction *domain_find(const Domain *domain, const char *address);
