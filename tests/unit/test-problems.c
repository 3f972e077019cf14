#include "daemon/base/problems.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

typedef struct Fixture {
        sd_event *event;
        Problems *problems;
        unsigned told;
} Fixture;

static void on_changed(void *context) {
        ((Fixture *) context)->told++;
}

static void setup(Fixture *fixture) {
        *fixture = (Fixture){ 0 };
        cr_assert_eq(sd_event_new(&fixture->event), 0);
        cr_assert_eq(problems_new(fixture->event, on_changed, fixture, &fixture->problems), 0);
}

static void teardown(Fixture *fixture) {
        cr_assert_null(problems_free(fixture->problems));
        cr_assert_null(problems_free(NULL));
        sd_event_unref(fixture->event);
}

/* Lets the loop run until it has nothing to do; returns how often the change was reported since the
 * last time. */
static unsigned take_told(Fixture *fixture) {
        unsigned told;

        while (sd_event_run(fixture->event, 0) > 0)
                ;
        told = fixture->told;
        fixture->told = 0;
        return told;
}

static void expect(const Fixture *fixture, const char *wanted) {
        g_auto(GStrv) list = problems_list(fixture->problems);
        g_autofree char *joined = g_strjoinv("|", list);

        cr_assert_str_eq(joined, wanted);
}

static const PciAddress address = { .domain = 0, .bus = 1, .device = 0, .function = 0 };
static const PciAddress other = { .domain = 0, .bus = 1, .device = 0, .function = 1 };

Test(problems, comes_changes_and_goes) {
        Fixture fixture;

        setup(&fixture);
        cr_assert_eq(take_told(&fixture), 0);
        expect(&fixture, "");
        problems_resolve(fixture.problems, "state");
        cr_assert_eq(take_told(&fixture), 0, "nothing was resolved");

        problems_report(fixture.problems, "state", "Failed to save: %s", "full");
        problems_report(fixture.problems, "bus", "Failed to call");
        cr_assert_eq(take_told(&fixture), 1, "one turn, one change");
        expect(&fixture, "Failed to call|Failed to save: full");
        cr_assert(problems_has(fixture.problems, "state"));

        problems_report(fixture.problems, "state", "Failed to save: full");
        cr_assert_eq(take_told(&fixture), 0, "the same again is no change");
        problems_report(fixture.problems, "state", "Failed to save: read-only");
        cr_assert_eq(take_told(&fixture), 1);
        expect(&fixture, "Failed to call|Failed to save: read-only");

        problems_report(fixture.problems, "brief", "Failed");
        problems_resolve(fixture.problems, "brief");
        cr_assert_eq(take_told(&fixture), 0, "it began and ended in one turn");

        problems_resolve(fixture.problems, "state");
        cr_assert_eq(take_told(&fixture), 1);
        expect(&fixture, "Failed to call");
        cr_assert_not(problems_has(fixture.problems, "state"));
        teardown(&fixture);
}

Test(problems, of_functions) {
        Fixture fixture;

        setup(&fixture);
        problems_report_function(fixture.problems, address, "read", "Failed to read: %d", 5);
        problems_report_function(fixture.problems, address, "watch", "Failed to watch");
        problems_report_function(fixture.problems, other, "read", "Failed to read");
        expect(&fixture, "0000:01:00.0: Failed to read: 5|0000:01:00.0: Failed to watch|"
                         "0000:01:00.1: Failed to read");
        problems_resolve_function(fixture.problems, address, "read");
        problems_resolve_function(fixture.problems, other, "watch");
        expect(&fixture, "0000:01:00.0: Failed to watch|0000:01:00.1: Failed to read");
        problems_function_gone(fixture.problems, address);
        expect(&fixture, "0000:01:00.1: Failed to read");
        teardown(&fixture);
}

Test(problems, text_is_one_short_line_of_utf8) {
        char umlauts[4 * PROBLEM_TEXT_MAX];
        Fixture fixture;

        setup(&fixture);
        problems_report(fixture.problems, "a", "two\nlines\x1b[31m \xff");
        expect(&fixture, "two lines [31m \xef\xbf\xbd");
        problems_resolve(fixture.problems, "a");

        /* Two bytes each, at an odd and at an even place. */
        for (unsigned odd = 0; odd < 2; odd++) {
                g_auto(GStrv) list = NULL;

                for (size_t i = 0; i + 1 < sizeof(umlauts); i += 2)
                        memcpy(umlauts + i, "\xc3\xbc", 2);
                umlauts[sizeof(umlauts) - 1] = '\0';
                umlauts[sizeof(umlauts) - 2] = '\0';
                problems_report(fixture.problems, "a", "%s%s", odd ? "x" : "", umlauts);
                list = problems_list(fixture.problems);
                cr_assert_leq(strlen(list[0]), PROBLEM_TEXT_MAX);
                cr_assert_geq(strlen(list[0]), PROBLEM_TEXT_MAX - 4);
                cr_assert(g_utf8_validate(list[0], -1, NULL));
        }
        teardown(&fixture);
}

Test(problems, number_is_bounded) {
        Fixture fixture;
        char key[16];

        setup(&fixture);
        for (unsigned i = 0; i < PROBLEMS_MAX + 10; i++) {
                snprintf(key, sizeof(key), "%05u", i);
                problems_report(fixture.problems, key, "Failed %u", i);
        }
        cr_assert_eq(take_told(&fixture), 1);
        cr_assert_eq(problems_count(fixture.problems), PROBLEMS_MAX);
        {
                g_auto(GStrv) list = problems_list(fixture.problems);

                cr_assert_eq(g_strv_length(list), PROBLEMS_MAX + 1);
                cr_assert_str_eq(list[0], "Failed 0");
                cr_assert_str_eq(list[PROBLEMS_MAX], "There are more problems than can be listed");
        }
        /* One that is listed can change though the list is full. */
        problems_report(fixture.problems, "00000", "Failed anew");
        cr_assert_eq(take_told(&fixture), 1);
        problems_report(fixture.problems, "99999", "no room");
        cr_assert_eq(take_told(&fixture), 0);

        /* There is room again: what is still the case is reported again. */
        problems_resolve(fixture.problems, "00000");
        problems_report(fixture.problems, "99999", "has room");
        cr_assert_eq(problems_count(fixture.problems), PROBLEMS_MAX);
        {
                g_auto(GStrv) list = problems_list(fixture.problems);

                cr_assert_eq(g_strv_length(list), PROBLEMS_MAX);
                cr_assert_str_eq(list[PROBLEMS_MAX - 1], "has room");
        }
        teardown(&fixture);
}
