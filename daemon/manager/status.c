#include "daemon/manager/status.h"

#include "daemon/base/wakeup.h"

#define DELAY_USEC (500 * 1000ULL)

struct Status {
        Notify *notify;
        const Apply *apply;
        const Settings *settings;
        sd_event_source *timer;
};

static int on_status_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        const Status *status = userdata;
        const PartContext *context = apply_context(status->apply);
        unsigned n_problems = problems_count(context->problems);
        g_autofree char *problems =
                n_problems == 0 ? g_strdup("") : g_strdup_printf(", %u problems", n_problems);

        (void) notify_send(status->notify, "STATUS=Watching %u PCI functions, %u locked%s%s",
                           inventory_count(context->inventory), apply_count_locked(status->apply),
                           settings_enforce(status->settings) ? "" : ", enforcing nothing",
                           problems);
        return 0;
}

int status_new(Notify *notify, const Apply *apply, const Settings *settings, Status **ret) {
        Status *status = g_new0(Status, 1);
        int r;

        status->notify = notify;
        status->apply = apply;
        status->settings = settings;
        r = sd_event_add_time(apply_context(apply)->event, &status->timer, CLOCK_MONOTONIC, 0, 0,
                              on_status_timer, status);
        if (r < 0) {
                status_free(status);
                return r;
        }
        (void) sd_event_source_set_description(status->timer, "status");
        *ret = status;
        return 0;
}

Status *status_free(Status *status) {
        if (!status)
                return NULL;
        sd_event_source_disable_unref(status->timer);
        g_free(status);
        return NULL;
}

void status_update(Status *status) {
        wakeup_within(status->timer, DELAY_USEC);
}
