#include "cli/top/screen.h"

#include <errno.h>
#include <unistd.h>

/* Used where the terminal does not tell. */

/* xterm's second screen (DEC private mode 1049), the cursor (mode 25), and lines that end at the
 * margin instead of going on in the next one (mode 7); ECMA-48: CUP, 8.3.21, and ED, 8.3.39. */
#define ENTER "\x1b[?1049h\x1b[?25l\x1b[?7l"
#define LEAVE "\x1b[?7h\x1b[?25h\x1b[?1049l"
#define CLEAR "\x1b[H\x1b[J"

bool screen_possible(const Output *output) {
        const char *term = g_getenv("TERM");

        return isatty(STDIN_FILENO) && isatty(output->fd) && term && *term &&
               !g_str_equal(term, "dumb");
}

int screen_enter(Screen *screen, Output *output) {
        struct termios modes;

        *screen = (Screen){ .output = output };
        if (tcgetattr(STDIN_FILENO, &screen->modes) < 0)
                return -errno;
        modes = screen->modes;
        modes.c_lflag &= ~(tcflag_t) (ICANON | ECHO);
        if (tcsetattr(STDIN_FILENO, TCSANOW, &modes) < 0)
                return -errno;
        screen->entered = true;
        output_format(output, ENTER);
        return 0;
}

void screen_leave(Screen *screen) {
        if (!screen->entered)
                return;
        screen->entered = false;
        (void) tcsetattr(STDIN_FILENO, TCSANOW, &screen->modes);
        output_format(screen->output, LEAVE);
}

void screen_clear(Screen *screen) {
        output_format(screen->output, CLEAR);
}

guint screen_lines(const Screen *screen) {
        return (guint) output_lines(screen->output);
}
