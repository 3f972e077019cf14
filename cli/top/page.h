/* page.h: one table of `vfwarden top`, also as JSON.
 *
 * Owns the columns. Holds nothing from one table to the next. */
#pragma once

#include "cli/context.h"
#include "cli/inventory.h"
#include "cli/top/activity.h"

typedef struct TopView {
        const Inventory *inventory;
        JsonObject *statistics; /* properties of org.vfwarden1.Statistics */
        const Activity *activity;
} TopView;

/* Adds it to the output, as a table of at most `lines` lines; 0: of as many as there are.
 */
void top_page_print(Context *context, const TopView *view, guint lines);
void top_page_print_json(Context *context, const TopView *view);
