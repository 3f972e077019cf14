#include "cli/serve/qmp-dialog.h"

#include <criterion/criterion.h>

#define GREETING     "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}"
#define CAPABILITIES "{\"execute\":\"qmp_capabilities\"}\r\n"
#define DEVICE_DEL   "{\"execute\":\"device_del\",\"arguments\":{\"id\":\"nvme0\"}}\r\n"
#define RETURN       "{\"return\": {}}"
#define DELETED \
        "{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"nvme0\", \"path\": \"/x\"}}"

typedef struct Line {
        const char *line;
        QmpStep step;
        const char *words;
} Line;

static void check(const char *name, const Line *lines) {
        QmpDialog dialog = { .device = "nvme0" };

        for (; lines->line; lines++) {
                g_autofree char *words = NULL;

                cr_expect_eq(qmp_dialog_next(&dialog, lines->line, &words), lines->step,
                             "%s: the step after %s", name, lines->line);
                cr_expect_eq(g_strcmp0(words, lines->words), 0, "%s: the words after %s: %s", name,
                             lines->line, words);
        }
}

Test(qmp_dialog, deleted) {
        check("in order", (const Line[]){ { GREETING, QMP_STEP_SEND, CAPABILITIES },
                                          { RETURN, QMP_STEP_SEND, DEVICE_DEL },
                                          { RETURN, QMP_STEP_WAIT, NULL },
                                          { DELETED, QMP_STEP_DONE, NULL },
                                          { DELETED, QMP_STEP_WAIT, NULL },
                                          { NULL, 0, NULL } });
        check("before the reply", (const Line[]){ { GREETING, QMP_STEP_SEND, CAPABILITIES },
                                                  { RETURN, QMP_STEP_SEND, DEVICE_DEL },
                                                  { DELETED, QMP_STEP_DONE, NULL },
                                                  { RETURN, QMP_STEP_WAIT, NULL },
                                                  { NULL, 0, NULL } });
}

Test(qmp_dialog, other_events) {
        check("of others",
              (const Line[]){
                      { GREETING, QMP_STEP_SEND, CAPABILITIES },
                      { "{\"event\": \"STOP\"}", QMP_STEP_WAIT, NULL },
                      { RETURN, QMP_STEP_SEND, DEVICE_DEL },
                      { RETURN, QMP_STEP_WAIT, NULL },
                      { "{\"event\": \"DEVICE_DELETED\", \"data\": {\"path\": \"/x\"}}",
                        QMP_STEP_WAIT, NULL },
                      { "{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"nvme00\"}}",
                        QMP_STEP_WAIT, NULL },
                      { "{\"event\": \"DEVICE_DELETED\", \"data\": 7}", QMP_STEP_WAIT, NULL },
                      { DELETED, QMP_STEP_DONE, NULL },
                      { NULL, 0, NULL } });
}

Test(qmp_dialog, failures) {
        static const char unplug_error[] =
                "{\"event\": \"DEVICE_UNPLUG_GUEST_ERROR\", \"data\": {\"device\": \"nvme0\"}}";

        check("another greeting", (const Line[]){ { RETURN, QMP_STEP_FAILED, "no greeting" },
                                                  { GREETING, QMP_STEP_WAIT, NULL },
                                                  { NULL, 0, NULL } });
        for (size_t i = 0; i < 4; i++) {
                const char *line = (const char *[]){ "", "x", "[1]", "{" }[i];
                g_autofree char *words = NULL;
                QmpDialog dialog = { .device = "nvme0" };

                cr_expect_eq(qmp_dialog_next(&dialog, line, &words), QMP_STEP_FAILED, "'%s'", line);
                cr_expect_not_null(words);
        }
        check("no such device",
              (const Line[]){ { GREETING, QMP_STEP_SEND, CAPABILITIES },
                              { RETURN, QMP_STEP_SEND, DEVICE_DEL },
                              { "{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"none\"}}",
                                QMP_STEP_FAILED, "none" },
                              { DELETED, QMP_STEP_WAIT, NULL },
                              { NULL, 0, NULL } });
        check("an error of another form",
              (const Line[]){ { GREETING, QMP_STEP_SEND, CAPABILITIES },
                              { "{\"error\": 1}", QMP_STEP_FAILED, "an error without a text" },
                              { NULL, 0, NULL } });
        check("the guest's",
              (const Line[]){ { GREETING, QMP_STEP_SEND, CAPABILITIES },
                              { RETURN, QMP_STEP_SEND, DEVICE_DEL },
                              { RETURN, QMP_STEP_WAIT, NULL },
                              { unplug_error, QMP_STEP_FAILED, "the guest keeps the device" },
                              { NULL, 0, NULL } });
        check("a reply too many", (const Line[]){ { GREETING, QMP_STEP_SEND, CAPABILITIES },
                                                  { RETURN, QMP_STEP_SEND, DEVICE_DEL },
                                                  { RETURN, QMP_STEP_WAIT, NULL },
                                                  { RETURN, QMP_STEP_FAILED, "a reply to nothing" },
                                                  { NULL, 0, NULL } });
}

Test(qmp_dialog, id_is_escaped) {
        QmpDialog dialog = { .device = "a\"b\\" };
        g_autofree char *first = NULL, *second = NULL;

        (void) qmp_dialog_next(&dialog, GREETING, &first);
        cr_assert_eq(qmp_dialog_next(&dialog, RETURN, &second), QMP_STEP_SEND);
        cr_assert_str_eq(second,
                         "{\"execute\":\"device_del\",\"arguments\":{\"id\":\"a\\\"b\\\\\"}}\r\n");
}
