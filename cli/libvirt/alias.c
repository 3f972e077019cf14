#include "cli/libvirt/alias.h"

#include "cli/libvirt/domain.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#define PREFIX "domain:"
/* Where the agent looks, too (vfwarden-libvirt(8)), unless the user has another one. */
#define URI_DEFAULT "qemu:///system"

bool alias_split(const char *name, char **ret_domain, char **ret_alias) {
        const char *domain = name + strlen(PREFIX);
        const char *slash = g_str_has_prefix(name, PREFIX) ? strchr(domain, '/') : NULL;

        if (!slash)
                return false;
        *ret_domain = g_strndup(domain, (gsize) (slash - domain));
        *ret_alias = g_strdup(slash + 1);
        return true;
}

/* What virsh printed about its failure, as part of a sentence: "error: A\nerror: B\n". */
static char *join_errors(const char *text) {
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        g_autoptr(GString) joined = g_string_new(NULL);

        for (char **line = lines; *line; line++) {
                const char *words = *line + (g_str_has_prefix(*line, "error: ") ? 7 : 0);

                if (*words)
                        g_string_append_printf(joined, "%s%s", joined->len > 0 ? "; " : "", words);
        }
        return g_string_free(g_steal_pointer(&joined), FALSE);
}

/* The exit codes of timeout(1). */
static char *explain(int status, const char *errors) {
        g_autofree char *joined = join_errors(errors);

        if (WIFEXITED(status) && WEXITSTATUS(status) == 124)
                return g_strdup("libvirt does not answer");
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                return g_strdup("virsh is not installed");
        return *joined ? g_steal_pointer(&joined) : g_strdup("virsh failed");
}

/* Addresses that another host tells mean other functions here. "qemu+ssh://other/system" names a
 * host; an alias of libvirt.conf may stand for such a URI. */
static bool is_of_this_host(const char *uri) {
        const char *rest = strstr(uri, "://");
        const char *transport = rest ? memchr(uri, '+', (size_t) (rest - uri)) : NULL;

        return rest && rest[3] == '/' && (!transport || g_str_has_prefix(transport, "+unix:"));
}

static int read_live_xml(const char *domain, char **ret_xml, char **ret_why) {
        const char *uri = g_getenv("LIBVIRT_DEFAULT_URI");
        char *command[] = { (char *) "timeout",
                            (char *) "10",
                            (char *) "virsh",
                            (char *) "--quiet",
                            (char *) "--readonly",
                            (char *) "--connect",
                            (char *) (uri && *uri ? uri : URI_DEFAULT),
                            (char *) "dumpxml",
                            (char *) "--domain",
                            (char *) domain,
                            NULL };
        g_autofree char *xml = NULL, *errors = NULL;
        g_autoptr(GError) error = NULL;
        int status;

        if (uri && *uri && !is_of_this_host(uri)) {
                *ret_why = g_strdup_printf(
                        "LIBVIRT_DEFAULT_URI is \"%s\", and not of this host's libvirt", uri);
                return -EINVAL;
        }
        if (!g_spawn_sync(NULL, command, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &xml, &errors,
                          &status, &error)) {
                *ret_why = g_strdup(error->message);
                return -EIO;
        }
        if (status != 0) {
                *ret_why = explain(status, errors);
                return -EIO;
        }
        *ret_xml = g_steal_pointer(&xml);
        return 0;
}

static int ask_libvirt(const char *name, Domain **ret, char **ret_why) {
        g_autoptr(Domain) domain = NULL;
        g_autofree char *xml = NULL;
        int r;

        if (!*name) {
                *ret_why = g_strdup("the name of the domain is missing");
                return -EINVAL;
        }
        r = read_live_xml(name, &xml, ret_why);
        if (r >= 0)
                r = domain_parse(xml, strlen(xml), &domain, ret_why);
        if (r < 0)
                return r;
        /* virsh takes "7" for the ID of a domain before it takes it for a name. */
        if (g_strcmp0(domain->name, name) != 0) {
                *ret_why = g_strdup("libvirt takes that for the ID or UUID of another domain");
                return -EINVAL;
        }
        *ret = g_steal_pointer(&domain);
        return 0;
}

/* What could have been meant: "hostdev0 (0000:01:10.0), hostdev1 (...)". */
static char *list_aliases(const Domain *domain) {
        g_autoptr(GString) list = g_string_new(NULL);

        for (guint i = 0; i < domain->functions->len; i++) {
                const DomainFunction *function = domain->functions->pdata[i];

                for (guint j = 0; j < function->aliases->len; j++)
                        g_string_append_printf(list, "%s%s (%s)", list->len > 0 ? ", " : "",
                                               (const char *) function->aliases->pdata[j],
                                               function->address);
        }
        return g_string_free(g_steal_pointer(&list), FALSE);
}

static bool is_called(const DomainFunction *function, const char *alias) {
        for (guint i = 0; i < function->aliases->len; i++)
                if (g_pattern_match_simple(alias, function->aliases->pdata[i]))
                        return true;
        return false;
}

int alias_find(const char *domain, const char *alias, GPtrArray **ret_addresses, char **ret_why) {
        g_autoptr(GPtrArray) addresses = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(Domain) live = NULL;
        g_autofree char *known = NULL;
        int r = ask_libvirt(domain, &live, ret_why);

        if (r < 0)
                return r;
        for (guint i = 0; i < live->functions->len; i++) {
                const DomainFunction *function = live->functions->pdata[i];

                if (is_called(function, alias))
                        g_ptr_array_add(addresses, g_strdup(function->address));
        }
        if (addresses->len > 0) {
                *ret_addresses = g_steal_pointer(&addresses);
                return 0;
        }
        known = list_aliases(live);
        *ret_why = *known ? g_strconcat("it has ", known, NULL)
                          : g_strdup("it does not run, or has no PCI function of the host");
        return -ENOENT;
}

/* As in names.c: a shell is offered what needs no quotes. */
static void offer_alias(GPtrArray *offered, const char *domain, const char *alias) {
        g_autofree char *name = g_strdup_printf(PREFIX "%s/%s", domain, alias);

        if (strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._:+@-/") == strlen(name))
                g_ptr_array_add(offered, g_steal_pointer(&name));
}

GPtrArray *alias_offer(const char *typed) {
        GPtrArray *offered = g_ptr_array_new_with_free_func(g_free);
        g_autofree char *name = NULL, *alias = NULL, *why = NULL;
        g_autoptr(Domain) domain = NULL;

        if (!alias_split(typed, &name, &alias) || ask_libvirt(name, &domain, &why) < 0)
                return offered;
        for (guint i = 0; i < domain->functions->len; i++) {
                const DomainFunction *function = domain->functions->pdata[i];

                for (guint j = 0; j < function->aliases->len; j++)
                        offer_alias(offered, name, function->aliases->pdata[j]);
        }
        return offered;
}
