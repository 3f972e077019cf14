#include "cli/libvirt/guard-report.h"

#include "cli/cleanup.h"
#include "cli/client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define MESSAGE_MAX 16384

/* The first byte of a message. */
#define KIND_LINE    'l' /* and the text */
#define KIND_FAILURE 'f' /* and the errno, the error's name and its message, a line each */
#define KIND_END     'e' /* and the exit code, and whether the child stays, a byte each */

static int send_text(int fd, char kind, const char *text) {
        g_autofree char *message = g_strdup_printf("%c%s", kind, text);

        return send(fd, message, MIN(strlen(message), MESSAGE_MAX), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void guard_report_line(int fd, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        g_autofree char *text = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        (void) send_text(fd, KIND_LINE, text);
}

void guard_report_failure(int fd, int r, const sd_bus_error *error) {
        g_autofree char *text = g_strdup_printf("%d\n%s\n%s", r, error->name ? error->name : "",
                                                error->message ? error->message : "");

        (void) send_text(fd, KIND_FAILURE, text);
}

int guard_report_end(int fd, ExitCode code, bool stays) {
        char message[] = { KIND_END, (char) code, (char) stays };

        return send(fd, message, sizeof(message), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static ExitCode print_failure(Context *context, const char *text) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_auto(GStrv) lines = g_strsplit(text, "\n", 3);
        int r;

        if (g_strv_length(lines) != 3)
                return EXIT_CODE_FAILED;
        r = (int) g_ascii_strtoll(lines[0], NULL, 10);
        if (sd_bus_error_has_name(&(sd_bus_error){ .name = lines[1] },
                                  SD_BUS_ERROR_UNKNOWN_METHOD)) {
                print_error("Cannot inhibit anything: vfwardend is older than this command; "
                            "\"systemctl restart vfwardend\" starts the installed one");
                return EXIT_CODE_NOT_SUPPORTED;
        }
        if (*lines[1])
                (void) sd_bus_error_set(&error, lines[1], lines[2]);
        /* What is wrong with the daemon is asked for on the hook's own connection. */
        (void) client_connect(context);
        if (!*lines[1] && r == -ETIMEDOUT) {
                print_error("Cannot inhibit anything: vfwardend did not answer in time");
                return EXIT_CODE_TIMED_OUT;
        }
        return client_fail(context, r, &error, "Cannot inhibit anything");
}

ExitCode guard_report_hear(Context *context, int fd, bool *ret_stays) {
        char message[MESSAGE_MAX + 1];
        ExitCode code = EXIT_CODE_DONE;
        ssize_t n;

        *ret_stays = false;
        while ((n = recv(fd, message, MESSAGE_MAX, 0)) > 0 || (n < 0 && errno == EINTR)) {
                if (n < 0)
                        continue;
                message[n] = '\0';
                if (message[0] == KIND_LINE)
                        print_error("%s", message + 1);
                else if (message[0] == KIND_FAILURE)
                        code = print_failure(context, message + 1);
                else if (n == 3) {
                        *ret_stays = message[2];
                        return code != EXIT_CODE_DONE ? code : (ExitCode) message[1];
                }
        }
        print_error("Cannot inhibit anything: the process that was to hold it has ended");
        return EXIT_CODE_FAILED;
}
