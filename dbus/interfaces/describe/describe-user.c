#include "dbus/interfaces/describe/describe-user.h"

#include "dbus/interfaces/describe/json-members.h"

void describe_user(JsonBuilder *builder, const User *user, bool commands) {
        json_builder_begin_object(builder);
        add_number(builder, "Pid", user->pid);
        add_number(builder, "Uid", user->uid);
        add_string(builder, "Command", commands ? user->command : "");
        add_string(builder, "Unit", user->unit);
        add_string(builder, "Machine", user->machine);
        add_number(builder, "Since", (int64_t) user->since_usec);
        add_boolean(builder, "Session", user->session);
        add_boolean(builder, "Brokered", user->brokered);
        if (user->unknown)
                add_boolean(builder, "Unknown", true);
        if (user->socket_pid != 0)
                add_number(builder, "SocketPid", user->socket_pid);
        if (user->n_others > 0)
                add_number(builder, "Others", user->n_others);
        json_builder_end_object(builder);
}

void describe_use(JsonBuilder *builder, const Use *use) {
        g_autofree char *text = use_describe(use);

        json_builder_begin_object(builder);
        add_string(builder, "Kind", use_kind_to_string(use->kind));
        add_string(builder, "Subsystem", use_kind_subsystem(use->kind));
        add_string(builder, "Object", use->object);
        add_string(builder, "By", use->by);
        add_string(builder, "Namespace", use_namespace(use));
        add_number(builder, "Pid", use->pid);
        add_string(builder, "Text", text);
        add_string(builder, "Lost", use_kind_lost(use->kind));
        json_builder_end_object(builder);
}
