/* inhibitor.h: a client's order to refuse operations on a function while it holds a descriptor.
 *
 * A plain record; the daemon owns them, a Function lists its own. */
#pragma once

#include <errno.h>
#include <stdint.h>

/* Bounds on what a client may say, in bytes. */
#define INHIBITOR_TEXT_MAX 256

/* How many one user but root, and all together, may have (see root-share.h); one on several
 * functions counts once for each. Root's are those of libvirt's domains. */
#define INHIBITORS_PER_UID_MAX 64
#define INHIBITORS_MAX         1024

typedef enum InhibitorMode {
        INHIBITOR_MODE_BLOCK, /* the operations are refused */
        INHIBITOR_MODE_DELAY, /* the same, but an Unplug asks first and waits for its end */
        _INHIBITOR_MODE_MAX,
        _INHIBITOR_MODE_INVALID = -EINVAL,
} InhibitorMode;

typedef struct Inhibitor {
        unsigned operations; /* 1 << Operation */
        InhibitorMode mode;
        char *who; /* UTF-8, for people */
        char *why;
        uint32_t uid;
        uint32_t pid;
} Inhibitor;

/* The words of D-Bus, of the state and of the command. */
const char *inhibitor_mode_to_string(InhibitorMode mode);
InhibitorMode inhibitor_mode_from_string(const char *word);
