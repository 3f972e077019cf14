#include "agent/live-domain.h"

#include <criterion/criterion.h>

#define HEAD "<domain type='qemu'><name>web1</name><uuid>u1</uuid>"
#define SOURCE(device) \
        "<source><address domain='0x0000' bus='0x01' slot='0x10' function='0x" device "'/></source>"
#define PORTS                                                       \
        "<controller type='pci' index='0' model='pcie-root'/>"      \
        "<controller type='pci' index='1' model='pcie-root-port'/>" \
        "<controller type='pci' index='2' model='pcie-root-port'><target hotplug='off'/></controller>"
#define AT(bus) "<address type='pci' domain='0' bus='" bus "' slot='0'/>"

static LiveDomain *parse(const char *metadata, const char *devices) {
        g_autofree char *xml = g_strconcat(HEAD, metadata, "<devices>", PORTS, devices,
                                           "</devices></domain>", NULL);
        LiveDomain *domain = live_domain_parse(xml);

        cr_assert_not_null(domain, "%s", xml);
        return domain;
}

static const LiveDevice *find(const LiveDomain *domain, uint8_t function, const LiveDevice *after) {
        return live_domain_find(domain, (PciAddress){ 0, 1, 0x10, function }, after);
}

Test(live_domain, ways_to_have_a_function) {
        g_autoptr(LiveDomain) domain = parse(
                "",
                "<hostdev type='pci'>" SOURCE("0") "<alias name='hostdev0'/>" AT(
                        "1") "</hostdev>"
                             /* One that libvirt took from a network's pool, and one for an iommufd.
                              */
                             "<interface type='hostdev'><driver name='vfio'/>" SOURCE(
                                     "1") "<alias name='hostdev1'/></interface>"
                                          "<hostdev type='pci'><driver name='vfio' iommufd='yes'/>" SOURCE(
                                                  "2") "<alias name='hostdev2'/></hostdev>"
                                                       "<disk type='nvme'>" SOURCE(
                                                               "3") "<alias name='virtio-disk0'/></disk>"
                                                                    "<disk type='nvme'>" SOURCE(
                                                                            "3") "<alias name='virtio-disk1'/></disk>"
                                                                                 "<hostdev type='mdev'>" SOURCE(
                                                                                         "4") "</hostdev>"
                                                                                              "<interface type='vdpa'>" SOURCE(
                                                                                                      "5") "</interface>");
        const LiveDevice *device;

        cr_assert_str_eq(find(domain, 0, NULL)->alias, "hostdev0");
        cr_assert_str_eq(find(domain, 1, NULL)->alias, "hostdev1");
        cr_assert_str_eq(find(domain, 2, NULL)->alias, "hostdev2");
        device = find(domain, 3, NULL);
        cr_assert_str_eq(device->alias, "virtio-disk0");
        device = find(domain, 3, device);
        cr_assert_str_eq(device->alias, "virtio-disk1");
        cr_assert_null(find(domain, 3, device));
        cr_assert_null(find(domain, 4, NULL));
        cr_assert_null(find(domain, 5, NULL));
        cr_assert(live_domain_has_alias(domain, "hostdev2"));
        cr_assert_not(live_domain_has_alias(domain, "hostdev3"));
        cr_assert(g_str_has_prefix(find(domain, 0, NULL)->xml, "<hostdev type=\"pci\">"));
        cr_assert_str_eq(domain->name, "web1");
}

Test(live_domain, types_of_addresses) {
        g_autoptr(LiveDomain) domain = parse(
                "", "<interface type='hostdev'><source><address type='usb' bus='1' device='2'/>"
                    "</source></interface>"
                    "<interface type='hostdev'><source><address type='pci' bus='1' slot='0x10' "
                    "function='1'/></source></interface>");

        cr_assert_eq(domain->devices->len, 1);
        cr_assert_not_null(find(domain, 1, NULL));
}

Test(live_domain, where_the_guest_sees_it) {
        g_autoptr(LiveDomain) domain =
                parse("", "<hostdev type='pci'>" SOURCE("0")
                                  AT("0x00") "</hostdev>"
                                             "<hostdev type='pci'>" SOURCE("1")
                                                     AT("0x01") "</hostdev>"
                                                                "<hostdev type='pci'>" SOURCE("2")
                                                                        AT("2") "</hostdev>");

        cr_assert(find(domain, 0, NULL)->is_root_bus);
        cr_assert_not(find(domain, 1, NULL)->is_root_bus || find(domain, 1, NULL)->slot_is_fixed);
        cr_assert(find(domain, 2, NULL)->slot_is_fixed);
        cr_assert_null(find(domain, 2, NULL)->alias);
}

Test(live_domain, metadata_and_machine) {
        static const struct {
                const char *metadata;
                GuestWish wish;
                bool has_hotplug;
        } rows[] = {
                { "", GUEST_WISH_DETACH, true },
                { "<metadata><unplug action='refuse'/></metadata>", GUEST_WISH_DETACH, true },
                { "<metadata><v:unplug xmlns:v='" LIVE_DOMAIN_METADATA
                  "' action='refuse'/></metadata>",
                  GUEST_WISH_REFUSE, true },
                { "<metadata><unplug xmlns='" LIVE_DOMAIN_METADATA "'/></metadata>",
                  _GUEST_WISH_INVALID, true },
                { "<os><type machine='microvm'>hvm</type></os>", GUEST_WISH_DETACH, false },
                { "<os><type machine='x-remote'>hvm</type></os>", GUEST_WISH_DETACH, false },
                { "<os><type machine='pc-q35-9.1'>hvm</type></os>", GUEST_WISH_DETACH, true },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autoptr(LiveDomain) domain = parse(rows[i].metadata, "");

                cr_assert_eq(domain->wish, rows[i].wish, "row %zu", i);
                cr_assert_eq(domain->has_hotplug, rows[i].has_hotplug, "row %zu", i);
        }
}

Test(live_domain, what_is_no_domain) {
        cr_assert_null(live_domain_parse(""));
        cr_assert_null(live_domain_parse("<network/>"));
        cr_assert_null(live_domain_parse("<domain><name>x</name></domain>"));
}
