/* holder.h: the functions that vfio-holder has open through VFIO, with their groups and container.
 *
 * Whatever fails ends the program with a line "failed: ..." on standard output. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#define MAX_DEVICES 16

typedef struct Holder Holder;

typedef struct Device {
        Holder *holder;
        char address[32];
        int fd, request, group;
        uint64_t bar, bar_size;
} Device;

typedef struct Group {
        char number[16];
        int fd;
} Group;

struct Holder {
        sd_event *event;
        sd_event_source *input;
        sd_bus *bus;
        int container, listener, parked[2];
        Group groups[MAX_DEVICES];
        unsigned n_groups;
        Device devices[MAX_DEVICES];
        unsigned n_devices;
        pid_t child;
        bool arm, obey, group_only, io;
        uint64_t obey_after_usec;
        int64_t unplug_usec; /* -1: does not listen */
        uint64_t n_reads;
        uint32_t last_read;
        char line[4096];
        size_t line_length;
};

/* Writes a line. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says what failed, with errno, and ends the program. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Dies if `r` is a negative errno. */
void check(int r, const char *what);

void holder_open_device(Holder *holder, const char *address);

/* All devices, or the one with the address. */
void holder_close_devices(Holder *holder, const char *address);

void holder_close_groups(Holder *holder);
void holder_close_container(Holder *holder);

/* Reads the first BAR of each device from now on. */
void holder_start_reads(Holder *holder);

/* Listens at a socket; a descriptor that comes through it becomes a device. */
void holder_receive_at(Holder *holder, const char *path);

/* Sends the first device's descriptor, or the first group's, to the listener at `path`. */
void holder_pass_device(Holder *holder, const char *path);
void holder_pass_group(Holder *holder, const char *path);

/* Puts the first device's descriptor into a socket pair and closes it, or receives it again. */
void holder_park(Holder *holder);
void holder_unpark(Holder *holder);

/* Makes a child that has all that this process has, and only holds it. */
void holder_fork(Holder *holder);
void holder_kill_child(Holder *holder);
