/* blocker-kinds.h: the kinds of what can stand against an operation.
 *
 * Owns the one table; it has words only, so the command includes it, too. A new kind is a row here.
 * Then cli/advice.c does not compile before it has an advise_WORD(), and tests fail until
 * org.vfwarden1.Manager.xml and vfwarden(1) have the word and its text.
 *
 * A row has the constant; the word on D-Bus; whether an Unplug asks these users to release the
 * function (ASKS), or is refused (REFUSED); and what the kind means, a clause. */
#pragma once

/* clang-format off */
#define BLOCKER_KINDS(ROW)                                                                       \
        ROW(USER, user, ASKS, "a process has the function, or one that depends on it, open")     \
        ROW(INHIBITOR, inhibitor, REFUSED, "a client inhibits the operation")                    \
        ROW(DELAY, delay, ASKS, "a client delays the operation until it has been asked")         \
        ROW(LOCK, lock, REFUSED, "a lock reason of the function")                                \
        ROW(PASID, pasid, ASKS,                                                                  \
            "a VF in use relies on the PASID capability that would be switched off")             \
        ROW(GROUP, group, REFUSED, "another function of the IOMMU group is in use")              \
        ROW(OPERATION, operation, REFUSED, "another operation is in progress")                   \
        ROW(SESSION, session, ASKS, "an I/O session serves it")                                  \
        ROW(DRIVER, driver, REFUSED,                                                             \
            "the function, or another of its IOMMU group, is bound to a driver that does not fit") \
        ROW(UNSUPPORTED, unsupported, REFUSED, "the kernel has no method for the operation")     \
        ROW(HOST, host, REFUSED, "the host itself uses the function, or one that depends on it") \
        ROW(UNREADABLE, unreadable, REFUSED, "a VF that may be in use cannot be read at present")
/* clang-format on */
