#include "agent/live-domain.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <string.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlBuffer, xmlBufferFree)

/* The elements of <devices> that stand for a PCI function of the host. */
static const struct {
        const char *element, *type;
} kinds[] = {
        { "hostdev", "pci" },
        { "interface", "hostdev" }, /* also one that libvirt took from a network's pool */
        { "disk", "nvme" },
};

static void device_free(gpointer data) {
        LiveDevice *device = data;

        g_free(device->alias);
        g_free(device->xml);
        g_free(device);
}

LiveDomain *live_domain_free(LiveDomain *domain) {
        if (!domain)
                return NULL;
        g_free(domain->name);
        g_free(domain->uuid);
        g_ptr_array_unref(domain->devices);
        g_free(domain);
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

/* Free with g_free(); NULL if it is not there. */
static char *read_attribute(const xmlNode *node, const char *name) {
        xmlChar *text = node ? xmlGetNoNsProp(node, (const xmlChar *) name) : NULL;
        char *copy = g_strdup((const char *) text);

        xmlFree(text);
        return copy;
}

static char *read_text(const xmlNode *parent, const char *name) {
        const xmlNode *node = find_child(parent, name);
        xmlChar *text = node ? xmlNodeGetContent(node) : NULL;
        char *copy = g_strdup((const char *) text);

        xmlFree(text);
        return copy;
}

static bool attribute_is(const xmlNode *node, const char *name, const char *value) {
        g_autofree char *text = read_attribute(node, name);

        return g_strcmp0(text, value) == 0;
}

/* A number as libvirt writes it, 0x1f, or a decimal one; `missing` if it is not there. */
static bool read_number(const xmlNode *node, const char *name, guint64 max, guint64 missing,
                        guint64 *ret) {
        g_autofree char *text = read_attribute(node, name);
        bool hexadecimal = text && g_str_has_prefix(text, "0x");

        *ret = missing;
        return !text || g_ascii_string_to_unsigned(text + (hexadecimal ? 2 : 0),
                                                   hexadecimal ? 16 : 10, 0, max, ret, NULL);
}

static bool read_function(const xmlNode *device, PciAddress *ret) {
        const xmlNode *node = find_child(find_child(device, "source"), "address");
        guint64 domain, bus, slot, function;

        if (!node || !read_number(node, "domain", UINT32_MAX, 0, &domain) ||
            !read_number(node, "bus", UINT8_MAX, 0, &bus) ||
            !read_number(node, "slot", 31, 0, &slot) ||
            !read_number(node, "function", 7, 0, &function))
                return false;
        *ret = (PciAddress){ (uint32_t) domain, (uint8_t) bus, (uint8_t) slot, (uint8_t) function };
        return true;
}

/* The controller that makes the bus which the guest sees the device on. */
static const xmlNode *find_controller(const xmlNode *devices, const xmlNode *device) {
        const xmlNode *address = find_child(device, "address");
        guint64 bus, index;

        if (!address || !attribute_is(address, "type", "pci") ||
            !read_number(address, "bus", UINT8_MAX, 0, &bus))
                return NULL;
        for (const xmlNode *node = devices->children; node; node = node->next)
                if (is_element(node, "controller") && attribute_is(node, "type", "pci") &&
                    read_number(node, "index", UINT32_MAX, 0, &index) && index == bus)
                        return node;
        return NULL;
}

static char *dump(xmlDoc *document, xmlNode *node) {
        g_autoptr(xmlBuffer) buffer = xmlBufferCreate();

        if (!buffer || xmlNodeDump(buffer, document, node, 0, 0) < 0)
                return NULL;
        return g_strdup((const char *) xmlBufferContent(buffer));
}

static void add_device(LiveDomain *domain, xmlDoc *document, const xmlNode *devices,
                       xmlNode *node) {
        const xmlNode *controller = find_controller(devices, node);
        LiveDevice *device;
        PciAddress function;

        if (!read_function(node, &function))
                return;
        device = g_new0(LiveDevice, 1);
        device->function = function;
        device->alias = read_attribute(find_child(node, "alias"), "name");
        device->xml = dump(document, node);
        device->is_root_bus = attribute_is(controller, "model", "pcie-root");
        device->slot_is_fixed = attribute_is(find_child(controller, "target"), "hotplug", "off");
        g_ptr_array_add(domain->devices, device);
}

static void add_devices(LiveDomain *domain, xmlDoc *document, const xmlNode *devices) {
        for (xmlNode *node = devices ? devices->children : NULL; node; node = node->next)
                for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
                        if (is_element(node, kinds[i].element) &&
                            attribute_is(node, "type", kinds[i].type))
                                add_device(domain, document, devices, node);
}

static GuestWish read_wish(const xmlNode *root) {
        const xmlNode *metadata = find_child(root, "metadata");

        for (xmlNode *node = metadata ? metadata->children : NULL; node; node = node->next) {
                g_autofree char *action = NULL;

                if (!is_element(node, "unplug") || !node->ns ||
                    g_strcmp0((const char *) node->ns->href, LIVE_DOMAIN_METADATA) != 0)
                        continue;
                action = read_attribute(node, "action");
                return action ? guest_wish_from_string(action) : _GUEST_WISH_INVALID;
        }
        return GUEST_WISH_DETACH;
}

/* QEMU's machines without PCI hot-plug: microvm, and experimental ones (x-remote). */
static bool read_has_hotplug(const xmlNode *root) {
        g_autofree char *machine =
                read_attribute(find_child(find_child(root, "os"), "type"), "machine");

        return !machine ||
               !(g_str_has_prefix(machine, "x-") || g_str_has_prefix(machine, "microvm"));
}

LiveDomain *live_domain_parse(const char *xml) {
        g_autoptr(LiveDomain) domain = g_new0(LiveDomain, 1);
        g_autoptr(xmlDoc) document = NULL;
        const xmlNode *root;

        domain->devices = g_ptr_array_new_with_free_func(device_free);
        /* Nothing is loaded that the document may refer to, and no entity is replaced. */
        document = xmlReadMemory(xml, (int) strlen(xml), NULL, NULL,
                                 XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
        root = document ? xmlDocGetRootElement(document) : NULL;
        if (!root || !is_element(root, "domain"))
                return NULL;
        domain->name = read_text(root, "name");
        domain->uuid = read_text(root, "uuid");
        if (!domain->name || !domain->uuid)
                return NULL;
        domain->wish = read_wish(root);
        domain->has_hotplug = read_has_hotplug(root);
        add_devices(domain, document, find_child(root, "devices"));
        return g_steal_pointer(&domain);
}

const LiveDevice *live_domain_find(const LiveDomain *domain, PciAddress function,
                                   const LiveDevice *after) {
        for (guint i = 0; i < domain->devices->len; i++) {
                const LiveDevice *device = domain->devices->pdata[i];

                if (after == device)
                        after = NULL;
                else if (!after && pci_address_key(device->function) == pci_address_key(function))
                        return device;
        }
        return NULL;
}

bool live_domain_has_alias(const LiveDomain *domain, const char *alias) {
        for (guint i = 0; i < domain->devices->len; i++)
                if (g_strcmp0(((const LiveDevice *) domain->devices->pdata[i])->alias, alias) == 0)
                        return true;
        return false;
}
