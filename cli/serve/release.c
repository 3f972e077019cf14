#include "cli/serve/release.h"

#include "cli/client.h"
#include "cli/serve/qmp.h"
#include "cli/verbs/child.h"

#include <errno.h>
#include <stdlib.h>

struct Release {
        const Context *context;
        sd_event *event;
        const char *address;
        ReleaseOptions options;
        sigset_t mask;
        sd_bus_slot *slot;
        sd_event_source *command; /* its end; NULL: it does not run */
        pid_t pid;                /* of the command */
        Qmp *qmp;                 /* NULL: no dialog is in progress */
};

static int on_command_end(sd_event_source *source, const siginfo_t *info, void *userdata) {
        Release *release = userdata;
        ExitCode code = child_exit_code(info);

        release->command = sd_event_source_disable_unref(release->command);
        if (code != EXIT_CODE_DONE)
                print_warning("%s: the command of --on-unplug failed with status %d",
                              release->address, (int) code);
        return 0;
}

/* This process has no use for these variables itself. */
static int set_variables(const Release *release, uint64_t deadline_usec) {
        g_autofree char *deadline = g_strdup_printf("%" G_GUINT64_FORMAT, deadline_usec);

        return setenv("VFWARDEN_ADDRESS", release->address, 1) < 0 ||
                               setenv("VFWARDEN_DEADLINE_USEC", deadline, 1) < 0
                       ? -errno
                       : 0;
}

static void start_command(Release *release, uint64_t deadline_usec) {
        g_autofree char *text = g_strdup(release->options.command);
        char *words[] = { (char[]){ "/bin/sh" }, (char[]){ "-c" }, text, NULL };
        int r = set_variables(release, deadline_usec);

        if (r >= 0)
                r = release->pid = child_start(release->context, words, &release->mask);
        if (r >= 0)
                r = sd_event_add_child(release->event, &release->command, release->pid, WEXITED,
                                       on_command_end, release);
        if (r < 0)
                print_warning("%s: Failed to run the command of --on-unplug: %s", release->address,
                              g_strerror(-r));
}

static void on_qmp_done(void *userdata, const char *why) {
        Release *release = userdata;

        release->qmp = qmp_free(release->qmp);
        if (why)
                print_warning("%s: Failed to remove the device %s from the VMM: %s",
                              release->address, release->options.device, why);
}

static void start_qmp(Release *release) {
        int r = qmp_start(release->event, release->options.qmp, release->options.device,
                          on_qmp_done, release, &release->qmp);

        if (r < 0)
                print_warning("%s: Failed to connect to %s: %s", release->address,
                              release->options.qmp, g_strerror(-r));
}

/* A VMM hears of a removal by the kernel as little as of one by the daemon, since the device's
 * request interrupt does not reach it; so that without a deadline counts, too. */
static int on_release_requested(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Release *release = userdata;
        uint64_t deadline_usec;

        if (sd_bus_message_read(message, "t", &deadline_usec) < 0)
                return 0;
        if (release->options.command && !release->command)
                start_command(release, deadline_usec);
        if (release->options.qmp && !release->qmp)
                start_qmp(release);
        return 0;
}

int release_new(Context *context, sd_event *event, const char *path, const char *address,
                const ReleaseOptions *options, const sigset_t *mask, Release **ret) {
        g_autoptr(Release) release = g_new0(Release, 1);
        int r;

        release->context = context;
        release->event = sd_event_ref(event);
        release->address = address;
        release->options = *options;
        release->mask = *mask;
        r = sd_bus_match_signal(context->bus, &release->slot, CLIENT_BUS_NAME, path,
                                CLIENT_FUNCTION, "UnplugRequested", on_release_requested, release);
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&release);
        return 0;
}

/* The command gets SIGTERM when this process ends; see child.h. */
Release *release_free(Release *release) {
        if (!release)
                return NULL;
        sd_bus_slot_unref(release->slot);
        sd_event_source_disable_unref(release->command);
        qmp_free(release->qmp);
        sd_event_unref(release->event);
        g_free(release);
        return NULL;
}
