/* settings.h: what is in force: the configuration, and whether release-all overrules it.
 *
 * Owns the configuration that was loaded last and valid, and its two problems. A daemon without a
 * valid configuration has the defaults: without a daemon nothing would be guarded, and part of a
 * configuration is none that anybody wrote. */
#pragma once

#include "daemon/base/config.h"
#include "daemon/base/problems.h"

typedef struct Settings Settings;

/* Loads the configuration in `directory`. `problems` outlives it. */
Settings *settings_new(const char *directory, Problems *problems);
Settings *settings_free(Settings *settings);

/* Borrowed, until settings_swap(). */
const Config *settings_config(const Settings *settings);

/* Whether files are write-protected: Enforcement= says so, and nothing was released. */
bool settings_enforce(const Settings *settings);

/* Whether release-all has opened everything, and nothing has ended that since. */
bool settings_are_released(const Settings *settings);
void settings_set_released(Settings *settings, bool released);

/* Shows as a problem that nothing is locked since release-all, or that this is over. */
void settings_show_release(Settings *settings);

/* Reads the files again; what is in force stays. Returns 0 with what to give to settings_swap(), or
 * a negative errno with the reason in `*ret_error`, which is a problem from now on. */
int settings_load(Settings *settings, Config **ret, char **ret_error);

/* Puts `config` in force, and returns what was before. The caller owns what is returned. */
Config *settings_swap(Settings *settings, Config *config);

/* What settings_load() read last is in force: that it could not be read once is over. */
void settings_resolve(Settings *settings);
