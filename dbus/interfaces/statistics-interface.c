/* org.vfwarden1.Statistics: counters for monitoring. One GetAll() reads all of them at one moment.
 */
#include "dbus/interfaces/interface.h"

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

/* No signal reports a change: counters change all the time. */
const sd_bus_vtable statistics_vtable[] = {
        SD_BUS_VTABLE_START(0),
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
