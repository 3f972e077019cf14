#include "daemon/guard/slot-search.h"

#include "daemon/base/retries.h"
#include "daemon/sysfs/slot.h"
#include "policy/absence.h"
#include "policy/slot.h"

struct SlotSearch {
        const Inventory *inventory;
        Problems *problems;
        Retries *retries;
        SlotSearchDue *due;
        void *context;
};

static void on_slot_retry(void *context, PciKey key) {
        const SlotSearch *search = context;

        search->due(search->context, key);
}

int slot_search_new(sd_event *event, const Inventory *inventory, Problems *problems,
                    SlotSearchDue *due, void *context, SlotSearch **ret) {
        SlotSearch *search = g_new0(SlotSearch, 1);
        int r;

        search->inventory = inventory;
        search->problems = problems;
        search->due = due;
        search->context = context;
        r = retries_new(event, on_slot_retry, search, &search->retries);
        if (r < 0) {
                slot_search_free(search);
                return r;
        }
        *ret = search;
        return 0;
}

SlotSearch *slot_search_free(SlotSearch *search) {
        if (!search)
                return NULL;
        retries_free(search->retries);
        g_free(search);
        return NULL;
}

static void report_unknown(SlotSearch *search, const Function *function, const char *why) {
        problems_report_function(search->problems, function_address(function), "slot",
                                 "Failed to look for the slot to switch off: %s", why);
        retries_add(search->retries, function->facts.key);
}

bool slot_search_find(SlotSearch *search, const Function *function, char **ret) {
        int r = 0;

        if (!slot_is_known(function)) {
                report_unknown(search, function, "the port above it is not known");
                return false;
        }
        if (slot_is_own(search->inventory, function))
                r = slot_find_power(function, ret);
        if (r < 0 && !errno_means_absent(r)) {
                report_unknown(search, function, g_strerror(-r));
                return false;
        }
        slot_search_forget(search, function->facts.key);
        return true;
}

void slot_search_drop(SlotSearch *search, PciKey key) {
        retries_drop(search->retries, key);
}

void slot_search_forget(SlotSearch *search, PciKey key) {
        problems_resolve_function(search->problems, pci_address_from_key(key), "slot");
        slot_search_drop(search, key);
}
