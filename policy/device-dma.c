#include "policy/device-dma.h"

/* VFIO's own refusal can be switched off for either way to a device. */
static bool is_gate_open(const MsiEvidence *evidence) {
        for (unsigned i = 0; i < _MSI_UNSAFE_MAX; i++)
                if (evidence->unsafe[i] == MSI_UNSAFE_YES)
                        return true;
        return false;
}

const char *device_dma_refusal(const MsiEvidence *evidence) {
        MsiGround ground = msi_ground(evidence);

        switch (msi_ground_isolation(ground)) {
        case MSI_ISOLATED:
                return NULL;
        case MSI_NOT_ISOLATED:
                return msi_ground_to_reason(ground);
        default:
                return is_gate_open(evidence) ? msi_ground_to_reason(ground) : NULL;
        }
}
