/* org.vfwarden1.Statistics: counters for monitoring. One GetAll() reads all of them at one moment.
 */
#include "dbus/answers.h"
#include "dbus/interfaces/interface.h"

/* What one function takes in the answer of DescribeFunctions(). */
#define ACTIVITY_BYTES 512U

static const Counters *counters_of(const void *userdata) {
        return manager_counters(((const Bus *) userdata)->manager);
}

INTERFACE_GETTER(statistics_get_started) {
        return sd_bus_message_append(reply, "t", counters_of(userdata)->started_usec);
}

INTERFACE_GETTER(statistics_get_violations) {
        const Counters *counters = counters_of(userdata);
        int r = sd_bus_message_open_container(reply, 'a', "{st}");

        for (Operation operation = 0; r >= 0 && operation < _OPERATION_MAX; operation++)
                r = sd_bus_message_append(reply, "{st}", operation_to_string(operation),
                                          counters->violations[operation]);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_operation(sd_bus_message *reply, Operation operation,
                            const CallCounter *counters) {
        int r = 0;

        for (CallResult result = 0; r >= 0 && result < _CALL_RESULT_MAX; result++)
                r = sd_bus_message_append(reply, "(sstt)", operation_to_string(operation),
                                          call_result_to_string(result), counters[result].calls,
                                          counters[result].usec);
        return r;
}

INTERFACE_GETTER(statistics_get_operations) {
        const Counters *counters = counters_of(userdata);
        int r = sd_bus_message_open_container(reply, 'a', "(sstt)");

        for (Operation operation = 0; r >= 0 && operation < _OPERATION_MAX; operation++)
                if (counters_has_operation(operation))
                        r = append_operation(reply, operation, counters->operations[operation]);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

INTERFACE_GETTER(statistics_get_unplugs) {
        const Counters *counters = counters_of(userdata);
        int r = sd_bus_message_open_container(reply, 'a', "(stt)");

        for (CallResult result = 0; r >= 0 && result < _CALL_RESULT_MAX; result++)
                r = sd_bus_message_append(reply, "(stt)", call_result_to_string(result),
                                          counters->unplugs[result].calls,
                                          counters->unplugs[result].usec);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

INTERFACE_GETTER(statistics_get_sessions_opened) {
        return sd_bus_message_append(reply, "t", counters_of(userdata)->sessions_opened);
}

INTERFACE_GETTER(statistics_get_leases_opened) {
        return sd_bus_message_append(reply, "t", counters_of(userdata)->leases_opened);
}

INTERFACE_GETTER(statistics_get_lost_events) {
        return sd_bus_message_append(reply, "t", counters_of(userdata)->lost_events);
}

/* --- how many there are now */

INTERFACE_GETTER(statistics_get_sessions) {
        return sd_bus_message_append(reply, "u", counters_of(userdata)->gauges.with_session);
}

INTERFACE_GETTER(statistics_get_leases) {
        return sd_bus_message_append(reply, "u", counters_of(userdata)->gauges.with_lease);
}

INTERFACE_GETTER(statistics_get_inhibitors) {
        return sd_bus_message_append(reply, "u", counters_of(userdata)->gauges.inhibitors);
}

INTERFACE_GETTER(statistics_get_functions_in_use) {
        return sd_bus_message_append(reply, "u", counters_of(userdata)->gauges.in_use);
}

INTERFACE_GETTER(statistics_get_functions_locked) {
        return sd_bus_message_append(reply, "u", counters_of(userdata)->gauges.locked);
}

/* --- the event loop */

static const LoopCounters *loop_of(const void *userdata) {
        return manager_loop_counters(((const Bus *) userdata)->manager);
}

INTERFACE_GETTER(statistics_get_loop_turns) {
        return sd_bus_message_append(reply, "t", loop_of(userdata)->turns);
}

INTERFACE_GETTER(statistics_get_loop_long_turns) {
        return sd_bus_message_append(reply, "t", loop_of(userdata)->long_turns);
}

INTERFACE_GETTER(statistics_get_loop_busy_usec) {
        return sd_bus_message_append(reply, "t", loop_of(userdata)->busy_usec);
}

INTERFACE_GETTER(statistics_get_loop_longest_usec) {
        return sd_bus_message_append(reply, "t", loop_of(userdata)->longest_usec);
}

/* --- single functions */

static int append_counter(sd_bus_message *reply, const char *key, uint64_t value) {
        return sd_bus_message_append(reply, "{sv}", key, "t", value);
}

/* What a client does with its session, another one could learn from second to second. */
static int append_counts(sd_bus_message *reply, const IoSession *session) {
        const struct {
                const char *key;
                uint64_t value;
        } counts[] = {
                { "counted", session->counted_usec },
                { "loads", session->counts.loads },
                { "stores", session->counts.stores },
                { "bytes-loaded", session->counts.bytes_loaded },
                { "bytes-stored", session->counts.bytes_stored },
                { "refused", session->counts.refused },
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < G_N_ELEMENTS(counts); i++)
                r = append_counter(reply, counts[i].key, counts[i].value);
        return r;
}

static int append_session(const Answer *answer, const Function *function) {
        const IoSession *session = function->session;
        int r = sd_bus_message_append(answer->reply, "{sv}{sv}", "session-pid", "u", session->pid,
                                      "session-uid", "u", session->uid);

        if (r < 0 || (answer->call.uid != 0 && answer->call.uid != session->uid))
                return r;
        if (session->counted_usec != 0)
                r = append_counts(answer->reply, session);
        manager_ask_counts(answer->call.bus->manager, function);
        return r;
}

static uint64_t count_users(const Function *function) {
        uint64_t n = 0;

        for (guint i = 0; function->users && i < function->users->len; i++)
                n += 1 + ((const User *) function->users->pdata[i])->n_others;
        return n;
}

static int begin_activity(Answer *answer) {
        return sd_bus_message_open_container(answer->reply, 'a', "a{sv}");
}

static int add_activity(Answer *answer, Function *function) {
        bool session = function->session && !function->session->single;
        char address[PCI_ADDRESS_STRING_MAX];
        int r;

        if (!function_in_use(function) && !session && function->violations == 0)
                return 0;
        answer->bytes += ACTIVITY_BYTES;
        pci_address_format(function_address(function), address);
        r = sd_bus_message_open_container(answer->reply, 'a', "{sv}");
        if (r >= 0)
                r = sd_bus_message_append(answer->reply, "{sv}", "address", "s", address);
        if (r >= 0)
                r = append_counter(answer->reply, "users", count_users(function));
        if (r >= 0)
                r = append_counter(answer->reply, "violations", function->violations);
        if (r >= 0 && session)
                r = append_session(answer, function);
        return r < 0 ? r : sd_bus_message_close_container(answer->reply);
}

static int end_activity(Answer *answer) {
        int r = 0;

        if (answer->left_out > 0)
                r = sd_bus_message_append(answer->reply, "a{sv}", 2, "address", "s", "", "more",
                                          "u", answer->left_out);
        return r < 0 ? r : sd_bus_message_close_container(answer->reply);
}

int statistics_method_describe_functions(const MethodCall *call, sd_bus_error *error) {
        static const AnswerKind kind = {
                .begin = begin_activity,
                .add = add_activity,
                .end = end_activity,
        };

        return answers_add(call->bus->answers, call, &kind, error);
}

/* No signal reports a change: counters change all the time. */
const sd_bus_vtable statistics_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("DescribeFunctions", SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("aa{sv}", functions), method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("StartedUsec", "t", statistics_get_started, 0,
                        SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Violations", "a{st}", statistics_get_violations, 0, 0),
        SD_BUS_PROPERTY("Operations", "a(sstt)", statistics_get_operations, 0, 0),
        SD_BUS_PROPERTY("Unplugs", "a(stt)", statistics_get_unplugs, 0, 0),
        SD_BUS_PROPERTY("SessionsOpened", "t", statistics_get_sessions_opened, 0, 0),
        SD_BUS_PROPERTY("LeasesOpened", "t", statistics_get_leases_opened, 0, 0),
        SD_BUS_PROPERTY("LostEvents", "t", statistics_get_lost_events, 0, 0),
        SD_BUS_PROPERTY("Sessions", "u", statistics_get_sessions, 0, 0),
        SD_BUS_PROPERTY("Leases", "u", statistics_get_leases, 0, 0),
        SD_BUS_PROPERTY("Inhibitors", "u", statistics_get_inhibitors, 0, 0),
        SD_BUS_PROPERTY("FunctionsInUse", "u", statistics_get_functions_in_use, 0, 0),
        SD_BUS_PROPERTY("FunctionsLocked", "u", statistics_get_functions_locked, 0, 0),
        SD_BUS_PROPERTY("LoopTurns", "t", statistics_get_loop_turns, 0, 0),
        SD_BUS_PROPERTY("LoopLongTurns", "t", statistics_get_loop_long_turns, 0, 0),
        SD_BUS_PROPERTY("LoopBusyUsec", "t", statistics_get_loop_busy_usec, 0, 0),
        SD_BUS_PROPERTY("LoopLongestUsec", "t", statistics_get_loop_longest_usec, 0, 0),
        SD_BUS_VTABLE_END,
};
