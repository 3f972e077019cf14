#include "policy/function.h"

#include "policy/names.h"
#include "policy/vfio-driver.h"

#include <string.h>

#define ZPCI_HANDLE_ENABLED (UINT32_C(1) << 31)

static const char *const function_kind_names[_FUNCTION_KIND_MAX] = {
        [FUNCTION_KIND_PF] = "pf",
        [FUNCTION_KIND_VF] = "vf",
        [FUNCTION_KIND_DETACHED_VF] = "detached-vf",
        [FUNCTION_KIND_PLAIN] = "plain",
};

static const char *const function_state_names[_FUNCTION_STATE_MAX] = {
        [FUNCTION_STATE_PRESENT] = "present",
        [FUNCTION_STATE_UNPLUG_REQUESTED] = "unplug-requested",
        [FUNCTION_STATE_DRAINING] = "draining",
        [FUNCTION_STATE_REMOVING] = "removing",
};

const char *function_kind_to_string(FunctionKind kind) {
        return function_kind_names[kind];
}

const char *function_state_to_string(FunctionState state) {
        return function_state_names[state];
}

void function_facts_clear(FunctionFacts *facts) {
        g_clear_pointer(&facts->driver, g_ref_string_release);
        g_clear_pointer(&facts->driver_override, g_ref_string_release);
        g_clear_pointer(&facts->vendor_name, g_ref_string_release);
        g_clear_pointer(&facts->device_name, g_ref_string_release);
        g_clear_pointer(&facts->virtfns, g_array_unref);
}

PciAddress function_address(const Function *function) {
        return pci_address_from_key(function->facts.key);
}

int function_compare(gconstpointer a, gconstpointer b) {
        PciKey x = (*(Function *const *) a)->facts.key, y = (*(Function *const *) b)->facts.key;

        return (x > y) - (x < y);
}

FunctionKind function_kind(const FunctionFacts *facts, FunctionKind before) {
        if (facts->has_physfn)
                return FUNCTION_KIND_VF;
        if (before == FUNCTION_KIND_VF)
                return FUNCTION_KIND_VF;
        if (facts->s390_vfn != 0)
                return FUNCTION_KIND_DETACHED_VF;
        return facts->has_sriov ? FUNCTION_KIND_PF : FUNCTION_KIND_PLAIN;
}

bool function_kind_memory_hardwired_zero(FunctionKind kind) {
        return kind == FUNCTION_KIND_VF || kind == FUNCTION_KIND_DETACHED_VF;
}

uint16_t function_num_vfs(const Function *function) {
        if (function->kind != FUNCTION_KIND_PF || !function->facts.virtfns)
                return 0;
        return (uint16_t) MIN(function->facts.virtfns->len, UINT16_MAX);
}

bool function_in_use(const Function *function) {
        return function->users && function->users->len > 0;
}

bool zpci_handle_is_disabled(uint32_t handle) {
        return handle != 0 && (handle & ZPCI_HANDLE_ENABLED) == 0;
}

bool function_is_brokered(const Function *function) {
        for (guint i = 0; function->users && i < function->users->len; i++)
                if (((const User *) function->users->pdata[i])->brokered)
                        return true;
        return false;
}

bool function_is_held(const Function *function) {
        bool single = function->session && function->session->single;

        for (guint i = 0; function->users && i < function->users->len; i++)
                if (!single || !((const User *) function->users->pdata[i])->session)
                        return true;
        return false;
}

bool function_depends_on_pasid(const Function *vf) {
        return vf->pf && vf->pf->facts.pasid.present && vf->pf->facts.pasid.enabled &&
               function_in_use(vf);
}

const Pasid *function_pasid(const Function *function, const Function **ret_provider) {
        const Function *provider = function->pf ? function->pf : function;

        if (!provider->facts.pasid.present)
                return NULL;
        if (ret_provider)
                *ret_provider = provider;
        return &provider->facts.pasid;
}

bool function_msix_table_mappable(const Function *function) {
        return function->msi && msi_table_mappable(msi_ground_isolation(msi_ground(function->msi)));
}

bool function_has_vfio_driver(const Function *function) {
        return function->facts.driver[0] != '\0' &&
               (function->facts.vfio_device || vfio_driver_is_named(function->facts.driver));
}

bool function_has_host_driver(const Function *function) {
        return function->facts.driver[0] != '\0' && !function_has_vfio_driver(function);
}

const char *function_io_backend(const Function *function) {
        if (function->session && function->session->ready)
                return function->session->backend;
        if (function->emulated)
                return "emulated";
        if (!function_has_vfio_driver(function))
                return "";
        return vfio_driver_is_ism(function->facts.driver) ? "ism-vfio-pci" : "vfio-pci";
}

uint16_t function_io_max_store_block(const Function *function) {
        const char *backend = function_io_backend(function);

        if (function->session && function->session->ready)
                return function->session->max_store_block;
        if (strcmp(backend, "emulated") == 0)
                return 4096;
        /* On s390 there may be better, which the device tells. */
        return strcmp(backend, "vfio-pci") == 0 && !function->facts.s390 ? 8 : 0;
}

bool function_io_relaxed(const Function *function) {
        if (function->session && function->session->ready)
                return function->session->relaxed;
        return strcmp(function_io_backend(function), "ism-vfio-pci") == 0;
}
