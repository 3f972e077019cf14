#include "daemon/base/files/state.h"

#include "daemon/base/files/bounded-file.h"
#include "daemon/base/files/json-bounds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_NAME     "state.json"
#define TEMPORARY_NAME "state.json.XXXXXX" /* for mkostemp(3) */

/* Some thousand functions, each with a lock, an inhibitor and a lease, take some megabytes and
 * 100,000 values. */
#define SIZE_MAX_BYTES ((size_t) 16 * 1024 * 1024)
#define NESTING_MAX    8
#define VALUES_MAX     ((size_t) 1000 * 1000)

struct State {
        bool released;
        const StateSection *const *sections; /* borrowed, NULL-terminated */
        GPtrArray *records;                  /* of GArray*, owned, one for each section */
};

static void array_unref(gpointer array) {
        g_array_unref(array);
}

State *state_new(const StateSection *const *sections) {
        State *state = g_new0(State, 1);

        state->sections = sections;
        state->records = g_ptr_array_new_with_free_func(array_unref);
        for (; *sections; sections++) {
                GArray *records = g_array_new(FALSE, TRUE, (guint) (*sections)->record_size);

                g_array_set_clear_func(records, (*sections)->clear);
                g_ptr_array_add(state->records, records);
        }
        return state;
}

State *state_free(State *state) {
        if (!state)
                return NULL;
        g_ptr_array_unref(state->records);
        g_free(state);
        return NULL;
}

GArray *state_records(const State *state, const StateSection *section) {
        guint i = 0;

        while (state->sections[i] && state->sections[i] != section)
                i++;
        g_assert(state->sections[i]);
        return state->records->pdata[i];
}

bool state_is_released(const State *state) {
        return state->released;
}

void state_set_released(State *state, bool released) {
        state->released = released;
}

/* Adds to `state` what `root` holds. Entries that this daemon would not have written are left out,
 * and so are duplicates: the first counts. Returns how many were left out, or -EBADMSG when the
 * whole is of another form. */
static int read_root(State *state, JsonObject *root) {
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        int left_out = 0;

        state->released = state_section_flag(root, "released");
        for (guint i = 0; state->sections[i]; i++) {
                const StateSection *section = state->sections[i];
                JsonNode *node = json_object_get_member(root, section->name);

                if (node && JSON_NODE_HOLDS_ARRAY(node))
                        left_out += state_section_read(section, json_node_get_array(node), seen,
                                                       state->records->pdata[i]);
                else if (node)
                        left_out++;
                else if (section->required)
                        return -EBADMSG;
        }
        return left_out;
}

/* Free with g_free(). */
static char *format_state(const State *state) {
        StateWriter *writer = state_writer_new();

        state_section_add_flag(writer, "released", state->released);
        for (guint i = 0; state->sections[i]; i++)
                state_section_write(state->sections[i], state->records->pdata[i], writer);
        return state_writer_free(writer);
}

/* A file that a daemon left behind when it was killed while it saved. */
static void remove_left_over(const char *directory) {
        g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
        size_t length = strlen(TEMPORARY_NAME);

        for (const char *name; dir && (name = g_dir_read_name(dir));) {
                g_autofree char *path = NULL;

                if (strlen(name) != length ||
                    strncmp(name, TEMPORARY_NAME, length - strlen("XXXXXX")) != 0)
                        continue;
                path = g_build_filename(directory, name, NULL);
                (void) unlink(path);
        }
}

/* Out of the way of the next state_save(), which cannot replace a directory, say. The name may be
 * taken by what cannot be replaced either. */
static void set_aside(const char *path) {
        g_autofree char *aside = g_strconcat(path, ".damaged", NULL);
        g_autofree char *another =
                g_strdup_printf("%s.%" G_GINT64_FORMAT, aside, g_get_real_time());

        if (rename(path, aside) < 0)
                (void) rename(path, another);
}

static int state_parse(const char *content, size_t length, State *state, char **ret_reason) {
        g_autoptr(JsonParser) parser = NULL;
        g_autoptr(GError) error = NULL;
        JsonNode *root;
        int r;

        if (!json_is_bounded(content, length, NESTING_MAX, VALUES_MAX)) {
                *ret_reason = g_strdup("not of the form that this daemon writes");
                return -EBADMSG;
        }
        parser = json_parser_new();
        if (!json_parser_load_from_data(parser, content, (gssize) length, &error)) {
                *ret_reason = g_strdup(error->message);
                return -EBADMSG;
        }
        root = json_parser_get_root(parser);
        r = root && JSON_NODE_HOLDS_OBJECT(root) ? read_root(state, json_node_get_object(root))
                                                 : -EBADMSG;
        if (r < 0)
                *ret_reason = g_strdup("not of the form that this daemon writes");
        else if (r > 0)
                *ret_reason = g_strdup_printf("%d of its entries are wrong and left out", r);
        return r == 0 ? 0 : -EBADMSG;
}

bool state_is_out_of_reach(int r) {
        return r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

int state_load(const char *directory, const StateSection *const *sections, State **ret,
               char **ret_reason) {
        g_autofree char *path = g_build_filename(directory, STATE_NAME, NULL);
        g_autofree char *content = NULL;
        g_autoptr(State) state = state_new(sections);
        size_t length;
        int r;

        remove_left_over(directory);
        r = bounded_file_read(path, SIZE_MAX_BYTES, BOUNDED_FILE_NO_LINK, &content, &length);
        if (r < 0)
                *ret_reason = g_strdup(bounded_file_error(r));
        else
                r = state_parse(content, length, state, ret_reason);
        if (r < 0 && r != -ENOENT && !state_is_out_of_reach(r))
                set_aside(path);
        *ret = g_steal_pointer(&state);
        return r;
}

int state_make_directory(const char *directory) {
        return mkdir(directory, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

static int write_all(int fd, const char *text, size_t length) {
        while (length > 0) {
                ssize_t n = write(fd, text, length);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                text += n;
                length -= (size_t) n;
        }
        return 0;
}

/* A file system can refuse what was written as late as the descriptor's close (NFS, quotas). */
static int state_write_file(int fd, const char *text, size_t length) {
        int r = write_all(fd, text, length);

        return close(fd) < 0 && r == 0 ? -errno : r;
}

/* Nothing is synced: what is here is of no use after the machine's next start, and a killed process
 * loses nothing that it has written. */
int state_save(const char *directory, const State *state) {
        g_autofree char *path = g_build_filename(directory, STATE_NAME, NULL);
        g_autofree char *temporary = g_build_filename(directory, TEMPORARY_NAME, NULL);
        g_autofree char *text = format_state(state);
        size_t length = strlen(text);
        int fd, r;

        /* A larger one would not be read again. */
        if (length > SIZE_MAX_BYTES)
                return -EFBIG;
        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = state_write_file(fd, text, length);
        if (r == 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0)
                (void) unlink(temporary);
        return r;
}
