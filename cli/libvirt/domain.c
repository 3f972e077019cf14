#include "cli/libvirt/domain.h"

#include "cli/address.h"
#include "xml/domain-xml.h"

#include <errno.h>

/* Devices whose functions stay with a driver of the host, which shares them: the XML does not name
 * a function, and nothing has it open through VFIO alone. */
static const struct {
        const char *element, *type, *name;
} shared_kinds[] = {
        { "hostdev", "mdev", "mdev" },
        { "interface", "vdpa", "vDPA" },
        { "interface", "direct", "macvtap" },
};

static void function_free(gpointer data) {
        DomainFunction *function = data;

        g_free(function->address);
        g_ptr_array_unref(function->aliases);
        g_free(function);
}

Domain *domain_free(Domain *domain) {
        if (!domain)
                return NULL;
        g_free(domain->name);
        g_free(domain->uuid);
        g_free(domain->not_guarded);
        g_ptr_array_unref(domain->functions);
        g_free(domain);
        return NULL;
}

static DomainFunction *find_function(const Domain *domain, const char *address) {
        for (guint i = 0; i < domain->functions->len; i++) {
                DomainFunction *function = domain->functions->pdata[i];

                if (g_str_equal(function->address, address))
                        return function;
        }
        return NULL;
}

const DomainFunction *domain_find(const Domain *domain, const char *address) {
        return find_function(domain, address);
}

static int read_address(const xmlNode *node, char **ret_address, char **ret_why) {
        guint64 domain, bus, slot, function;
        g_autofree char *text = NULL, *why = NULL;

        if (!domain_xml_read_number(node, "domain", G_MAXUINT32, 0, &domain) ||
            !domain_xml_read_number(node, "bus", G_MAXUINT32, 0, &bus) ||
            !domain_xml_read_number(node, "slot", G_MAXUINT32, 0, &slot) ||
            !domain_xml_read_number(node, "function", G_MAXUINT32, 0, &function)) {
                *ret_why = g_strdup_printf("line %ld: the address has what is no number",
                                           xmlGetLineNo(node));
                return -EBADMSG;
        }
        text = g_strdup_printf("%x:%x:%x.%x", (unsigned) domain, (unsigned) bus, (unsigned) slot,
                               (unsigned) function);
        if (address_normalise(text, ret_address, &why) < 0) {
                *ret_why = g_strdup_printf("line %ld: '%s' is not a PCI address: %s",
                                           xmlGetLineNo(node), text, why);
                return -EBADMSG;
        }
        return 0;
}

static void add_alias(DomainFunction *function, const xmlNode *device) {
        char *alias = domain_xml_read_attribute(domain_xml_find_child(device, "alias"), "name");

        if (alias)
                g_ptr_array_add(function->aliases, alias);
}

static int add_function(Domain *domain, const xmlNode *device, char **ret_why) {
        const xmlNode *source = domain_xml_find_child(device, "source");
        const xmlNode *node = domain_xml_find_child(source, "address");
        g_autofree char *address = NULL;
        DomainFunction *function;
        int r;

        if (!node) {
                *ret_why = g_strdup_printf("line %ld: the <%s> has no address of a function",
                                           xmlGetLineNo(device), device->name);
                return -EBADMSG;
        }
        r = read_address(node, &address, ret_why);
        if (r < 0)
                return r;
        function = find_function(domain, address);
        if (function) { /* two namespaces of one NVMe controller */
                add_alias(function, device);
                return 0;
        }

        function = g_new(DomainFunction, 1);
        function->address = g_steal_pointer(&address);
        function->aliases = g_ptr_array_new_with_free_func(g_free);
        add_alias(function, device);
        /* Of a disk it is the source that is managed. */
        function->managed = domain_xml_attribute_is(device, "managed", "yes") ||
                            domain_xml_attribute_is(source, "managed", "yes");
        g_ptr_array_add(domain->functions, function);
        return 0;
}

static int add_functions(Domain *domain, const xmlNode *devices, char **ret_why) {
        for (const xmlNode *node = devices ? devices->children : NULL; node; node = node->next)
                if (domain_xml_is_pci_device(node)) {
                        int r = add_function(domain, node, ret_why);

                        if (r < 0)
                                return r;
                }
        return 0;
}

static bool has_device(const xmlNode *devices, const char *element, const char *type) {
        for (const xmlNode *node = devices ? devices->children : NULL; node; node = node->next)
                if (domain_xml_is_element(node, element) &&
                    domain_xml_attribute_is(node, "type", type))
                        return true;
        return false;
}

static char *list_shared(const xmlNode *devices) {
        g_autoptr(GString) names = g_string_new(NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(shared_kinds); i++)
                if (has_device(devices, shared_kinds[i].element, shared_kinds[i].type))
                        g_string_append_printf(names, "%s%s", names->len > 0 ? ", " : "",
                                               shared_kinds[i].name);
        return names->len > 0 ? g_string_free(g_steal_pointer(&names), FALSE) : NULL;
}

static char *read_uuid(const xmlNode *root) {
        g_autofree char *text = domain_xml_read_text(root, "uuid");
        g_autofree char *uuid = text ? g_ascii_strdown(text, -1) : NULL;

        return uuid && g_uuid_string_is_valid(uuid) ? g_steal_pointer(&uuid) : NULL;
}

int domain_parse(const char *xml, size_t size, Domain **ret, char **ret_why) {
        g_autoptr(Domain) domain = g_new0(Domain, 1);
        g_autoptr(xmlDoc) document = NULL;
        const xmlNode *root;
        int r;

        domain->functions = g_ptr_array_new_with_free_func(function_free);
        document = domain_xml_parse(xml, size, &root);
        if (!document) {
                *ret_why = g_strdup("it is no XML of a domain");
                return -EBADMSG;
        }
        domain->name = domain_xml_read_text(root, "name");
        domain->uuid = read_uuid(root);
        if (!domain->uuid) {
                *ret_why = g_strdup("it has no UUID");
                return -EBADMSG;
        }
        domain->not_guarded = list_shared(domain_xml_find_child(root, "devices"));
        r = add_functions(domain, domain_xml_find_child(root, "devices"), ret_why);
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&domain);
        return 0;
}
