/* guest-release.h: how the guest of a domain is made to release a function.
 *
 * Owns nothing: one table of rules over what the domain's XML says. The domain's owner chooses by
 * metadata; a device that no guest can release is refused at once, instead of at the deadline. */
#pragma once

#include <errno.h>
#include <stdbool.h>

/* What the domain's metadata asks for. */
typedef enum GuestWish {
        GUEST_WISH_DETACH, /* the device is unplugged from the running guest: the default */
        GUEST_WISH_SHUT_DOWN,
        GUEST_WISH_REFUSE,
        _GUEST_WISH_MAX,
        _GUEST_WISH_INVALID = -EINVAL,
} GuestWish;

typedef enum GuestRelease {
        GUEST_RELEASE_DETACH,
        GUEST_RELEASE_SHUT_DOWN,
        GUEST_RELEASE_REFUSE,
} GuestRelease;

/* What is known of a domain, and of the device that it made of the function. */
typedef struct GuestFacts {
        GuestWish wish;     /* or invalid: the metadata has an unknown word */
        bool has_alias;     /* the device can be named to QEMU */
        bool is_root_bus;   /* it is on the root bus of a machine with PCI Express */
        bool has_hotplug;   /* the machine has PCI hot-plug at all */
        bool slot_is_fixed; /* its port was made with hotplug='off' */
        bool is_running;    /* a guest that is paused answers no request */
} GuestFacts;

/* What to do. `ret_why` gets a clause for people if that is to refuse, else NULL. */
GuestRelease guest_release_choose(const GuestFacts *facts, const char **ret_why);

/* The words of the metadata. */
const char *guest_wish_to_string(GuestWish wish);
GuestWish guest_wish_from_string(const char *word);
