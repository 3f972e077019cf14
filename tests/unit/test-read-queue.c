#include "daemon/sysfs/read-queue.h"
#include "tests/unit/facts.h"

typedef struct Entry {
        ReadEntry base;
        char *text;
} Entry;

typedef struct Fixture {
        sd_event *event;
        ReadQueue *queue;
        Function function;
        unsigned n_starts, n_gone;
        bool more;
} Fixture;

static bool on_start(void *context) {
        Fixture *fixture = context;

        fixture->n_starts++;
        return fixture->more;
}

static void on_gone(void *context, void *entry) {
        ((Fixture *) context)->n_gone++;
}

static void clear(void *entry) {
        g_free(((Entry *) entry)->text);
}

static const ReadQueueHandler handler = {
        .name = "test",
        .entry_size = sizeof(Entry),
        .start = on_start,
        .gone = on_gone,
        .clear = clear,
};

static void setup(Fixture *fixture) {
        *fixture = (Fixture){ .function = { .facts = facts_plain("0000:01:00.0") } };
        cr_assert_eq(sd_event_new(&fixture->event), 0);
        cr_assert_eq(read_queue_new(fixture->event, &handler, fixture, &fixture->queue), 0);
}

static void teardown(Fixture *fixture) {
        cr_assert_null(read_queue_free(fixture->queue));
        cr_assert_null(read_queue_free(NULL));
        sd_event_unref(fixture->event);
}

static Entry *note(Fixture *fixture, unsigned expected) {
        unsigned news;
        Entry *entry = read_queue_note(fixture->queue, &fixture->function, &news);

        cr_assert_eq(news, expected, "%u", news);
        return entry;
}

/* Runs the loop until nothing is pending in it any more. */
static void run_to_the_end(Fixture *fixture) {
        while (sd_event_run(fixture->event, 0) > 0)
                ;
}

Test(read_queue, wanted_soon_is_handed_out_a_moment_later) {
        Fixture fixture;
        Entry *entry;

        setup(&fixture);
        entry = note(&fixture, READ_NEWS_DEVICE);
        read_queue_want_soon(fixture.queue, &entry->base);
        read_queue_want_soon(fixture.queue, &entry->base);
        while (fixture.n_starts == 0)
                cr_assert_gt(sd_event_run(fixture.event, UINT64_MAX), 0);
        cr_assert_eq(read_queue_take(fixture.queue), entry);
        cr_assert_null(read_queue_take(fixture.queue));
        read_queue_done(fixture.queue, &entry->base);
        run_to_the_end(&fixture);
        cr_assert_eq(fixture.n_starts, 1);
        teardown(&fixture);
}

Test(read_queue, wanted_twice_is_handed_out_once) {
        Fixture fixture;
        Entry *entry;

        setup(&fixture);
        entry = note(&fixture, READ_NEWS_DEVICE);
        read_queue_want(fixture.queue, &entry->base);
        read_queue_want(fixture.queue, &entry->base);
        cr_assert_eq(fixture.n_starts, 0, "not before the turn of the event loop");
        run_to_the_end(&fixture);
        cr_assert_eq(fixture.n_starts, 1);
        cr_assert_eq(read_queue_take(fixture.queue), entry);
        cr_assert_null(read_queue_take(fixture.queue));
        read_queue_done(fixture.queue, &entry->base);
        cr_assert(read_queue_is_empty(fixture.queue));
        run_to_the_end(&fixture);
        cr_assert_eq(fixture.n_starts, 1);
        teardown(&fixture);
}

Test(read_queue, wanted_while_it_is_read_is_wanted_again) {
        Fixture fixture;
        Entry *entry;

        setup(&fixture);
        entry = note(&fixture, READ_NEWS_DEVICE);
        read_queue_want(fixture.queue, &entry->base);
        cr_assert_eq(read_queue_take(fixture.queue), entry);
        read_queue_want(fixture.queue, &entry->base);
        cr_assert(read_queue_is_empty(fixture.queue), "one reader at a time");
        read_queue_done(fixture.queue, &entry->base);
        cr_assert_not(read_queue_is_empty(fixture.queue));
        cr_assert_eq(read_queue_take(fixture.queue), entry);
        read_queue_done(fixture.queue, &entry->base);
        cr_assert(read_queue_is_empty(fixture.queue));
        teardown(&fixture);
}

Test(read_queue, wanted_later) {
        Fixture fixture;
        Entry *entry;

        setup(&fixture);
        entry = note(&fixture, READ_NEWS_DEVICE);
        read_queue_want_later(fixture.queue, &entry->base, G_USEC_PER_SEC);
        read_queue_want_later(fixture.queue, &entry->base, 1);
        while (fixture.n_starts == 0)
                cr_assert_geq(sd_event_run(fixture.event, UINT64_MAX), 0);
        cr_assert_eq(read_queue_take(fixture.queue), entry);
        teardown(&fixture);
}

Test(read_queue, the_owner_says_whether_there_is_more) {
        Fixture fixture;
        Entry *entry;

        setup(&fixture);
        entry = note(&fixture, READ_NEWS_DEVICE);
        fixture.more = true;
        read_queue_want(fixture.queue, &entry->base);
        cr_assert_gt(sd_event_run(fixture.event, 0), 0);
        fixture.more = false;
        run_to_the_end(&fixture);
        cr_assert_eq(fixture.n_starts, 2);
        teardown(&fixture);
}

Test(read_queue, what_is_new) {
        Fixture fixture;
        Entry *entry, *second;

        setup(&fixture);
        entry = note(&fixture, READ_NEWS_DEVICE);
        cr_assert_eq(entry, note(&fixture, 0));
        fixture.function.facts = facts_driver(fixture.function.facts, "vfio-pci");
        cr_assert_eq(entry, note(&fixture, READ_NEWS_DRIVER));
        cr_assert_eq(entry, note(&fixture, 0));

        entry->text = g_strdup("of the first device");
        read_queue_want(fixture.queue, &entry->base);
        fixture.function.facts.inode++;
        second = note(&fixture, READ_NEWS_DEVICE);
        cr_assert_eq(fixture.n_gone, 1);
        cr_assert_null(second->text);
        cr_assert_null(read_queue_take(fixture.queue), "the first is not read any more");

        read_queue_function_gone(fixture.queue, fixture.function.facts.key);
        cr_assert_eq(fixture.n_gone, 2);
        cr_assert_null(read_queue_find(fixture.queue, fixture.function.facts.key));
        read_queue_function_gone(fixture.queue, fixture.function.facts.key);
        cr_assert_eq(fixture.n_gone, 2);
        teardown(&fixture);
}
