/* host-network.h: what the host does with the network interfaces of functions.
 *
 * Owns the source (use-child.h): interfaces that are in another network namespace, are ports of a
 * bond, bridge or team, carry others, have addresses or the default route, or are up with a link.
 */
#pragma once

#include "daemon/uses/use-child.h"

extern const UseSource host_network;
