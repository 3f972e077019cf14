/* inhibitor.h: a client's order to refuse operations on a function while it holds a descriptor.
 *
 * A plain record; the daemon owns them, a Function lists its own. */
#pragma once

#include <stdint.h>

/* Bounds on what a client may say, in bytes. */
#define INHIBITOR_TEXT_MAX 256

typedef struct Inhibitor {
        unsigned operations; /* 1 << Operation */
        char *who;           /* UTF-8, for people */
        char *why;
        uint32_t uid;
        uint32_t pid;
} Inhibitor;
