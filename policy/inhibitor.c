#include "policy/inhibitor.h"

#include "policy/names.h"

static const char *const mode_names[_INHIBITOR_MODE_MAX] = {
        [INHIBITOR_MODE_BLOCK] = "block",
        [INHIBITOR_MODE_DELAY] = "delay",
};

const char *inhibitor_mode_to_string(InhibitorMode mode) {
        return mode_names[mode];
}

InhibitorMode inhibitor_mode_from_string(const char *word) {
        return name_table_find(mode_names, _INHIBITOR_MODE_MAX, word);
}
