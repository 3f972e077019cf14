#include "daemon/guard/operations.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "daemon/guard/records.h"
#include "policy/topology.h"

#include <errno.h>

typedef struct Entry {
        Operations *operations;
        RunningOperation running; /* what the function points to */
        Operation operation;
        PciKey key;
        uint64_t inode; /* of the function's directory */
        Worker *worker;
        sd_event_source *deadline;
        OperationDone *done; /* NULL once told */
        void *done_context;
} Entry;

struct Operations {
        sd_event *event;
        Inventory *inventory;
        ProtectedFiles *closed;
        const OperationsHandler *handler;
        void *context;
        GPtrArray *entries; /* of Entry*, owned */
        bool any_refused;   /* since the last retry */
};

static void entry_free(gpointer data) {
        Entry *entry = data;

        sd_event_source_disable_unref(entry->deadline);
        worker_free(entry->worker);
        g_free(entry);
}

Operations *operations_new(sd_event *event, Inventory *inventory, ProtectedFiles *closed,
                           const OperationsHandler *handler, void *context) {
        Operations *operations = g_new0(Operations, 1);

        operations->event = sd_event_ref(event);
        operations->inventory = inventory;
        operations->closed = closed;
        operations->handler = handler;
        operations->context = context;
        operations->entries = g_ptr_array_new_with_free_func(entry_free);
        return operations;
}

Operations *operations_free(Operations *operations) {
        if (!operations)
                return NULL;
        g_ptr_array_unref(operations->entries);
        sd_event_unref(operations->event);
        g_free(operations);
        return NULL;
}

/* The function that the entry is about, if it is there and the same device. */
static Function *operation_function(const Entry *entry) {
        return inventory_get_device(entry->operations->inventory, entry->key, entry->inode);
}

static void set_operation(Function *function, const RunningOperation *running) {
        function->operation = running;
        topology_update(function);
}

static void tell(Entry *entry, int result, const char *path) {
        OperationDone *done = entry->done;

        entry->done = NULL;
        sd_event_source_disable_unref(g_steal_pointer(&entry->deadline));
        if (done)
                done(entry->done_context, result, path);
}

static void on_worker_done(void *context, const WorkerResult *result) {
        Entry *entry = context;
        Operations *operations = entry->operations;
        PciAddress address = pci_address_from_key(entry->key);
        Function *function;

        log_full(result->error ? LOG_NOTICE : LOG_INFO, &address, NULL, "%s ended: %s",
                 entry->running.name, result->error ? g_strerror(result->error) : "done");
        /* The inventory first, so that the handler can see the result; and while the operation
         * still stands there, for the inventory to know who did it. */
        operations->handler->ending(operations->context, entry->key);
        function = operation_function(entry);
        if (function && function->operation == &entry->running)
                set_operation(function, NULL);
        tell(entry, -result->error, result->path);
        operations->handler->ended(operations->context, entry->key);
        g_ptr_array_remove(operations->entries, entry);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        Entry *entry = userdata;
        PciAddress address = pci_address_from_key(entry->key);

        log_full(LOG_WARNING, &address, LOG_ID_OVERDUE,
                 "%s timed out; process %u is still in the kernel", entry->running.name,
                 entry->running.pid);
        tell(entry, -ETIMEDOUT, NULL);
        return 0;
}

static int on_open(void *context, const char *path) {
        const Entry *entry = context;

        return protected_files_open_for_writing(entry->operations->closed, path);
}

static bool related_busy(const Operations *operations, const Function *function) {
        g_autoptr(GPtrArray) related = check_related(operations->inventory, function);

        for (guint i = 0; i < related->len; i++)
                if (((const Function *) related->pdata[i])->operation ||
                    ((const Function *) related->pdata[i])->outside)
                        return true;
        return false;
}

int operations_start(Operations *operations, Function *function, Operation operation, Plan *plan,
                     uint64_t timeout_usec, OperationDone *done, void *context, char **ret_why) {
        g_autoptr(Plan) owned = plan;
        Entry *entry;
        int r;

        *ret_why = NULL;
        if (related_busy(operations, function))
                return -EBUSY;
        if (plan->steps->len == 0) {
                done(context, 0, NULL);
                return 0;
        }

        entry = g_new0(Entry, 1);
        entry->operations = operations;
        entry->operation = operation;
        entry->key = function->facts.key;
        entry->inode = function->facts.inode;
        entry->running.name = operation_to_string(operation);
        entry->running.since_usec = realtime_usec();
        r = worker_start(operations->event, plan, on_open, on_worker_done, entry, &entry->worker);
        if (r >= 0) {
                g_steal_pointer(&owned);
                if (timeout_usec != OPERATION_NO_DEADLINE)
                        r = wakeup_new_deadline(operations->event, "operations: deadline",
                                                timeout_usec, 0, on_deadline, entry,
                                                &entry->deadline);
        }
        if (r < 0) {
                entry_free(entry);
                return r;
        }

        entry->running.pid = (uint32_t) worker_pid(entry->worker);
        entry->done = done;
        entry->done_context = context;
        g_ptr_array_add(operations->entries, entry);
        set_operation(function, &entry->running);
        r = operations->handler->began(operations->context, entry->key, ret_why);
        if (r < 0) {
                operations->any_refused = true;
                set_operation(function, NULL);
                g_ptr_array_remove(operations->entries, entry); /* ends the process */
                return r;
        }
        operations->handler->starting(operations->context, worker_pid(entry->worker));
        (void) worker_go(entry->worker); /* fails if it has ended, which is reported */
        return 0;
}

void operations_forget(Operations *operations, Function *function) {
        set_operation(function, NULL);
}

void operations_attach(Operations *operations, Function *function) {
        for (guint i = 0; i < operations->entries->len; i++) {
                const Entry *entry = operations->entries->pdata[i];

                if (entry->key == function->facts.key && entry->inode == function->facts.inode)
                        set_operation(function, &entry->running);
        }
}

bool operations_any_refused(const Operations *operations) {
        return operations->any_refused;
}

void operations_retry_refused(Operations *operations) {
        if (!operations->any_refused)
                return;
        operations->any_refused = false;
        operations->handler->refused(operations->context);
}

bool operations_own(const Operations *operations, uint32_t pid) {
        for (guint i = 0; i < operations->entries->len; i++)
                if (((const Entry *) operations->entries->pdata[i])->running.pid == pid)
                        return true;
        return false;
}

void operations_tell_processes(const Operations *operations) {
        for (guint i = 0; i < operations->entries->len; i++)
                operations->handler->starting(
                        operations->context,
                        worker_pid(((const Entry *) operations->entries->pdata[i])->worker));
}

void operations_record(const Operations *operations, GArray *records) {
        for (guint i = 0; i < operations->entries->len; i++) {
                const Entry *entry = operations->entries->pdata[i];
                StateOperation record = {
                        .key = entry->key,
                        .inode = entry->inode,
                        .pid = (uint32_t) worker_pid(entry->worker),
                        .start_time = worker_start_time(entry->worker),
                        .since_usec = entry->running.since_usec,
                        .operation = entry->operation,
                };

                g_array_append_val(records, record);
        }
}

int operations_adopt(Operations *operations, const GArray *records) {
        for (guint i = 0; i < records->len; i++) {
                const StateOperation *record = &g_array_index(records, StateOperation, i);
                PciAddress address = pci_address_from_key(record->key);
                Entry *entry = g_new0(Entry, 1);
                int r;

                entry->operations = operations;
                entry->operation = record->operation;
                entry->key = record->key;
                entry->inode = record->inode;
                entry->running.name = operation_to_string(record->operation);
                entry->running.since_usec = record->since_usec;
                entry->running.pid = record->pid;
                r = worker_adopt(operations->event, (pid_t) record->pid, record->start_time,
                                 on_worker_done, entry, &entry->worker);
                if (r < 0) {
                        entry_free(entry);
                        if (state_is_out_of_reach(r))
                                return r;
                        continue;
                }
                log_full(LOG_NOTICE, &address, NULL, "%s is still in progress (process %u)",
                         entry->running.name, entry->running.pid);
                g_ptr_array_add(operations->entries, entry);
        }
        operations_tell_processes(operations); /* the guard may have come while no daemon ran */
        return 0;
}
