#include "cli/serve/release.h"

#include "cli/client.h"
#include "cli/serve/qmp.h"
#include "cli/value.h"
#include "cli/verbs/child.h"
#include "lib/addressed-signals.h"

#include <errno.h>
#include <stdlib.h>

struct Release {
        const Context *context;
        sd_event *event;
        const char *path, *address;
        ReleaseOptions options;
        sigset_t mask;
        sd_bus_slot *requested, *changed, *removed; /* matches */
        sd_event_source *command;                   /* its end; NULL: it does not run */
        pid_t pid;                                  /* of the command */
        bool is_due;                                /* a request came while it ran ... */
        uint64_t due_deadline_usec;                 /* ... with this deadline */
        Qmp *qmp;                                   /* NULL: no dialog is in progress */
        sd_event_source *deadline;                  /* of the dialog; NULL: none */
};

/* This process has no use for these variables itself. */
static int set_variables(const Release *release, uint64_t deadline_usec) {
        g_autofree char *deadline = g_strdup_printf("%" G_GUINT64_FORMAT, deadline_usec);

        return setenv("VFWARDEN_ADDRESS", release->address, 1) < 0 ||
                               setenv("VFWARDEN_DEADLINE_USEC", deadline, 1) < 0
                       ? -errno
                       : 0;
}

static int on_command_end(sd_event_source *source, const siginfo_t *info, void *userdata);

static void start_command(Release *release, uint64_t deadline_usec) {
        g_autofree char *text = g_strdup(release->options.command);
        char *words[] = { (char[]){ "/bin/sh" }, (char[]){ "-c" }, text, NULL };
        int r = set_variables(release, deadline_usec);

        release->is_due = false;
        if (r >= 0)
                r = release->pid = child_start(release->context, words, &release->mask);
        if (r >= 0)
                r = sd_event_add_child(release->event, &release->command, release->pid, WEXITED,
                                       on_command_end, release);
        if (r < 0)
                print_warning("%s: Failed to run the command of --on-unplug: %s", release->address,
                              g_strerror(-r));
}

static int on_command_end(sd_event_source *source, const siginfo_t *info, void *userdata) {
        Release *release = userdata;
        ExitCode code = child_exit_code(info);

        release->command = sd_event_source_disable_unref(release->command);
        if (code != EXIT_CODE_DONE)
                print_warning("%s: the command of --on-unplug failed with status %d",
                              release->address, (int) code);
        if (release->is_due)
                start_command(release, release->due_deadline_usec);
        return 0;
}

/* A VMM may talk to one at a time, so that a dialog is not kept longer than it can be of use. */
static void end_dialog(Release *release) {
        release->qmp = qmp_free(release->qmp);
        release->deadline = sd_event_source_disable_unref(release->deadline);
}

static void on_qmp_done(void *userdata, const char *why) {
        Release *release = userdata;

        if (why)
                print_warning("%s: Failed to remove the device %s from the VMM: %s",
                              release->address, release->options.device, why);
        end_dialog(release);
}

static int on_release_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        on_qmp_done(userdata, "its guest has not released it in time");
        return 0;
}

static bool deadline_is_over(const Release *release) {
        uint64_t deadline_usec;

        return release->deadline &&
               sd_event_source_get_time(release->deadline, &deadline_usec) >= 0 &&
               (uint64_t) g_get_real_time() >= deadline_usec;
}

static void start_dialog(Release *release, uint64_t deadline_usec) {
        int r = qmp_start(release->event, release->options.qmp, release->options.device,
                          on_qmp_done, release, &release->qmp);

        if (r >= 0 && deadline_usec != 0)
                r = sd_event_add_time(release->event, &release->deadline, CLOCK_REALTIME,
                                      deadline_usec, 0, on_release_deadline, release);
        if (r >= 0)
                return;
        end_dialog(release);
        print_warning("%s: Failed to connect to %s: %s", release->address, release->options.qmp,
                      g_strerror(-r));
}

/* A VMM hears of a removal by the kernel as little as of one by the daemon, since the device's
 * request interrupt does not reach it; so that without a deadline counts, too. */
static int on_release_requested(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Release *release = userdata;
        uint64_t deadline_usec;

        if (sd_bus_message_read(message, "t", &deadline_usec) < 0)
                return 0;
        release->is_due = release->command != NULL;
        release->due_deadline_usec = deadline_usec;
        if (release->options.command && !release->command)
                start_command(release, deadline_usec);
        if (release->options.qmp && !release->qmp)
                start_dialog(release, deadline_usec);
        return 0;
}

static bool read_is_present(sd_bus_message *message) {
        g_autoptr(JsonObject) properties = json_object_new();
        const char *interface;

        return sd_bus_message_read(message, "s", &interface) >= 0 &&
               g_str_equal(interface, CLIENT_FUNCTION) &&
               value_read_properties(message, properties) >= 0 &&
               g_str_equal(json_object_get_string_member_with_default(properties, "State", ""),
                           "present");
}

/* No unplug is in progress any more. A VF stays when it has been taken from its user, and a request
 * can be withdrawn; a third end is the deadline, which the daemon may have seen earlier. */
static int on_function_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Release *release = userdata;

        if (!read_is_present(message))
                return 0;
        release->is_due = false;
        if (!release->qmp)
                return 0;
        if (deadline_is_over(release))
                return on_release_deadline(NULL, 0, release);
        end_dialog(release);
        return 0;
}

/* The function is gone, with the guest's help or without it. */
static int on_function_removed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Release *release = userdata;
        const char *path;

        if (sd_bus_message_read(message, "o", &path) < 0 || !g_str_equal(path, release->path))
                return 0;
        release->is_due = false;
        end_dialog(release);
        return 0;
}

static int subscribe_release(Release *release, sd_bus *bus) {
        int r = addressed_signals_drop(bus);

        if (r >= 0)
                r = sd_bus_match_signal(bus, &release->requested, CLIENT_BUS_NAME, release->path,
                                        CLIENT_FUNCTION, "UnplugRequested", on_release_requested,
                                        release);
        if (r >= 0)
                r = sd_bus_match_signal(bus, &release->changed, CLIENT_BUS_NAME, release->path,
                                        "org.freedesktop.DBus.Properties", "PropertiesChanged",
                                        on_function_changed, release);
        return r < 0 ? r
                     : sd_bus_match_signal(bus, &release->removed, CLIENT_BUS_NAME, CLIENT_ROOT,
                                           "org.freedesktop.DBus.ObjectManager",
                                           "InterfacesRemoved", on_function_removed, release);
}

int release_new(Context *context, sd_event *event, const char *path, const char *address,
                const ReleaseOptions *options, const sigset_t *mask, Release **ret) {
        g_autoptr(Release) release = g_new0(Release, 1);
        int r;

        release->context = context;
        release->event = sd_event_ref(event);
        release->path = path;
        release->address = address;
        release->options = *options;
        release->mask = *mask;
        r = subscribe_release(release, context->bus);
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&release);
        return 0;
}

/* The command gets SIGTERM when this process ends; see child.h. */
Release *release_free(Release *release) {
        if (!release)
                return NULL;
        sd_bus_slot_unref(release->requested);
        sd_bus_slot_unref(release->changed);
        sd_bus_slot_unref(release->removed);
        sd_event_source_disable_unref(release->command);
        end_dialog(release);
        sd_event_unref(release->event);
        g_free(release);
        return NULL;
}
