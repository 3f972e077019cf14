#include "agent/live-domain.h"

#include "xml/domain-xml.h"

#include <string.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlBuffer, xmlBufferFree)

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

static bool read_function(const xmlNode *device, PciAddress *ret) {
        const xmlNode *node =
                domain_xml_find_child(domain_xml_find_child(device, "source"), "address");
        guint64 domain, bus, slot, function;

        if (!node || !domain_xml_read_number(node, "domain", UINT32_MAX, 0, &domain) ||
            !domain_xml_read_number(node, "bus", UINT8_MAX, 0, &bus) ||
            !domain_xml_read_number(node, "slot", 31, 0, &slot) ||
            !domain_xml_read_number(node, "function", 7, 0, &function))
                return false;
        *ret = (PciAddress){ (uint32_t) domain, (uint8_t) bus, (uint8_t) slot, (uint8_t) function };
        return true;
}

/* The controller that makes the bus which the guest sees the device on. */
static const xmlNode *find_controller(const xmlNode *devices, const xmlNode *device) {
        const xmlNode *address = domain_xml_find_child(device, "address");
        guint64 bus, index;

        if (!address || !domain_xml_attribute_is(address, "type", "pci") ||
            !domain_xml_read_number(address, "bus", UINT8_MAX, 0, &bus))
                return NULL;
        for (const xmlNode *node = devices->children; node; node = node->next)
                if (domain_xml_is_element(node, "controller") &&
                    domain_xml_attribute_is(node, "type", "pci") &&
                    domain_xml_read_number(node, "index", UINT32_MAX, 0, &index) && index == bus)
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
        device->alias = domain_xml_read_attribute(domain_xml_find_child(node, "alias"), "name");
        device->xml = dump(document, node);
        device->is_root_bus = domain_xml_attribute_is(controller, "model", "pcie-root");
        device->slot_is_fixed = domain_xml_attribute_is(domain_xml_find_child(controller, "target"),
                                                        "hotplug", "off");
        g_ptr_array_add(domain->devices, device);
}

static void add_devices(LiveDomain *domain, xmlDoc *document, const xmlNode *devices) {
        for (xmlNode *node = devices ? devices->children : NULL; node; node = node->next)
                if (domain_xml_is_pci_device(node))
                        add_device(domain, document, devices, node);
}

static GuestWish read_wish(const xmlNode *root) {
        const xmlNode *metadata = domain_xml_find_child(root, "metadata");

        for (xmlNode *node = metadata ? metadata->children : NULL; node; node = node->next) {
                g_autofree char *action = NULL;

                if (!domain_xml_is_element(node, "unplug") || !node->ns ||
                    g_strcmp0((const char *) node->ns->href, LIVE_DOMAIN_METADATA) != 0)
                        continue;
                action = domain_xml_read_attribute(node, "action");
                return action ? guest_wish_from_string(action) : _GUEST_WISH_INVALID;
        }
        return GUEST_WISH_DETACH;
}

/* QEMU's machines without PCI hot-plug: microvm, and experimental ones (x-remote). */
static bool read_has_hotplug(const xmlNode *root) {
        g_autofree char *machine = domain_xml_read_attribute(
                domain_xml_find_child(domain_xml_find_child(root, "os"), "type"), "machine");

        return !machine ||
               !(g_str_has_prefix(machine, "x-") || g_str_has_prefix(machine, "microvm"));
}

LiveDomain *live_domain_parse(const char *xml) {
        g_autoptr(LiveDomain) domain = g_new0(LiveDomain, 1);
        g_autoptr(xmlDoc) document = NULL;
        const xmlNode *root;

        domain->devices = g_ptr_array_new_with_free_func(device_free);
        document = domain_xml_parse(xml, strlen(xml), &root);
        if (!document)
                return NULL;
        domain->name = domain_xml_read_text(root, "name");
        domain->uuid = domain_xml_read_text(root, "uuid");
        if (!domain->name || !domain->uuid)
                return NULL;
        domain->wish = read_wish(root);
        domain->has_hotplug = read_has_hotplug(root);
        add_devices(domain, document, domain_xml_find_child(root, "devices"));
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
