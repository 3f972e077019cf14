#include "cli/libvirt/domain.h"

#include "cli/address.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/tree.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

/* The elements of <devices> that name a PCI function of the host in <source><address/></source>. */
static const struct {
        const char *element, *type;
} kinds[] = {
        { "hostdev", "pci" },
        { "interface", "hostdev" },
        { "disk", "nvme" },
};

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
        g_free(function);
}

Domain *domain_free(Domain *domain) {
        if (!domain)
                return NULL;
        g_free(domain->uuid);
        g_free(domain->not_guarded);
        g_ptr_array_unref(domain->functions);
        g_free(domain);
        return NULL;
}

const DomainFunction *domain_find(const Domain *domain, const char *address) {
        for (guint i = 0; i < domain->functions->len; i++) {
                const DomainFunction *function = domain->functions->pdata[i];

                if (g_str_equal(function->address, address))
                        return function;
        }
        return NULL;
}

static bool is_element(const xmlNode *node, const char *name) {
        return node->type == XML_ELEMENT_NODE && g_str_equal((const char *) node->name, name);
}

static xmlNode *find_child(const xmlNode *parent, const char *name) {
        for (xmlNode *node = parent ? parent->children : NULL; node; node = node->next)
                if (is_element(node, name))
                        return node;
        return NULL;
}

/* Whether the attribute is there and has this value. */
static bool attribute_is(const xmlNode *node, const char *name, const char *value) {
        xmlChar *text = node ? xmlGetNoNsProp(node, (const xmlChar *) name) : NULL;
        bool equal = text && g_str_equal((const char *) text, value);

        xmlFree(text);
        return equal;
}

/* A number as libvirt writes it, 0x1f, or decimal, as its users may; as the digits of an
 * address. */
static char *number_to_digits(const xmlNode *node, const char *name) {
        xmlChar *text = xmlGetNoNsProp(node, (const xmlChar *) name);
        const char *number = text ? (const char *) text : "0";
        bool hexadecimal = g_str_has_prefix(number, "0x");
        guint64 value;
        char *digits = NULL;

        if (g_ascii_string_to_unsigned(number + (hexadecimal ? 2 : 0), hexadecimal ? 16 : 10, 0,
                                       G_MAXUINT32, &value, NULL))
                digits = g_strdup_printf("%" G_GINT64_MODIFIER "x", value);
        xmlFree(text);
        return digits;
}

static int read_address(const xmlNode *node, char **ret_address, char **ret_why) {
        g_autofree char *domain = number_to_digits(node, "domain"),
                        *bus = number_to_digits(node, "bus"),
                        *slot = number_to_digits(node, "slot"),
                        *function = number_to_digits(node, "function"), *text = NULL, *why = NULL;

        if (!domain || !bus || !slot || !function) {
                *ret_why = g_strdup_printf("line %ld: the address has what is no number",
                                           xmlGetLineNo(node));
                return -EBADMSG;
        }
        text = g_strdup_printf("%s:%s:%s.%s", domain, bus, slot, function);
        if (address_normalise(text, ret_address, &why) < 0) {
                *ret_why = g_strdup_printf("line %ld: '%s' is not a PCI address: %s",
                                           xmlGetLineNo(node), text, why);
                return -EBADMSG;
        }
        return 0;
}

static int add_function(Domain *domain, const xmlNode *device, char **ret_why) {
        const xmlNode *source = find_child(device, "source");
        const xmlNode *node = find_child(source, "address");
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
        if (domain_find(domain, address)) /* two namespaces of one NVMe controller */
                return 0;

        function = g_new(DomainFunction, 1);
        function->address = g_steal_pointer(&address);
        /* Of a disk it is the source that is managed. */
        function->managed =
                attribute_is(device, "managed", "yes") || attribute_is(source, "managed", "yes");
        g_ptr_array_add(domain->functions, function);
        return 0;
}

static int add_functions(Domain *domain, const xmlNode *devices, char **ret_why) {
        for (const xmlNode *node = devices ? devices->children : NULL; node; node = node->next)
                for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
                        if (is_element(node, kinds[i].element) &&
                            attribute_is(node, "type", kinds[i].type)) {
                                int r = add_function(domain, node, ret_why);

                                if (r < 0)
                                        return r;
                        }
        return 0;
}

static bool has_device(const xmlNode *devices, const char *element, const char *type) {
        for (const xmlNode *node = devices ? devices->children : NULL; node; node = node->next)
                if (is_element(node, element) && attribute_is(node, "type", type))
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
        xmlNode *node = find_child(root, "uuid");
        xmlChar *text = node ? xmlNodeGetContent(node) : NULL;
        g_autofree char *uuid = text ? g_ascii_strdown((const char *) text, -1) : NULL;

        xmlFree(text);
        return uuid && g_uuid_string_is_valid(uuid) ? g_steal_pointer(&uuid) : NULL;
}

int domain_parse(const char *xml, size_t size, Domain **ret, char **ret_why) {
        g_autoptr(Domain) domain = g_new0(Domain, 1);
        g_autoptr(xmlDoc) document = NULL;
        const xmlNode *root;
        int r;

        domain->functions = g_ptr_array_new_with_free_func(function_free);
        /* Nothing is loaded that the document may refer to, and no entity is replaced. */
        document = xmlReadMemory(xml, (int) size, NULL, NULL,
                                 XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
        root = document ? xmlDocGetRootElement(document) : NULL;
        if (!root || !is_element(root, "domain")) {
                *ret_why = g_strdup("it is no XML of a domain");
                return -EBADMSG;
        }
        domain->uuid = read_uuid(root);
        if (!domain->uuid) {
                *ret_why = g_strdup("it has no UUID");
                return -EBADMSG;
        }
        domain->not_guarded = list_shared(find_child(root, "devices"));
        r = add_functions(domain, find_child(root, "devices"), ret_why);
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&domain);
        return 0;
}
