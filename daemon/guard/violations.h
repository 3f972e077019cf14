/* violations.h: violations on their way to those who hear of them.
 *
 * Owns what is counted and not reported yet, by file, or by PF where the number of its VFs changed.
 * policy/violation.h says how often one is reported. */
#pragma once

#include "policy/violation.h"

#include <systemd/sd-event.h>

typedef struct Violations Violations;

/* It is to be reported now. */
typedef void ViolationsReport(void *context, const Violation *violation);

/* Returns 0 or a negative errno. */
int violations_new(sd_event *event, ViolationsReport *report, void *context, Violations **ret);
Violations *violations_free(Violations *violations);

void violations_report(Violations *violations, const Violation *violation);
