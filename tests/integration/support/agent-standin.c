/* Stands in for libvirt, to test vfwarden-libvirt: an implementation of agent/hypervisor.h over a
 * directory, the agent's --connect.
 *
 *   NAME.xml   a domain that runs; NAME.paused.xml one that is paused
 *   NAME.xml.pid   its process
 *   log        gets a line for each request: "detach UUID ALIAS", "shut-down UUID", "attach UUID
 *              XML"
 *   fail       if it is there, requests fail with its text
 *   events     a FIFO from which "connected", "lost", "removed UUID ALIAS", "failed UUID ALIAS"
 *              and "stopped UUID" are read; and "later SECONDS", after which the agent's clock is
 *              so much ahead */
#include "agent/hypervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

struct Hypervisor {
        char *directory;
        const HypervisorHandler *handler;
        void *context;
        bool connected;
        int events;
        sd_event_source *source;
};

static gint64 ahead_usec;

/* In GLib's place. */
gint64 g_get_monotonic_time(void) {
        struct timespec now;

        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000 + ahead_usec;
}

static void do_event(Hypervisor *hypervisor, const char *line) {
        g_auto(GStrv) words = g_strsplit(line, " ", -1);
        guint n = g_strv_length(words);

        if (n >= 1 && g_str_equal(words[0], "connected")) {
                hypervisor->connected = true;
                hypervisor->handler->connected(hypervisor->context);
        } else if (n >= 1 && g_str_equal(words[0], "lost")) {
                hypervisor->connected = false;
                hypervisor->handler->lost(hypervisor->context);
        } else if (n >= 3 && g_str_equal(words[0], "removed"))
                hypervisor->handler->device_removed(hypervisor->context, words[1], words[2]);
        else if (n >= 3 && g_str_equal(words[0], "failed"))
                hypervisor->handler->removal_failed(hypervisor->context, words[1], words[2]);
        else if (n >= 2 && g_str_equal(words[0], "stopped"))
                hypervisor->handler->stopped(hypervisor->context, words[1]);
        else if (n >= 2 && g_str_equal(words[0], "later"))
                ahead_usec += g_ascii_strtoll(words[1], NULL, 10) * G_USEC_PER_SEC;
}

static int on_events(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        char text[4096];
        ssize_t n = read(fd, text, sizeof(text) - 1);
        g_auto(GStrv) lines = NULL;

        if (n <= 0)
                return 0;
        text[n] = '\0';
        lines = g_strsplit(text, "\n", -1);
        for (char **line = lines; *line; line++)
                do_event(userdata, *line);
        return 0;
}

int hypervisor_new(sd_event *event, const char *uri, const HypervisorHandler *handler,
                   void *context, Hypervisor **ret) {
        Hypervisor *hypervisor = g_new0(Hypervisor, 1);
        g_autofree char *path = g_build_filename(uri, "events", NULL);

        hypervisor->directory = g_strdup(uri);
        hypervisor->handler = handler;
        hypervisor->context = context;
        *ret = hypervisor;
        /* For writing as well, so that it never ends. */
        hypervisor->events = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (hypervisor->events < 0)
                return -errno;
        return sd_event_add_io(event, &hypervisor->source, hypervisor->events, EPOLLIN, on_events,
                               hypervisor);
}

Hypervisor *hypervisor_free(Hypervisor *hypervisor) {
        if (!hypervisor)
                return NULL;
        sd_event_source_disable_unref(hypervisor->source);
        if (hypervisor->events >= 0)
                (void) close(hypervisor->events);
        g_free(hypervisor->directory);
        g_free(hypervisor);
        return NULL;
}

bool hypervisor_is_connected(const Hypervisor *hypervisor) {
        return hypervisor->connected;
}

static void domain_free(gpointer data) {
        HypervisorDomain *domain = data;

        g_free(domain->xml);
        g_free(domain);
}

static uint32_t read_pid(const char *xml_path) {
        g_autofree char *path = g_strconcat(xml_path, ".pid", NULL), *text = NULL;

        return g_file_get_contents(path, &text, NULL, NULL)
                       ? (uint32_t) g_ascii_strtoull(text, NULL, 10)
                       : 0;
}

int hypervisor_list(Hypervisor *hypervisor, GPtrArray **ret, char **ret_why) {
        g_autoptr(GDir) directory = g_dir_open(hypervisor->directory, 0, NULL);
        GPtrArray *domains = g_ptr_array_new_with_free_func(domain_free);
        const char *name;

        while (directory && (name = g_dir_read_name(directory))) {
                g_autofree char *path = g_build_filename(hypervisor->directory, name, NULL);
                HypervisorDomain domain = { .is_running = !g_str_has_suffix(name, ".paused.xml") };

                if (!g_str_has_suffix(name, ".xml") ||
                    !g_file_get_contents(path, &domain.xml, NULL, NULL))
                        continue;
                domain.pid = read_pid(path);
                g_ptr_array_add(domains, g_memdup2(&domain, sizeof(domain)));
        }
        *ret = domains;
        return 0;
}

static int request(const Hypervisor *hypervisor, const char *line, char **ret_why) {
        g_autofree char *fail = g_build_filename(hypervisor->directory, "fail", NULL);
        g_autofree char *path = g_build_filename(hypervisor->directory, "log", NULL);
        FILE *file = fopen(path, "ae");

        if (!file)
                return -errno;
        (void) fprintf(file, "%s\n", line);
        (void) fclose(file);
        return g_file_get_contents(fail, ret_why, NULL, NULL) ? -EIO : 0;
}

int hypervisor_detach(Hypervisor *hypervisor, const char *uuid, const char *alias, char **ret_why) {
        g_autofree char *line = g_strdup_printf("detach %s %s", uuid, alias);

        return request(hypervisor, line, ret_why);
}

int hypervisor_shut_down(Hypervisor *hypervisor, const char *uuid, char **ret_why) {
        g_autofree char *line = g_strdup_printf("shut-down %s", uuid);

        return request(hypervisor, line, ret_why);
}

int hypervisor_attach(Hypervisor *hypervisor, const char *uuid, const char *xml, char **ret_why) {
        g_autofree char *line = g_strdup_printf("attach %s %s", uuid, xml);

        return request(hypervisor, line, ret_why);
}
