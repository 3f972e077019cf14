/* describe-user.h: one user, or one use by the host, of a function as a member of Describe()'s
 * document. Its members are those that org.vfwarden1.Manager.xml lists. */
#pragma once

#include "policy/use.h"
#include "policy/user.h"

#include <json-glib/json-glib.h>

/* Adds an object; with `commands` it is for root. */
void describe_user(JsonBuilder *builder, const User *user, bool commands);
void describe_use(JsonBuilder *builder, const Use *use);
