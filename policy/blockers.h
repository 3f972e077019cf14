/* blockers.h: one fact of a function put as what stands against an operation.
 *
 * Owns the words. Which facts count for which operation is check.c's, which alone calls this. Each
 * function adds to the verdict of the question, nothing when the fact does not hold. */
#pragma once

#include "policy/question.h"

/* The users of `function`; `what` says why they matter: "in use". */
void block_users(const Question *question, BlockerKind kind, const Function *function,
                 const char *what);

/* What the host does with `function`; `where` is "" or says what the function is to the one that
 * was asked about, and ends with a space: "is a VF of it and ". */
void block_uses(const Question *question, const Function *function, const char *where);

/* That it cannot be seen what the host does with `function`, its VFs and what is below it. */
void block_unknown_uses(const Question *question, const Function *function);

/* The inhibitors of `function` for one of `operations` (1 << Operation). */
void block_inhibitors(const Question *question, const Function *function, unsigned operations);

/* The inhibitors of the function for what is done to it on the way, and of its VFs likewise. */
void block_all_inhibitors(const Question *question, const Function *function);

/* The lock reasons that an override passes; for the others the users are named themselves. */
void block_lock(const Question *question, const Function *function);

/* An administrator's lock of `function`; `where` as of block_uses(). */
void block_own_lock(const Question *question, const Function *function, const char *where);

/* The VFs in use that rely on the PASID capability of `function`. */
void block_pasid(const Question *question, const Function *function);

/* The users of other members of the IOMMU group. */
void block_group(const Question *question, const Function *function);

/* What is being done to `function`, by us or by somebody else. */
void block_operation(const Question *question, const Function *function);

/* VFs of `pf` that cannot be read, and may have users. */
void block_unreadable(const Question *question, const Function *pf);

/* That `function` is being taken away. */
void block_leaving(const Question *question, const Function *function);
