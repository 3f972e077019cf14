#include "xml/domain-xml.h"

#include <libxml/parser.h>

static const struct {
        const char *element, *type;
} pci_devices[] = {
        { "hostdev", "pci" },
        { "interface", "hostdev" }, /* also one that libvirt took from a network's pool */
        { "disk", "nvme" },         /* QEMU drives the controller through VFIO */
};

xmlDoc *domain_xml_parse(const char *text, size_t size, const xmlNode **ret_root) {
        g_autoptr(xmlDoc) document = NULL;
        const xmlNode *root;

        if (size > G_MAXINT)
                return NULL;
        /* No entity is replaced, and nothing comes from the network. */
        document = xmlReadMemory(text, (int) size, NULL, NULL,
                                 XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
        root = document ? xmlDocGetRootElement(document) : NULL;
        if (!root || !domain_xml_is_element(root, "domain"))
                return NULL;
        *ret_root = root;
        return g_steal_pointer(&document);
}

bool domain_xml_is_element(const xmlNode *node, const char *name) {
        return node->type == XML_ELEMENT_NODE && g_str_equal((const char *) node->name, name);
}

xmlNode *domain_xml_find_child(const xmlNode *parent, const char *name) {
        for (xmlNode *node = parent ? parent->children : NULL; node; node = node->next)
                if (domain_xml_is_element(node, name))
                        return node;
        return NULL;
}

static char *take_text(xmlChar *text) {
        char *copy = g_strdup((const char *) text);

        xmlFree(text);
        return copy;
}

char *domain_xml_read_attribute(const xmlNode *node, const char *name) {
        return node ? take_text(xmlGetNoNsProp(node, (const xmlChar *) name)) : NULL;
}

char *domain_xml_read_text(const xmlNode *parent, const char *child) {
        const xmlNode *node = domain_xml_find_child(parent, child);

        return node ? take_text(xmlNodeGetContent(node)) : NULL;
}

bool domain_xml_attribute_is(const xmlNode *node, const char *name, const char *value) {
        g_autofree char *text = domain_xml_read_attribute(node, name);

        return g_strcmp0(text, value) == 0;
}

bool domain_xml_read_number(const xmlNode *node, const char *name, guint64 max, guint64 missing,
                            guint64 *ret) {
        g_autofree char *text = domain_xml_read_attribute(node, name);
        bool hexadecimal = text && g_str_has_prefix(text, "0x");

        *ret = missing;
        return !text || g_ascii_string_to_unsigned(text + (hexadecimal ? 2 : 0),
                                                   hexadecimal ? 16 : 10, 0, max, ret, NULL);
}

/* An <interface type='hostdev'> may be a device of USB, whose address has a bus, too. An address
 * without a type is that of a function. */
static bool has_other_address(const xmlNode *device) {
        const xmlNode *source = domain_xml_find_child(device, "source");
        g_autofree char *type =
                domain_xml_read_attribute(domain_xml_find_child(source, "address"), "type");

        return type && !g_str_equal(type, "pci");
}

bool domain_xml_is_pci_device(const xmlNode *device) {
        for (size_t i = 0; i < G_N_ELEMENTS(pci_devices); i++)
                if (domain_xml_is_element(device, pci_devices[i].element) &&
                    domain_xml_attribute_is(device, "type", pci_devices[i].type))
                        return !has_other_address(device);
        return false;
}
