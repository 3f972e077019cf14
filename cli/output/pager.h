/* pager.h: shows long output with a pager, as systemd's tools do.
 *
 * Owns nothing. $SYSTEMD_PAGER or $PAGER names the pager; without one less is taken. A pager can
 * start commands and write files. So where the command runs for somebody else than who sits at the
 * terminal, as by sudo, less is taken, in its secure mode ($LESSSECURE); $SYSTEMD_PAGERSECURE says
 * otherwise (systemctl(1)). */
#pragma once

#include "cli/output/output.h"

/* Whether there is a pager to be used: the output is a terminal, and nobody has switched it off. */
bool pager_wanted(const Output *output);

/* Writes what was added to the output by way of the pager, and waits for its end. Returns as
 * output_flush(). */
int pager_flush(Output *output);
