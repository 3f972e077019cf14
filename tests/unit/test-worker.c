#include "daemon/guard/worker.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A worker writes to sysfs, for which a file stands in. What it does there, the tests of operations
 * look at. */

typedef struct World {
        sd_event *event;
        char path[32];
        bool ended;
        int error;
} World;

static void world_init(World *world) {
        sigset_t mask;
        int fd;

        *world = (World){ .path = "/tmp/vfwarden-worker-XXXXXX", .error = -1 };
        fd = mkstemp(world->path);
        cr_assert_geq(fd, 0);
        close(fd);
        sigemptyset(&mask);
        sigaddset(&mask, SIGCHLD);
        cr_assert_eq(sigprocmask(SIG_BLOCK, &mask, NULL), 0);
        cr_assert_geq(sd_event_new(&world->event), 0);
}

static off_t world_done(World *world) {
        struct stat st;

        cr_assert_eq(stat(world->path, &st), 0);
        unlink(world->path);
        sd_event_unref(world->event);
        return st.st_size;
}

static Plan *plan_for(const World *world) {
        Plan *plan = g_new(Plan, 1);
        PlanStep *step = g_new(PlanStep, 1);

        *plan = (Plan){ g_ptr_array_new(), g_ptr_array_new() };
        *step = (PlanStep){ g_strdup(world->path), g_strdup("1"), NULL };
        g_ptr_array_add(plan->steps, step);
        return plan;
}

static int on_open(void *context, const char *path) {
        return open(path, O_WRONLY | O_CLOEXEC);
}

static void on_done(void *context, const WorkerResult *result) {
        World *world = context;

        world->ended = true;
        world->error = result->error;
}

static void assert_no_child(void) {
        cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
        cr_assert_eq(errno, ECHILD);
}

Test(worker, does_its_plan) {
        World world;
        Worker *worker = NULL;

        world_init(&world);
        cr_assert_eq(worker_start(world.event, plan_for(&world), on_open, on_done, &world, &worker),
                     0);
        cr_assert_eq(worker_go(worker), 0);
        while (!world.ended)
                cr_assert_geq(sd_event_run(world.event, 10 * 1000 * 1000), 1);
        cr_assert_eq(world.error, 0);
        worker_free(worker);
        assert_no_child();
        cr_assert_eq(world_done(&world), 1);
}

/* A function may have been bound since the plan was made. */
Test(worker, a_step_that_would_take_a_bound_function_is_not_done) {
        static const struct {
                const char *link;
                int error;
        } cases[] = { { "/proc/self/exe", EBUSY }, { "/proc/self/no-such", 0 } };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                World world;
                Worker *worker = NULL;
                Plan *plan;

                world_init(&world);
                plan = plan_for(&world);
                ((PlanStep *) plan->steps->pdata[0])->unbound =
                        g_ptr_array_new_with_free_func(g_free);
                g_ptr_array_add(((PlanStep *) plan->steps->pdata[0])->unbound,
                                g_strdup(cases[i].link));
                cr_assert_eq(worker_start(world.event, plan, on_open, on_done, &world, &worker), 0);
                cr_assert_eq(worker_go(worker), 0);
                while (!world.ended)
                        cr_assert_geq(sd_event_run(world.event, 10 * 1000 * 1000), 1);
                cr_assert_eq(world.error, cases[i].error);
                worker_free(worker);
                cr_assert_eq(world_done(&world), cases[i].error == 0);
        }
}

/* Lets this process open so many descriptors more. */
static void limit_descriptors(unsigned n) {
        int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
        struct rlimit limit;

        cr_assert_geq(next, 0);
        close(next);
        cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        limit.rlim_cur = (rlim_t) next + n;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* The child is there when the daemon finds no descriptor by which to watch it. */
Test(worker, a_child_that_cannot_be_watched_is_no_zombie) {
        World world;
        Worker *worker = NULL;
        Plan *plan;

        world_init(&world);
        plan = plan_for(&world);
        limit_descriptors(3); /* the file, and the two ends of the channel */
        cr_assert_eq(worker_start(world.event, plan, on_open, on_done, &world, &worker), -EMFILE);
        cr_assert_null(worker);
        plan_free(plan); /* still ours */
        assert_no_child();
        cr_assert_eq(world_done(&world), 0);
}

Test(worker, one_that_was_never_told_to_begin_does_nothing) {
        World world;
        Worker *worker = NULL;

        world_init(&world);
        cr_assert_eq(worker_start(world.event, plan_for(&world), on_open, on_done, &world, &worker),
                     0);
        worker_free(worker);
        assert_no_child();
        cr_assert_not(world.ended);
        cr_assert_eq(world_done(&world), 0);
}
