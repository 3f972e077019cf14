/* function-reader.h: reads the facts of one PCI function from sysfs.
 *
 * Owns nothing. A fact that cannot be read or understood is "unknown" in the way that
 * policy/function.h says for each member, never as a guess: a strange device must not stop the
 * daemon. Nothing here touches the device itself: reading `config` could wake one that sleeps, and
 * reading sriov_numvfs or driver_override waits for the device's lock. */
#pragma once

#include "daemon/sysfs/pci-names.h"
#include "policy/function.h"

/* The first thing that could not be looked at. */
typedef struct FunctionReadFailure {
        int error;        /* negative errno; 0: none */
        const char *file; /* a literal */
} FunctionReadFailure;

/* Reads all facts but `driver_override`, which is "" (see override-reader.h). `known` is what was
 * read of the function before, or NULL: what cannot change while the device is the same is taken
 * from there, for each file costs time on the way from event to signal. `sibling` is what was
 * read of another function, or NULL. What all VFs of a PF have in common is taken from there:
 * hundreds of them may come at once. Returns 0; 1 when some
 * facts could not be looked at, which are as they were known, or unknown; an errno that means
 * absent when there is no such function (any more), also when it goes away while being read; or
 * another negative errno when the function cannot be read. `*ret_failure` says what could not be
 * looked at, but with 0. `*ret` is untouched on failure; else the caller clears it. */
int function_read(PciKey key, const FunctionFacts *known, const FunctionFacts *sibling,
                  PciNames *names, FunctionReadFailure *ret_failure, FunctionFacts *ret);

/* The handle by which s390's firmware knows the function at this moment; 0, which is none, when the
 * function has gone or is no function of s390. Takes no lock (zpci_attr() in
 * arch/s390/pci/pci_sysfs.c prints a number). */
uint32_t function_read_handle(const Function *function);

/* What a reset of the function reaches now, after somebody wrote to `reset_method`. Reading that
 * takes no lock (reset_method_show() in drivers/pci/pci.c prints a list). */
ResetScope function_read_reset_scope(const Function *function);
