#include "cli/libvirt/scope.h"

#include "cli/cleanup.h"
#include "cli/client.h"
#include "lib/addressed-signals.h"

#include <errno.h>
#include <stdlib.h>
#include <systemd/sd-login.h>

#define SYSTEMD_NAME    "org.freedesktop.systemd1"
#define SYSTEMD_PATH    "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"

struct Scope {
        Context *context;
        const char *unit, *description;
        pid_t pid;
        GHashTable *results; /* of jobs that have ended: path -> result, both owned */
        sd_bus_slot *slot;   /* of the signals about that */
        ClientCall call;
};

static int on_job_removed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Scope *scope = userdata;
        const char *path, *unit, *result;
        uint32_t id;

        if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) >= 0)
                g_hash_table_insert(scope->results, g_strdup(path), g_strdup(result));
        return 0;
}

Scope *scope_free(Scope *scope) {
        if (!scope)
                return NULL;
        client_call_done(&scope->call);
        sd_bus_slot_unref(scope->slot);
        g_hash_table_unref(scope->results);
        g_free(scope);
        return NULL;
}

static int scope_new(Context *context, const char *unit, Scope **ret) {
        g_autoptr(Scope) scope = g_new0(Scope, 1);
        int r;

        scope->context = context;
        scope->unit = unit;
        scope->results = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        r = addressed_signals_drop(context->bus);
        if (r < 0)
                return r;
        /* Without waiting: the bus gets this before the call that makes the job. */
        r = sd_bus_match_signal_async(context->bus, &scope->slot, SYSTEMD_NAME, SYSTEMD_PATH,
                                      SYSTEMD_MANAGER, "JobRemoved", on_job_removed, NULL, scope);
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&scope);
        return 0;
}

static int scope_call(Scope *scope, const char *member, sd_bus_message **ret) {
        client_call_done(&scope->call);
        return sd_bus_message_new_method_call(scope->context->bus, ret, SYSTEMD_NAME, SYSTEMD_PATH,
                                              SYSTEMD_MANAGER, member);
}

static int send_start(Scope *scope) {
        g_autoptr(sd_bus_message) call = NULL;
        int r;

        r = scope_call(scope, "StartTransientUnit", &call);
        if (r >= 0)
                r = sd_bus_message_append(call, "ssa(sv)a(sa(sv))", scope->unit, "fail", 3,
                                          "Description", "s", scope->description, "CollectMode",
                                          "s", "inactive-or-failed", "PIDs", "au", 1,
                                          (uint32_t) scope->pid, 0);
        return r < 0 ? r : client_call_send(call, &scope->call);
}

static int send_stop(Scope *scope) {
        g_autoptr(sd_bus_message) call = NULL;
        int r;

        r = scope_call(scope, "StopUnit", &call);
        if (r >= 0)
                r = sd_bus_message_append(call, "ss", scope->unit, "replace");
        return r < 0 ? r : client_call_send(call, &scope->call);
}

/* Waits for the end of the job that the call makes. */
static int wait_job(Scope *scope, gint64 deadline, sd_bus_error *ret_error) {
        const char *path, *result = NULL;
        int r;

        r = client_call_wait(scope->context, &scope->call, deadline, ret_error);
        if (r >= 0)
                r = sd_bus_message_read(scope->call.reply, "o", &path);
        while (r >= 0 && !(result = g_hash_table_lookup(scope->results, path)))
                r = client_process(scope->context, deadline);
        if (r < 0 || g_str_equal(result, "done"))
                return r < 0 ? r : 0;
        (void) sd_bus_error_setf(ret_error, SD_BUS_ERROR_FAILED, "systemd's job: %s", result);
        return -EIO;
}

static int stop(Scope *scope, gint64 deadline, sd_bus_error *ret_error) {
        int r;

        r = send_stop(scope);
        if (r >= 0)
                r = wait_job(scope, deadline, ret_error);
        if (r < 0 && sd_bus_error_has_name(ret_error, "org.freedesktop.systemd1.NoSuchUnit")) {
                sd_bus_error_free(ret_error);
                return 0;
        }
        return r;
}

int scope_begin(Context *context, const char *unit, const char *description, pid_t pid,
                Scope **ret) {
        g_autoptr(Scope) scope = NULL;
        int r;

        r = scope_new(context, unit, &scope);
        if (r < 0)
                return r;
        scope->description = description;
        scope->pid = pid;
        r = send_start(scope);
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&scope);
        return 0;
}

int scope_finish(Scope *scope, gint64 deadline, sd_bus_error *ret_error) {
        int r;

        r = wait_job(scope, deadline, ret_error);
        if (r >= 0 || !sd_bus_error_has_name(ret_error, "org.freedesktop.systemd1.UnitExists"))
                return r;
        sd_bus_error_free(ret_error);
        r = stop(scope, deadline, ret_error);
        if (r >= 0)
                r = send_start(scope);
        return r < 0 ? r : wait_job(scope, deadline, ret_error);
}

bool scope_has(const char *unit, pid_t pid) {
        char *text = NULL;
        bool has;

        if (pid <= 0 || sd_pid_get_unit(pid, &text) < 0)
                return false;
        has = g_str_equal(text, unit);
        free(text);
        return has;
}

int scope_stop(Context *context, const char *unit, gint64 deadline, sd_bus_error *ret_error) {
        g_autoptr(Scope) scope = NULL;
        int r;

        r = scope_new(context, unit, &scope);
        return r < 0 ? r : stop(scope, deadline, ret_error);
}
