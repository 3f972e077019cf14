/* context.h: what one run of the command has at hand.
 *
 * Owns the options as given, the output and, once a verb has asked for it, the bus connection.
 * main.c makes the only one and hands it to the verb. */
#pragma once

#include "cli/function/filter.h"
#include "cli/output/output.h"
#include "cli/output/report.h"

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

typedef struct Context {
        const char *host;    /* NULL for this one */
        const char *machine; /* a container of this host, NULL: none */
        bool help, version;
        ColorMode color;
        bool json;
        char *address; /* of the function, for the errors of the run; NULL until it is known */
        bool legend;
        bool quiet, full, no_pager;
        bool pages;            /* the verb's output goes through a pager */
        bool ask_password;     /* polkit may ask for one */
        pid_t agent;           /* the process that asks on the terminal, 0: none was needed yet */
        FunctionFilter filter; /* list */
        bool tree;             /* list */
        const char *columns, *sort; /* list, NULL if not given */
        bool once;                  /* top */
        guint64 lines;              /* log, 0 if not given */
        const char *directory;      /* log, NULL if not given */
        bool prometheus;            /* metrics: its format, not OpenMetrics */
        bool list;                  /* inhibit: those that there are */
        bool insist;                /* unplug */
        bool override;              /* set-vfs */
        bool override_host;         /* unplug, bind, unbind, reset, set-vfs */
        const char *what; /* inhibit: operations joined by ':', NULL for what it guards against */
        const char *who, *why;       /* inhibit, NULL if not given */
        bool delay;                  /* inhibit: mode "delay" */
        uint64_t timeout_usec;       /* unplug */
        bool allow_unguarded;        /* libvirt-hook */
        const char *socket;          /* io serve: where the client connects, NULL if not given */
        bool dma;                    /* io serve: the device may access the client's memory */
        const char *memory;          /* io serve: MiB of it, NULL if not given */
        const char *on_unplug;       /* io serve: a command for a shell, NULL if not given */
        const char *qmp, *device_id; /* io serve: the VMM's socket, the device in it; NULL alike */
        bool separated;              /* a "--" stood before the arguments */
        bool sigpipe_ignored; /* by who started the command, so it is to be by what it starts */
        JsonArray *results;   /* of --json about several functions; NULL: about one */
        Output output;
        sd_bus *bus;       /* NULL until client_connect() */
        GPtrArray *copies; /* of arguments, see options.c */
} Context;

/* Whether it is not this host's own daemon that is asked. */
static inline bool context_is_elsewhere(const Context *context) {
        return context->host || context->machine;
}
