/* alias.h: what libvirt calls the devices of a domain that runs: "domain:web1/hostdev0".
 *
 * Owns nothing. libvirt of this host is asked by virsh(1), for reading only: so everybody may ask
 * whom libvirt allows it, and the command needs no library of libvirt's. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Whether `name` is of this form. The two parts, the caller's, may be empty. A name of a domain has
 * no slash. */
bool alias_split(const char *name, char **ret_domain, char **ret_alias);

/* Asks libvirt for the functions that `alias` means in `domain`; it may be a pattern. Returns 0 and
 * the addresses (char*), or a negative errno and in `ret_why`, the caller's, what is wrong, to
 * follow a colon: -ENOENT when no function of the domain is called so, else the domain could not be
 * looked at. Takes ten seconds at most. */
int alias_find(const char *domain, const char *alias, GPtrArray **ret_addresses, char **ret_why);

/* What a shell offers while `typed` is typed, none if it is not of this form; the caller's char*.
 */
GPtrArray *alias_offer(const char *typed);
