/* agent.h: who asks for a password when polkit wants one.
 *
 * Owns nothing; the process's id is in the context. A desktop has an agent of its own; on a plain
 * terminal nobody would ask, so polkit's pkttyagent(1) is started there, as systemctl(1) does. It
 * registers as a fallback, and ends with this command. */
#pragma once

#include "cli/context.h"

/* Before a call for which polkit may ask. Starts the agent, once in a run, if a person sits at a
 * terminal, is not root, and has not forbidden it; and waits until it is registered. What fails is
 * no error: polkit then says that authentication is required. */
void agent_begin(Context *context);

/* Ends it. Before another program gets the terminal, and at the end of the run. */
void agent_end(pid_t *agent);
