/* question.h: "may I?", while it is answered.
 *
 * Owns nothing. The rule in check.h makes a question, and asks blockers.h for each fact of a
 * function that counts. */
#pragma once

#include "policy/inventory.h"
#include "policy/operation.h"
#include "policy/verdict.h"

/* Lock reasons and such that the caller was authorised to pass over. */
typedef enum CheckFlags {
        CHECK_OVERRIDE = 1 << 0, /* `userspace-driver` and `administrator` do not count */
        CHECK_EMULATED = 1 << 1, /* open: memory stands for the device, so driver and IOMMU group do
                                    not count */
        CHECK_OVERRIDE_HOST = 1 << 2, /* what the host uses does not count */
} CheckFlags;

typedef struct Question {
        const Inventory *inventory;
        const Function *named; /* by the caller */
        const Function *asked; /* that one, or the one in whose slot it is */
        const Function *top;   /* while what is below that one is looked at */
        Operation operation;
        Operation or_else; /* the same by another way, which must be free of inhibitors as well */
        unsigned flags;
        Verdict *verdict;
} Question;
