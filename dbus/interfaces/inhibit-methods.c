/* Inhibit() and ListInhibitors(). */
#include "dbus/answers.h"
#include "dbus/error.h"
#include "dbus/interfaces/interface.h"
#include "policy/client-text.h"
#include "policy/operation.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* What an inhibitor takes in an answer without `who` and `why`. */
#define INHIBITOR_BYTES 160U

int manager_method_inhibit(const MethodCall *call, sd_bus_error *error) {
        const char *address, *what, *who, *why;
        int fd = -1;
        Inhibitor inhibitor = { .uid = call->uid, .pid = call->pid };
        Function *function;
        int r;

        r = sd_bus_message_read(call->message, "ssss", &address, &what, &who, &why);
        if (r >= 0)
                r = method_find_function(call, address, &function, error);
        if (r < 0)
                return r;
        if (operations_parse(what, &inhibitor.operations) < 0) {
                g_autofree char *words = operations_format((1U << _OPERATION_MAX) - 1);

                return bus_error_set(error, -EINVAL,
                                     "'%s' is no list of different operations joined as in %s",
                                     what, words);
        }
        if (who[0] == '\0' || !client_text_valid(who, INHIBITOR_TEXT_MAX, false) ||
            !client_text_valid(why, INHIBITOR_TEXT_MAX, true))
                return bus_error_set(error, -EINVAL,
                                     "'who' must be given, and 'who' and 'why' have at most %d "
                                     "bytes, none of a control character",
                                     INHIBITOR_TEXT_MAX);

        inhibitor.who = (char *) who;
        inhibitor.why = (char *) why;
        r = manager_inhibit(call->bus->manager, function->facts.key, &inhibitor, &fd);
        if (r == -EDQUOT)
                return bus_error_set(error, r, "this user, or all users, have too many inhibitors");
        if (r < 0)
                return method_fail(call, r, error);
        r = sd_bus_reply_method_return(call->message, "h", fd);
        close(fd); /* the message has a copy, and the caller will have the only one */
        return r;
}

typedef struct Listing {
        Answer *answer;
        int result;
} Listing;

static void append_inhibitor(void *context, PciKey key, const Inhibitor *inhibitor) {
        Listing *listing = context;
        Answer *answer = listing->answer;
        g_autofree char *what = operations_format(inhibitor->operations);
        char address[PCI_ADDRESS_STRING_MAX];

        if (listing->result < 0)
                return;
        answer->bytes += INHIBITOR_BYTES + strlen(inhibitor->who) + strlen(inhibitor->why);
        listing->result = sd_bus_message_append(
                answer->reply, "(ssssuu)", pci_address_format(pci_address_from_key(key), address),
                what, inhibitor->who, inhibitor->why, inhibitor->uid, inhibitor->pid);
}

/* At once: there are INHIBITORS_MAX at most, which take a millisecond. */
static int begin_inhibitors(Answer *answer) {
        Listing listing = { .answer = answer };

        listing.result = sd_bus_message_open_container(answer->reply, 'a', "(ssssuu)");
        manager_foreach_inhibitor(answer->call.bus->manager, append_inhibitor, &listing);
        return listing.result;
}

static int end_inhibitors(Answer *answer) {
        return sd_bus_message_close_container(answer->reply);
}

int manager_list_inhibitors(const MethodCall *call, sd_bus_error *error) {
        static const AnswerKind kind = {
                .begin = begin_inhibitors,
                .end = end_inhibitors,
                .is_whole = true,
        };

        return answers_add(call->bus->answers, call, &kind, error);
}
