/* columns.h: what a list of functions can show in a column, and be sorted by.
 *
 * Owns the table of columns. A column has a word for each function, "" where there is nothing. */
#pragma once

#include "cli/inventory.h"
#include "cli/output/output.h"

typedef struct FunctionColumn {
        const char *name; /* as --columns and --sort have it; NULL ends the table */
        const char *heading;
        bool right; /* numbers */
        /* The caller's; not escaped. */
        char *(*text)(JsonObject *function);
        Style (*style)(JsonObject *function); /* NULL: plain */
} FunctionColumn;

extern const FunctionColumn function_columns[];

/* What is shown if nothing else is asked for. */
#define FUNCTION_COLUMNS_DEFAULT "address,kind,driver,group,lock,state,name"
#define FUNCTION_COLUMNS_TREE    "address,kind,slot,numa,group,driver,lock,state,name"

/* The columns that `names`, joined by commas, name; with a "+" before the first those of `usual`
 * and these: a new array of const FunctionColumn*. NULL after printing what is wrong. */
GPtrArray *function_columns_read(const char *names, const char *usual);

/* The column called `name`; NULL after printing that there is none. */
const FunctionColumn *function_column_read(const char *name);

/* Orders two functions by their words in the column, numbers in words as numbers. */
int function_column_compare(const FunctionColumn *column, JsonObject *a, JsonObject *b);
