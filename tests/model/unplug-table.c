/* Prints the table of policy/unplug.c as Promela, so that the model checks the very machine that
 * runs.
 *
 *   unplug-table                            as it is
 *   unplug-table STATE EVENT NEXT [ACTION...]   with one cell replaced, to see whether the model
 * minds */
#include "policy/unplug.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* "users-gone" -> "USERS_GONE" */
static const char *symbol(const char *name) {
        static char buffers[4][64];
        static unsigned turn;
        char *text = buffers[turn++ % 4];
        size_t i;

        for (i = 0; i < sizeof(buffers[0]) - 1 && name[i]; i++)
                text[i] = name[i] == '-' ? '_' : (char) toupper((unsigned char) name[i]);
        text[i] = '\0';
        return text;
}

static int parse_state(const char *name) {
        for (int i = 0; i < _UNPLUG_STATE_MAX; i++)
                if (strcmp(unplug_state_to_string(i), name) == 0)
                        return i;
        return -1;
}

static int parse_event(const char *name) {
        for (int i = 0; i < _UNPLUG_EVENT_MAX; i++)
                if (strcmp(unplug_event_to_string(i), name) == 0)
                        return i;
        return -1;
}

static unsigned parse_action(const char *name) {
        for (unsigned i = 0; i < UNPLUG_ACTIONS_MAX; i++)
                if (strcmp(unplug_action_to_string(1U << i), name) == 0)
                        return 1U << i;
        return 0;
}

static void print_cell(UnplugState state, UnplugEvent event, UnplugStep step) {
        printf("    :: state == %s && event == ON_%s -> state = %s; actions = 0",
               symbol(unplug_state_to_string(state)), symbol(unplug_event_to_string(event)),
               symbol(unplug_state_to_string(step.state)));
        for (unsigned i = 0; i < UNPLUG_ACTIONS_MAX; i++)
                if (step.actions & (1U << i))
                        printf(" | DO_%s", symbol(unplug_action_to_string(1U << i)));
        printf("\n");
}

int main(int argc, char *argv[]) {
        int broken_state = -1, broken_event = -1, broken_next = -1;
        unsigned broken_actions = 0;

        if (argc > 1) {
                if (argc > 3) {
                        broken_state = parse_state(argv[1]);
                        broken_event = parse_event(argv[2]);
                        broken_next = parse_state(argv[3]);
                }
                if (broken_state < 0 || broken_event < 0 || broken_next < 0) {
                        fprintf(stderr, "usage: unplug-table [STATE EVENT NEXT [ACTION...]]\n");
                        return 2;
                }
                for (int i = 4; i < argc; i++) {
                        if (parse_action(argv[i]) == 0) {
                                fprintf(stderr, "no action '%s'\n", argv[i]);
                                return 2;
                        }
                        broken_actions |= parse_action(argv[i]);
                }
        }

        for (int i = 0; i < _UNPLUG_STATE_MAX; i++)
                printf("#define %s %d\n", symbol(unplug_state_to_string(i)), i);
        for (int i = 0; i < _UNPLUG_EVENT_MAX; i++)
                printf("#define ON_%s %d\n", symbol(unplug_event_to_string(i)), i);
        for (unsigned i = 0; i < UNPLUG_ACTIONS_MAX; i++)
                printf("#define DO_%s %u\n", symbol(unplug_action_to_string(1U << i)), 1U << i);
        printf("#define DO_REPLIES %u\n", (unsigned) UNPLUG_ACTION_REPLIES);
        printf("\ninline unplug_step(event) {\n    if\n");
        for (int state = 0; state < _UNPLUG_STATE_MAX; state++)
                for (int event = 0; event < _UNPLUG_EVENT_MAX; event++) {
                        UnplugStep step = unplug_step(state, event);

                        if (state == broken_state && event == broken_event)
                                step = (UnplugStep){ (UnplugState) broken_next, broken_actions };
                        print_cell(state, event, step);
                }
        printf("    fi\n}\n");
        return 0;
}
