#include "daemon/usage/users-state.h"

#include <criterion/criterion.h>

static void sockets_of(UsersSockets *sockets, pid_t pid, uint32_t uid) {
        ScanPending pending = { .pid = pid, .uid = uid };

        users_sockets_add(sockets, &pending);
}

/* A function whose node was opened twice and closed at least once. */
static void open_node(Users *users, VfioDevice *device) {
        *users = (Users){ .openings = vfio_openings_new() };
        *device = (VfioDevice){ .vfio = { .group = -1 }, .node_name = (char *) "vfio3" };
        vfio_openings_opened(users->openings, "vfio3", 0);
        vfio_openings_opened(users->openings, "vfio3", 0);
        vfio_openings_closed(users->openings, "vfio3", false);
}

Test(users_sockets, the_lowest_process_is_named) {
        UsersSockets *sockets = users_sockets_new();
        VfioDevice device;
        Users users;

        open_node(&users, &device);
        cr_expect_eq(users_pid_of_socket(&users, &device, NULL), 0);
        cr_expect_eq(users_pid_of_socket(&users, &device, sockets), 0);
        sockets_of(sockets, 30, 1000);
        sockets_of(sockets, 20, 1000);
        sockets_of(sockets, 40, 0);
        cr_expect_eq(users_pid_of_socket(&users, &device, sockets), 20);
        users_sockets_free(sockets);
        vfio_openings_free(users.openings);
}

/* What root alone had is in root's sockets only. */
Test(users_sockets, what_root_had) {
        UsersSockets *sockets = users_sockets_new();
        VfioDevice device;
        Users users;

        open_node(&users, &device);
        vfio_openings_closed(users.openings, "vfio3", false);
        vfio_openings_adopt(users.openings, "vfio3", 1);
        device.had.root = true;
        sockets_of(sockets, 20, 1000);
        cr_expect_eq(users_pid_of_socket(&users, &device, sockets), 0);
        sockets_of(sockets, 40, 0);
        cr_expect_eq(users_pid_of_socket(&users, &device, sockets), 40);
        device.had.others = true;
        cr_expect_eq(users_pid_of_socket(&users, &device, sockets), 20);
        users_sockets_free(sockets);
        vfio_openings_free(users.openings);
}

/* A node that was closed as often as it was opened, as far as was seen: a stranger's socket does
 * not matter. */
Test(users_sockets, what_may_be_hidden) {
        UsersSockets *sockets = users_sockets_new();
        VfioDevice device;
        Users users;

        open_node(&users, &device);
        vfio_openings_closed(users.openings, "vfio3", false);
        sockets_of(sockets, 20, 1000);
        cr_expect_eq(users_pid_of_socket(&users, &device, sockets), 0);
        vfio_openings_opened(users.openings, "vfio3", 2000);
        vfio_openings_closed(users.openings, "vfio3", false);
        cr_expect_eq(users_pid_of_socket(&users, &device, sockets), 0, "nor after another user's");
        sockets_of(sockets, 30, 2000);
        cr_expect_eq(users_pid_of_socket(&users, &device, sockets), 30, "their own does");
        users_sockets_free(sockets);
        vfio_openings_free(users.openings);
}

/* Each walk finds a process that passes a descriptor on at that moment. */
Test(users_sockets, only_what_two_walks_found) {
        UsersSockets *first = users_sockets_new(), *second = users_sockets_new(), *both;
        VfioDevice device;
        Users users;

        open_node(&users, &device);
        sockets_of(first, 20, 1000);
        sockets_of(second, 30, 1000);
        both = users_sockets_in_both(second, first);
        cr_expect_eq(users_pid_of_socket(&users, &device, both), 0);
        users_sockets_free(both);

        sockets_of(first, 50, 0);
        sockets_of(second, 50, 0);
        both = users_sockets_in_both(second, first);
        cr_expect_eq(users_pid_of_socket(&users, &device, both), 50);
        users_sockets_free(both);
        users_sockets_free(first);
        users_sockets_free(second);
        vfio_openings_free(users.openings);
}

/* Nothing is known of a node that the kernel has removed. */
Test(users_sockets, a_node_that_has_gone) {
        VfioDevice device;
        Users users;

        open_node(&users, &device);
        device.vfio.group = 987654321;
        device.node_name = (char *) "vfio987654321";
        vfio_openings_opened(users.openings, "987654321", 0);
        vfio_openings_assume(users.openings, "vfio987654321");
        users_forget_openings(&users, &device);
        cr_expect_null(vfio_openings_get(users.openings, "987654321"));
        cr_expect_null(vfio_openings_get(users.openings, "vfio987654321"));
        cr_expect_not_null(vfio_openings_get(users.openings, "vfio3"), "another function's");
        vfio_openings_free(users.openings);
}
