#include "cli/function/subject.h"

#include "cli/address.h"
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/function/names.h"
#include "cli/libvirt/alias.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

/* So many functions are listed that a name can mean. */
#define CANDIDATES_MAX 16

/* What is asked of the daemon at most once in a run. */
typedef struct Search {
        Context *context;
        Inventory *inventory; /* NULL: not needed yet */
        GPtrArray *addresses; /* of char*: found so far */
        bool one;             /* a name may have one function only, */
        bool patterns;        /* a pattern several all the same */
} Search;

static void search_clear(Search *search) {
        search->inventory = inventory_free(search->inventory);
        g_clear_pointer(&search->addresses, g_ptr_array_unref);
}

void subject_note(Context *context, const char *argument) {
        char *address = name_to_address(argument);

        g_free(context->address);
        context->address = address ? address : g_strdup(argument);
}

static void add(Search *search, const char *address) {
        if (!g_ptr_array_find_with_equal_func(search->addresses, address, g_str_equal, NULL))
                g_ptr_array_add(search->addresses, g_strdup(address));
}

static ExitCode fail_address(const char *argument) {
        g_autofree char *why = NULL, *guess = NULL, *address = NULL;

        (void) address_normalise(argument, &address, &why);
        guess = address_guess(argument);
        print_error("'%s' is not a PCI address: %s%s%s%s", argument, why,
                    guess ? "; did you mean " : "", guess ? guess : "", guess ? "?" : "");
        return EXIT_CODE_USAGE;
}

static ExitCode fail_unknown(const Inventory *inventory, const char *name) {
        g_autofree char *guess = address_guess(name);
        g_autofree char *meant = guess ? g_steal_pointer(&guess) : names_nearest(inventory, name);

        print_error("No function is called '%s'%s%s%s", name, meant ? "; did you mean " : "",
                    meant ? meant : "", meant ? "?" : "");
        return EXIT_CODE_NO_SUCH_FUNCTION;
}

static ExitCode fail_ambiguous(const GPtrArray *found, const char *name) {
        print_error("'%s' can mean %u functions; name one of them", name, found->len);
        for (guint i = 0; i < MIN(found->len, CANDIDATES_MAX); i++) {
                JsonObject *function = found->pdata[i];
                g_autofree char *words = function_name(function);
                g_autofree char *interfaces = function_joined(function, "Interfaces", ", ");
                g_autofree char *disks = function_joined(function, "BlockDevices", ", ");

                print_hint("%s: %s%s%s%s%s", function_string(function, "Address"), words,
                           *interfaces ? ", " : "", interfaces, *disks ? ", " : "", disks);
        }
        if (found->len > CANDIDATES_MAX)
                print_hint("and %u more", found->len - CANDIDATES_MAX);
        return EXIT_CODE_USAGE;
}

static ExitCode ask_daemon(Search *search, const char *name) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        if (search->inventory)
                return EXIT_CODE_DONE;
        r = client_describe(search->context, 0, &error, &search->inventory);
        return r < 0 ? client_fail(search->context, r, &error, "Cannot look for '%s'", name)
                     : EXIT_CODE_DONE;
}

static ExitCode find_by_name(Search *search, const char *name) {
        ExitCode code = ask_daemon(search, name);
        g_autoptr(GPtrArray) found = NULL;

        if (code != EXIT_CODE_DONE)
                return code;
        found = names_find(search->inventory, name);
        if (found->len == 0)
                return fail_unknown(search->inventory, name);
        if (search->one && found->len > 1 && !(search->patterns && name_is_pattern(name)))
                return fail_ambiguous(found, name);
        for (guint i = 0; i < found->len; i++)
                add(search, function_string(found->pdata[i], "Address"));
        return EXIT_CODE_DONE;
}

static ExitCode fail_alias(int r, const char *domain, const char *alias, const char *why) {
        if (r == -ENOENT) {
                print_error("No function of the domain '%s' is called '%s': %s", domain, alias,
                            why);
                return EXIT_CODE_NO_SUCH_FUNCTION;
        }
        print_error("Cannot look for '%s' in the domain '%s': %s", alias, domain, why);
        return EXIT_CODE_FAILED;
}

static ExitCode find_by_alias(Search *search, const char *domain, const char *alias) {
        g_autoptr(GPtrArray) addresses = NULL;
        g_autofree char *why = NULL;
        int r;

        if (context_is_elsewhere(search->context)) {
                print_error("Cannot look for '%s' in the domain '%s': libvirt is asked on this "
                            "host only",
                            alias, domain);
                return EXIT_CODE_USAGE;
        }
        r = alias_find(domain, alias, &addresses, &why);
        if (r < 0)
                return fail_alias(r, domain, alias, why);
        if (search->one && addresses->len > 1 && !(search->patterns && name_is_pattern(alias))) {
                g_ptr_array_add(addresses, NULL);
                why = g_strjoinv(", ", (char **) addresses->pdata);
                print_error("'%s' can mean %u functions of the domain '%s': %s", alias,
                            addresses->len - 1, domain, why);
                return EXIT_CODE_USAGE;
        }
        for (guint i = 0; i < addresses->len; i++)
                add(search, addresses->pdata[i]);
        return EXIT_CODE_DONE;
}

/* Where a path leads on this host: "/sys/class/net/ens1", "/dev/disk/by-id/...". */
static char *resolve_path(const Context *context, const char *argument) {
        char resolved[PATH_MAX];

        if (argument[0] == '/' && !context_is_elsewhere(context) && realpath(argument, resolved))
                return g_strdup(resolved);
        return g_strdup(argument);
}

static ExitCode find(Search *search, const char *argument) {
        g_autofree char *text = resolve_path(search->context, argument);
        g_autofree char *address = name_to_address(text), *name = NULL;
        g_autofree char *domain = NULL, *alias = NULL;

        if (address) {
                add(search, address);
                return EXIT_CODE_DONE;
        }
        if (name_is_like_address(text))
                return fail_address(argument);
        if (alias_split(text, &domain, &alias))
                return find_by_alias(search, domain, alias);
        name = text[0] == '/' ? name_from_path(text) : g_steal_pointer(&text);
        return find_by_name(search, name);
}

ExitCode subject_find(Context *context, const char *argument, char **ret_address) {
        _cleanup_(search_clear) Search search = {
                .context = context,
                .addresses = g_ptr_array_new_with_free_func(g_free),
                .one = true,
        };
        ExitCode code;

        subject_note(context, argument);
        code = find(&search, argument);
        if (code != EXIT_CODE_DONE)
                return code;
        subject_note(context, search.addresses->pdata[0]);
        *ret_address = g_strdup(search.addresses->pdata[0]);
        return EXIT_CODE_DONE;
}

/* `one`: a name that is no pattern may have one function only. */
static ExitCode find_each(Context *context, char **arguments, bool one, GPtrArray **ret_addresses) {
        _cleanup_(search_clear) Search search = {
                .context = context,
                .addresses = g_ptr_array_new_with_free_func(g_free),
                .one = one,
                .patterns = true,
        };

        for (char **argument = arguments; *argument; argument++) {
                ExitCode code;

                subject_note(context, *argument);
                code = find(&search, *argument);
                if (code != EXIT_CODE_DONE)
                        return code;
        }
        if (search.addresses->len > 0)
                subject_note(context, search.addresses->pdata[0]);
        *ret_addresses = g_steal_pointer(&search.addresses);
        return EXIT_CODE_DONE;
}

ExitCode subject_find_all(Context *context, char **arguments, GPtrArray **ret_addresses) {
        return find_each(context, arguments, false, ret_addresses);
}

void subject_print_json(Context *context, JsonNode *node) {
        if (context->results)
                json_array_add_element(context->results, json_node_copy(node));
        else
                output_json(&context->output, node, true);
}

static void print_results(Context *context) {
        g_autoptr(JsonNode) node = json_node_new(JSON_NODE_ARRAY);

        json_node_take_array(node, g_steal_pointer(&context->results));
        output_json(&context->output, node, true);
}

ExitCode subject_do_each(Context *context, char **arguments, SubjectDo *what) {
        g_autoptr(GPtrArray) addresses = NULL;
        const char *failed = NULL;
        ExitCode first = find_each(context, arguments, true, &addresses);

        if (first != EXIT_CODE_DONE)
                return first;
        if (addresses->len > 1 && context->json)
                context->results = json_array_new();
        for (guint i = 0; i < addresses->len && first < SUBJECT_SIGNALLED; i++) {
                ExitCode code;

                subject_note(context, addresses->pdata[i]);
                code = what(context, addresses->pdata[i]);
                if (first == EXIT_CODE_DONE && code != EXIT_CODE_DONE) {
                        first = code;
                        failed = addresses->pdata[i];
                }
        }
        if (context->results)
                print_results(context);
        if (failed)
                subject_note(context, failed);
        return first;
}
