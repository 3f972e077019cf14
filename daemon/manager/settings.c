#include "daemon/manager/settings.h"

#include "daemon/base/log.h"

#define PROBLEM_CONFIG   "configuration"
#define PROBLEM_RELEASED "released"

struct Settings {
        char *directory;
        Problems *problems; /* borrowed */
        Config *config;
        bool released;
};

/* At start. */
static void load_first(Settings *settings) {
        g_autofree char *error = NULL;

        if (config_load(settings->directory, &settings->config, &error) >= 0)
                return;
        settings->config = config_new_default();
        log_full(LOG_ERR, NULL, LOG_ID_CONFIG, "%s", error);
        problems_report(settings->problems, PROBLEM_CONFIG,
                        "Failed to read the configuration: %s; the defaults are in force until "
                        "the next reload",
                        error);
}

Settings *settings_new(const char *directory, Problems *problems) {
        Settings *settings = g_new0(Settings, 1);

        settings->directory = g_strdup(directory);
        settings->problems = problems;
        load_first(settings);
        return settings;
}

Settings *settings_free(Settings *settings) {
        if (!settings)
                return NULL;
        config_free(settings->config);
        g_free(settings->directory);
        g_free(settings);
        return NULL;
}

const Config *settings_config(const Settings *settings) {
        return settings->config;
}

bool settings_enforce(const Settings *settings) {
        return settings->config->enforce && !settings->released;
}

bool settings_are_released(const Settings *settings) {
        return settings->released;
}

void settings_set_released(Settings *settings, bool released) {
        settings->released = released;
}

void settings_show_release(Settings *settings) {
        if (settings->released)
                problems_report(settings->problems, PROBLEM_RELEASED,
                                "Nothing is locked since release-all unlocked all: `systemctl "
                                "reload vfwardend` enforces again");
        else
                problems_resolve(settings->problems, PROBLEM_RELEASED);
}

int settings_load(Settings *settings, Config **ret, char **ret_error) {
        int r = config_load(settings->directory, ret, ret_error);

        if (r >= 0)
                return r;
        log_full(LOG_ERR, NULL, LOG_ID_CONFIG, "%s; the old configuration stays", *ret_error);
        problems_report(settings->problems, PROBLEM_CONFIG,
                        "Failed to read the configuration: %s; what was in force before "
                        "stays so until the next reload",
                        *ret_error);
        return r;
}

Config *settings_swap(Settings *settings, Config *config) {
        Config *before = settings->config;

        g_assert(config);
        settings->config = config;
        return before;
}

void settings_resolve(Settings *settings) {
        problems_resolve(settings->problems, PROBLEM_CONFIG);
}
