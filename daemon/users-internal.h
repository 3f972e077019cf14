/* users-internal.h: what the files of the users share. users.c knows when to look, users-conclude.c
 * what follows from what was seen. */
#pragma once

#include "daemon/holders.h"
#include "daemon/users.h"
#include "daemon/vfio-device.h"

#include <systemd/sd-login.h>

struct Users {
        sd_event *event;
        const Inventory *inventory;
        const UsersHandler *handler;
        void *context;
        VfioWatch *watch;
        Holders *holders;
        GHashTable *functions; /* key in VfioDevice -> VfioDevice */
        GHashTable *openers;   /* pid of who opened a node -> how often it is to be looked at */
        GHashTable
                *opened; /* name of a node -> pid of who opened it, which was not seen to have it */
        GHashTable *closed; /* names of nodes that were closed since */
        sd_login_monitor *machines;
        sd_event_source *work, *timer, *machines_source;
        uint64_t last_look_usec, alert_until_usec; /* CLOCK_MONOTONIC */
        uint64_t tick_cost_usec;                   /* CPU time of the timer's last tick */
        unsigned n_lost_ticks;                     /* for how many an open device had no process */
        bool check;     /* holders that let go of something are to be looked at ... */
        bool check_all; /* ... or all holders ... */
        bool everybody; /* ... or all processes */
        bool walking;
};

static inline uint64_t users_now_usec(void) {
        return (uint64_t) g_get_monotonic_time();
}

/* Derives who uses what and tells what is new. `all_seen`: all processes have just been looked at; without, some of it
 * may have to wait for that, and `everybody` is set. */
void users_conclude(Users *users, bool all_seen);
