#include "policy/plan.h"

#include "policy/topology.h"

#include <string.h>

#define DRIVER_NAME_MAX 63

static void step_free(gpointer data) {
        PlanStep *step = data;

        g_free(step->path);
        g_free(step->value);
        g_clear_pointer(&step->unbound, g_ptr_array_unref);
        g_free(step);
}

static Plan *plan_new(void) {
        Plan *plan = g_new(Plan, 1);

        plan->steps = g_ptr_array_new_with_free_func(step_free);
        plan->undo = g_ptr_array_new_with_free_func(step_free);
        return plan;
}

Plan *plan_free(Plan *plan) {
        if (!plan)
                return NULL;
        g_ptr_array_unref(plan->steps);
        g_ptr_array_unref(plan->undo);
        g_free(plan);
        return NULL;
}

bool plan_driver_name_valid(const char *name) {
        size_t length = strlen(name);

        return length > 0 && length <= DRIVER_NAME_MAX &&
               strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_") == length;
}

static char *address_of(const Function *function) {
        char address[PCI_ADDRESS_STRING_MAX];

        return g_strdup(pci_address_format(function_address(function), address));
}

/* Takes `path` over. */
static void plan_add(GPtrArray *steps, char *path, const char *value) {
        PlanStep *step = g_new(PlanStep, 1);

        *step = (PlanStep){ path, g_strdup(value), NULL };
        g_ptr_array_add(steps, step);
}

static void add_attribute(GPtrArray *steps, const Function *function, const char *name,
                          const char *value) {
        g_autofree char *address = address_of(function);

        plan_add(steps, g_strconcat("/sys/bus/pci/devices/", address, "/", name, NULL), value);
}

/* The last step takes the function away, too. A bridge does not leave its driver before. */
static void add_unbound(const GPtrArray *steps, const Function *function) {
        PlanStep *step = steps->pdata[steps->len - 1];
        g_autofree char *address = address_of(function);

        if (topology_is_bridge(function))
                return;
        if (!step->unbound)
                step->unbound = g_ptr_array_new_with_free_func(g_free);
        g_ptr_array_add(step->unbound,
                        g_strconcat("/sys/bus/pci/devices/", address, "/driver", NULL));
}

static void add_unbind(GPtrArray *steps, const Function *function) {
        g_autofree char *address = address_of(function);

        if (function->facts.driver[0] != '\0')
                add_attribute(steps, function, "driver/unbind", address);
}

static void add_bind(GPtrArray *steps, const Function *function, const char *driver) {
        g_autofree char *address = address_of(function);

        if (driver[0] != '\0')
                plan_add(steps, g_strconcat("/sys/bus/pci/drivers/", driver, "/bind", NULL),
                         address);
        else
                plan_add(steps, g_strdup("/sys/bus/pci/drivers_probe"), address);
}

/* A newline clears it; writing nothing at all changes nothing (driver_set_override()). */
static void add_override(GPtrArray *steps, const Function *function, const char *driver) {
        add_attribute(steps, function, "driver_override", driver[0] != '\0' ? driver : "\n");
}

Plan *plan_unbind(const Function *function) {
        Plan *plan = plan_new();

        add_unbind(plan->steps, function);
        return plan;
}

Plan *plan_bind(const Function *function, const char *driver, bool userspace) {
        Plan *plan = plan_new();
        const char *before = function->facts.driver;

        if (driver[0] != '\0' && strcmp(driver, before) == 0)
                return plan;

        add_unbind(plan->steps, function);
        add_override(plan->steps, function, driver);
        add_bind(plan->steps, function, driver);
        if (driver[0] != '\0' && !userspace)
                add_override(plan->steps, function, "");

        add_override(plan->undo, function, before[0] != '\0' ? before : "");
        if (before[0] != '\0')
                add_bind(plan->undo, function, before);
        add_override(plan->undo, function, function->facts.driver_override);
        return plan;
}

/* The VFs leave their drivers, and then the PF. */
static void add_take_down(Plan *plan, const Function *pf) {
        for (guint i = 0; pf->vfs && i < pf->vfs->len; i++) {
                const Function *vf = pf->vfs->pdata[i];

                add_unbind(plan->steps, vf);
                if (vf->facts.driver[0] != '\0')
                        add_bind(plan->undo, vf, "");
        }
        if (function_num_vfs(pf) == 0)
                return;
        add_attribute(plan->steps, pf, "sriov_numvfs", "0");
        for (guint i = 0; pf->vfs && i < pf->vfs->len; i++)
                add_unbound(plan->steps, pf->vfs->pdata[i]);
}

Plan *plan_set_num_vfs(const Function *pf, uint16_t count) {
        Plan *plan = plan_new();
        char text[8];

        if (function_num_vfs(pf) == count)
                return plan;
        add_take_down(plan, pf);
        g_snprintf(text, sizeof(text), "%u", count);
        if (count > 0)
                add_attribute(plan->steps, pf, "sriov_numvfs", text);
        return plan;
}

Plan *plan_set_autoprobe(const Function *pf, bool enable) {
        Plan *plan = plan_new();

        if (pf->facts.drivers_autoprobe != enable)
                add_attribute(plan->steps, pf, "sriov_drivers_autoprobe", enable ? "1" : "0");
        return plan;
}

Plan *plan_reset(const Function *function) {
        Plan *plan = plan_new();

        add_attribute(plan->steps, function, "reset", "1");
        return plan;
}

/* One below what goes. A VF goes with its PF. Nothing waits at a bridge, and one that stays after
 * all keeps its slots. */
static void add_release(Plan *plan, const Function *function) {
        if (function->pf || topology_is_bridge(function))
                return;
        add_take_down(plan, function);
        add_unbind(plan->steps, function);
        if (function->facts.driver[0] != '\0')
                add_bind(plan->undo, function, "");
}

Plan *plan_release(const Function *function) {
        g_autoptr(GPtrArray) below = topology_below(function);
        Plan *plan = plan_new();

        for (guint i = 0; i < below->len; i++)
                add_release(plan, below->pdata[i]);
        add_take_down(plan, function);
        if (!topology_is_bridge(function))
                add_unbind(plan->steps, function);
        return plan;
}

Plan *plan_remove(const Function *function, const char *slot_power) {
        g_autoptr(GPtrArray) below = topology_below(function);
        Plan *plan = plan_new();

        for (guint i = 0; i < below->len; i++)
                if (!((const Function *) below->pdata[i])->pf) {
                        add_attribute(plan->steps, below->pdata[i], "remove", "1");
                        add_unbound(plan->steps, below->pdata[i]);
                }
        if (slot_power)
                plan_add(plan->steps, g_strdup(slot_power), "0");
        else
                add_attribute(plan->steps, function, "remove", "1");
        add_unbound(plan->steps, function);
        return plan;
}
