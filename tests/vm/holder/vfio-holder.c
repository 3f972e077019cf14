/* vfio-holder: a program that has PCI functions open through VFIO, as a virtual machine monitor
 * would, and does with them what a scenario tells it.
 *
 *   vfio-holder [OPTION...] ADDRESS...     opens the functions over their groups (type 1 container)
 *   vfio-holder [OPTION...] --receive=PATH listens at a socket for a descriptor and keeps it
 *
 *   --group-only          opens the group and no device
 *   --request=obey|refuse arms VFIO_PCI_REQ_IRQ_INDEX; `obey` closes the device when asked,
 *                         `refuse` only says so. Without it no eventfd is armed.
 *   --unplug=MSEC         listens on the system bus for UnplugRequested of its functions, and ends
 *                         that much later
 *   --obey-after=MSEC     how long `obey` takes (default 0)
 *   --io                  reads the first BAR that has memory, a hundred times a second
 *
 * Orders are lines on standard input. A line on standard output answers each when it is done:
 *   open ADDRESS           "opened ADDRESS FD": another function
 *   close-group            "group closed"
 *   close-container        "container closed"
 *   close-device [ADDRESS] "closed ADDRESS" each
 *   fork                   "child PID": a child that has all that this has, and only holds
 *   kill-child             "child ended"
 *   pass PATH              "passed": sends the (first) device's descriptor to the listener there
 *   pass-group PATH        "passed": the group's
 *   park                   "parked": puts the device's descriptor into a socket pair and closes it
 *   unpark                 "unparked": receives it again
 *   io                     "io N VALUE": how many reads so far, and what the last one gave, in
 *                          hexadecimal
 *   end                    ends, with status 0
 *
 * Without orders it holds until it is killed; the end of standard input is no order. What happens
 * is said as it happens: "opened ADDRESS FD", "request ADDRESS", "closed ADDRESS", "unplug ADDRESS
 * DEADLINE", "received", "ready" (once, when all options are carried out). */
#include "tests/vm/holder/holder.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- D-Bus */

static int on_time_to_end(sd_event_source *source, uint64_t usec, void *userdata) {
        Holder *holder = userdata;

        holder_close_devices(holder, NULL);
        return sd_event_exit(holder->event, 0);
}

static int on_unplug_requested(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Holder *holder = userdata;
        char *address = NULL;
        uint64_t deadline;

        if (sd_bus_path_decode(sd_bus_message_get_path(message), "/org/vfwarden1/function",
                               &address) <= 0 ||
            sd_bus_message_read(message, "t", &deadline) < 0) {
                free(address);
                return 0;
        }
        for (unsigned i = 0; i < holder->n_devices; i++) {
                if (strcmp(holder->devices[i].address, address) != 0)
                        continue;
                say("unplug %s %llu", address, (unsigned long long) deadline);
                check(sd_event_add_time_relative(holder->event, NULL, CLOCK_MONOTONIC,
                                                 (uint64_t) holder->unplug_usec, 1, on_time_to_end,
                                                 holder),
                      "timer");
        }
        free(address);
        return 0;
}

static void listen_on_bus(Holder *holder) {
        check(sd_bus_open_system(&holder->bus), "system bus");
        check(sd_bus_match_signal(holder->bus, NULL, "org.vfwarden1", NULL,
                                  "org.vfwarden1.Function", "UnplugRequested", on_unplug_requested,
                                  holder),
              "match");
        check(sd_bus_attach_event(holder->bus, holder->event, 0), "bus");
}

/* --- orders */

static void order_close_group(Holder *holder, const char *argument) {
        holder_close_groups(holder);
        say("group closed");
}

static void order_close_container(Holder *holder, const char *argument) {
        holder_close_container(holder);
        say("container closed");
}

static void order_fork(Holder *holder, const char *argument) {
        holder_fork(holder);
        say("child %d", holder->child);
}

static void order_kill_child(Holder *holder, const char *argument) {
        holder_kill_child(holder);
        say("child ended");
}

static void order_pass(Holder *holder, const char *path) {
        holder_pass_device(holder, path);
        say("passed");
}

static void order_pass_group(Holder *holder, const char *path) {
        holder_pass_group(holder, path);
        say("passed");
}

static void order_park(Holder *holder, const char *argument) {
        holder_park(holder);
        say("parked");
}

static void order_unpark(Holder *holder, const char *argument) {
        holder_unpark(holder);
        say("unparked");
}

static void order_io(Holder *holder, const char *argument) {
        say("io %llu %08x", (unsigned long long) holder->n_reads, holder->last_read);
}

static void order_end(Holder *holder, const char *argument) {
        (void) sd_event_exit(holder->event, 0);
}

static const struct {
        const char *name;
        bool needs_argument;
        void (*obey)(Holder *holder, const char *argument);
} orders[] = {
        { "open", true, holder_open_device },
        { "close-group", false, order_close_group },
        { "close-container", false, order_close_container },
        { "close-device", false, holder_close_devices },
        { "fork", false, order_fork },
        { "kill-child", false, order_kill_child },
        { "pass", true, order_pass },
        { "pass-group", true, order_pass_group },
        { "park", false, order_park },
        { "unpark", false, order_unpark },
        { "io", false, order_io },
        { "end", false, order_end },
};

static void obey_order(Holder *holder, char *order) {
        char *argument = strchr(order, ' ');

        if (argument)
                *argument++ = '\0';
        for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++)
                if (strcmp(order, orders[i].name) == 0 && (argument || !orders[i].needs_argument)) {
                        orders[i].obey(holder, argument);
                        return;
                }
        errno = EINVAL;
        die("order '%s'", order);
}

static int on_input(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Holder *holder = userdata;
        char *end;
        ssize_t n;

        n = read(fd, holder->line + holder->line_length,
                 sizeof(holder->line) - holder->line_length - 1);
        if (n <= 0)
                return sd_event_source_set_enabled(source, SD_EVENT_OFF);
        holder->line_length += (size_t) n;
        holder->line[holder->line_length] = '\0';
        while ((end = strchr(holder->line, '\n'))) {
                *end = '\0';
                obey_order(holder, holder->line);
                holder->line_length -= (size_t) (end + 1 - holder->line);
                memmove(holder->line, end + 1, holder->line_length + 1);
        }
        return 0;
}

int main(int argc, char **argv) {
        enum {
                GROUP_ONLY = 256,
                REQUEST,
                UNPLUG,
                OBEY_AFTER,
                IO,
                RECEIVE
        };
        static const struct option options[] = {
                { "group-only", no_argument, NULL, GROUP_ONLY },
                { "request", required_argument, NULL, REQUEST },
                { "unplug", required_argument, NULL, UNPLUG },
                { "obey-after", required_argument, NULL, OBEY_AFTER },
                { "io", no_argument, NULL, IO },
                { "receive", required_argument, NULL, RECEIVE },
                { NULL },
        };
        Holder holder = {
                .container = -1, .listener = -1, .parked = { -1, -1 }, .unplug_usec = -1
        };
        int c, r;

        check(sd_event_default(&holder.event), "event loop");
        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                switch (c) {
                case GROUP_ONLY:
                        holder.group_only = true;
                        break;
                case REQUEST:
                        holder.arm = true;
                        holder.obey = strcmp(optarg, "obey") == 0;
                        break;
                case UNPLUG:
                        holder.unplug_usec = atoll(optarg) * 1000;
                        break;
                case OBEY_AFTER:
                        holder.obey_after_usec = (uint64_t) atoll(optarg) * 1000;
                        break;
                case IO:
                        holder.io = true;
                        break;
                case RECEIVE:
                        holder_receive_at(&holder, optarg);
                        break;
                default:
                        return EXIT_FAILURE;
                }
        }
        if (holder.unplug_usec >= 0)
                listen_on_bus(&holder);
        for (int i = optind; i < argc; i++)
                holder_open_device(&holder, argv[i]);
        if (holder.io)
                holder_start_reads(&holder);
        r = sd_event_add_io(holder.event, &holder.input, STDIN_FILENO, EPOLLIN, on_input, &holder);
        if (r < 0 && r != -EPERM) /* a file, or /dev/null: no orders */
                check(r, "standard input");
        say("ready");
        return sd_event_loop(holder.event) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
