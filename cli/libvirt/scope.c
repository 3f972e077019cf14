#include "cli/libvirt/scope.h"

#include "cli/cleanup.h"

#include <errno.h>

#define SYSTEMD_NAME    "org.freedesktop.systemd1"
#define SYSTEMD_PATH    "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sd_bus_slot, sd_bus_slot_unref)

/* A job of systemd, which reports its end to its client. */
typedef struct Job {
        char *path; /* NULL until systemd has said it */
        char *result;
} Job;

static void job_done(Job *job) {
        g_free(job->path);
        g_free(job->result);
}

static int on_job_removed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Job *job = userdata;
        const char *path, *unit, *result;
        uint32_t id;

        if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) >= 0 && job->path &&
            g_str_equal(path, job->path) && !job->result)
                job->result = g_strdup(result);
        return 0;
}

/* Sends `call`, which makes a job, and waits for the job's end. */
static int run_job(sd_bus *bus, sd_bus_message *call, gint64 deadline, sd_bus_error *ret_error) {
        _cleanup_(job_done) Job job = { 0 };
        g_autoptr(sd_bus_message) reply = NULL;
        g_autoptr(sd_bus_slot) slot = NULL;
        const char *path;
        int r;

        r = sd_bus_match_signal(bus, &slot, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                "JobRemoved", on_job_removed, &job);
        if (r < 0)
                return r;
        r = sd_bus_call(bus, call, (uint64_t) MAX(deadline - g_get_monotonic_time(), 1), ret_error,
                        &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return r;
        job.path = g_strdup(path);

        /* The signals that came before the reply have been kept, and are dealt with now. */
        while (!job.result) {
                gint64 left = deadline - g_get_monotonic_time();

                r = sd_bus_process(bus, NULL);
                if (r == 0 && left <= 0)
                        return -ETIMEDOUT;
                if (r == 0)
                        r = sd_bus_wait(bus, (uint64_t) left);
                if (r < 0 && r != -EINTR)
                        return r;
        }
        if (!g_str_equal(job.result, "done")) {
                (void) sd_bus_error_setf(ret_error, SD_BUS_ERROR_FAILED, "systemd's job: %s",
                                         job.result);
                return -EIO;
        }
        return 0;
}

int scope_start(Context *context, const char *unit, const char *description, pid_t pid,
                gint64 deadline, sd_bus_error *ret_error) {
        g_autoptr(sd_bus_message) call = NULL;
        int r;

        r = sd_bus_message_new_method_call(context->bus, &call, SYSTEMD_NAME, SYSTEMD_PATH,
                                           SYSTEMD_MANAGER, "StartTransientUnit");
        if (r >= 0)
                r = sd_bus_message_append(call, "ssa(sv)a(sa(sv))", unit, "fail", 3, "Description",
                                          "s", description, "CollectMode", "s",
                                          "inactive-or-failed", "PIDs", "au", 1, (uint32_t) pid, 0);
        if (r < 0)
                return r;
        return run_job(context->bus, call, deadline, ret_error);
}

int scope_stop(Context *context, const char *unit, gint64 deadline, sd_bus_error *ret_error) {
        g_autoptr(sd_bus_message) call = NULL;
        int r;

        r = sd_bus_message_new_method_call(context->bus, &call, SYSTEMD_NAME, SYSTEMD_PATH,
                                           SYSTEMD_MANAGER, "StopUnit");
        if (r >= 0)
                r = sd_bus_message_append(call, "ss", unit, "replace");
        if (r < 0)
                return r;
        r = run_job(context->bus, call, deadline, ret_error);
        if (r < 0 && sd_bus_error_has_name(ret_error, "org.freedesktop.systemd1.NoSuchUnit")) {
                sd_bus_error_free(ret_error);
                return 0;
        }
        return r;
}
