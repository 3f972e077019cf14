/* address.h: PCI addresses as a person types them.
 *
 * Owns nothing. Takes what lspci(8) takes, [DOMAIN:]BUS:DEVICE.FUNCTION with leading zeros left out
 * or not, and gives the one form the daemon knows. Called by every verb that takes an ADDRESS. */
#pragma once

/* Gives the canonical form of `text`, DDDD:BB:DD.F in lower case with as many digits for the domain
 * as it needs, at least four; without a domain it is 0. Domains go up to 32 bits: s390 and VMD use
 * more than 16 bits of them.
 *
 * Returns 0 and a string of the caller's in `ret_address`, or -EINVAL and in `ret_why` a string of
 * the caller's that says what is wrong, to follow a colon. */
int address_normalise(const char *text, char **ret_address, char **ret_why);

/* The same for the argument of a verb: the address, the caller's, or NULL after printing what is
 * wrong with it; EXIT_CODE_USAGE then. */
char *address_from_argument(const char *argument);
