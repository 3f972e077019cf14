/* page.h: everything that is known of one function, as a person reads it.
 *
 * Owns the labels, and their order. What a later daemon tells besides is shown by its own name. */
#pragma once

#include "cli/inventory.h"
#include "cli/output/output.h"

/* `users` and `inhibitors` are those of the function, as of holders.h. */
void function_page_print(Output *output, JsonObject *function, JsonArray *users,
                         JsonArray *inhibitors);
