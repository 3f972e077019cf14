#include "daemon/manager/publisher.h"

#include "daemon/base/util.h"
#include "tests/unit/facts.h"

#define PF  "0000:01:00.0"
#define VF  "0000:01:10.0"
#define VF1 "0000:01:10.2"

/* The calls that the observer has received. */
typedef struct Told {
        unsigned n_added, n_changed;
        PropertySet properties;
} Told;

static void on_added(void *context, Function *function) {
        ((Told *) context)->n_added++;
}

static void on_changed(void *context, Function *function, const PropertySet *properties) {
        Told *told = context;

        told->n_changed++;
        told->properties = *properties;
}

static const ManagerObserver observer = { .added = on_added, .changed = on_changed };

static Publisher *make_publisher(void) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        Publisher *publisher;

        cr_assert_geq(sd_event_new(&event), 0);
        cr_assert_geq(publisher_new(event, &publisher), 0);
        return publisher;
}

static Function *publish(Publisher *publisher, Inventory *inventory, FunctionFacts facts) {
        Function *function = apply(inventory, facts);

        publisher_publish(publisher, function);
        return function;
}

Test(publisher, what_came_and_went_is_no_change) {
        Publisher *publisher = make_publisher();
        Inventory *inventory = inventory_new();
        Told told = { 0 };
        Function *function;

        publisher_set_observer(publisher, &observer, &told);
        function = publish(publisher, inventory, facts_driver(facts_plain(VF), "igbvf"));
        cr_assert_eq(told.n_added, 1);
        cr_assert_eq(told.n_changed, 0);

        /* A bind that failed and was undone, between two rounds. */
        inventory_set_driver_override(function, "vfio-pci");
        inventory_set_driver_override(function, "");
        apply(inventory, facts_driver(facts_plain(VF), ""));
        publish(publisher, inventory, facts_driver(facts_plain(VF), "igbvf"));
        cr_assert_eq(told.n_changed, 0);

        inventory_set_driver_override(function, "vfio-pci");
        publisher_publish(publisher, function);
        cr_assert_eq(told.n_changed, 1);
        cr_assert(property_set_has(&told.properties, FUNCTION_PROPERTY_DRIVER_OVERRIDE));
        cr_assert_not(property_set_has(&told.properties, FUNCTION_PROPERTY_DRIVER));

        inventory_set_driver_override(function, "");
        publisher_publish(publisher, function);
        cr_assert_eq(told.n_changed, 2);

        /* The slot of a VF is its PF's, which may come to be known before the two are linked. */
        function->slot = g_intern_string("2");
        property_set_add(&function->changes, FUNCTION_PROPERTY_SLOT);
        publisher_publish(publisher, function);
        cr_assert_eq(told.n_changed, 3);
        property_set_add(&function->changes, FUNCTION_PROPERTY_SLOT);
        publisher_publish(publisher, function);
        cr_assert_eq(told.n_changed, 3);

        publisher_free(publisher);
        inventory_free(inventory);
}

/* A VF that was read and had gone before its PF was published. */
Test(publisher, a_vf_that_came_and_went_is_no_change_of_its_pf) {
        Publisher *publisher = make_publisher();
        Inventory *inventory = inventory_new();
        Told told = { 0 };
        Function *pf;

        publisher_set_observer(publisher, &observer, &told);
        apply(inventory, facts_vf(VF, PF));
        pf = publish(publisher, inventory, facts_pf(PF, VFS(VF)));

        apply(inventory, facts_vf(VF1, PF));
        apply(inventory, facts_pf(PF, VFS(VF, VF1)));
        inventory_remove(inventory, inventory_get(inventory, key_of(VF1)));
        publish(publisher, inventory, facts_pf(PF, VFS(VF)));
        cr_assert_eq(told.n_changed, 0);

        apply(inventory, facts_vf(VF1, PF));
        publish(publisher, inventory, facts_pf(PF, VFS(VF, VF1)));
        cr_assert_eq(told.n_changed, 1);
        cr_assert(property_set_has(&told.properties, FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS));

        /* One goes and another one comes: as many, and not the same. */
        inventory_remove(inventory, inventory_get(inventory, key_of(VF)));
        publish(publisher, inventory, facts_pf(PF, VFS(VF1)));
        cr_assert_eq(told.n_changed, 2);
        publisher_publish(publisher, pf);
        cr_assert_eq(told.n_changed, 2);

        publisher_free(publisher);
        inventory_free(inventory);
}
