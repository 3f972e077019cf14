/* listener.h: waits for the client of a session that connects by itself.
 *
 * Owns nothing. The client made the listening socket, where it likes, and so a VMM that only knows
 * a path needs no code of vfwarden. The other socket is that of the caller of OpenSession(), who
 * closes it when nobody will connect any more. */
#pragma once

/* Accepts one connection. Returns it, or a negative errno: -ECONNABORTED when `asker` was closed
 * before. Both sockets are shared with the client, who can make the wait last for ever. */
int listener_accept(int listener, int asker);
