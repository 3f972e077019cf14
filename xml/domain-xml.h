/* domain-xml.h: the XML of a libvirt domain, as far as both its hook and its agent read it.
 *
 * Owns the rules of the format: which elements stand for a PCI function of the host, and how
 * libvirt writes numbers. Nothing that a document refers to is ever loaded. NULL is a node that is
 * not there: it has no children and no attributes. */
#pragma once

#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>
#include <stddef.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

/* Returns a document of the caller's and its element <domain>, or NULL: the text is no such
 * document. */
xmlDoc *domain_xml_parse(const char *text, size_t size, const xmlNode **ret_root);

bool domain_xml_is_element(const xmlNode *node, const char *name);

/* The first child with the name, or NULL. */
xmlNode *domain_xml_find_child(const xmlNode *parent, const char *name);

/* The text of an attribute, or of a child's content; NULL if it is not there. Free with
 * g_free(). */
char *domain_xml_read_attribute(const xmlNode *node, const char *name);
char *domain_xml_read_text(const xmlNode *parent, const char *child);

/* Whether the attribute is there and has this value. */
bool domain_xml_attribute_is(const xmlNode *node, const char *name, const char *value);

/* A number as libvirt writes it, 0x1f, or a decimal one, as its users may; `missing` if it is not
 * there. Returns false for what is no number up to `max`. */
bool domain_xml_read_number(const xmlNode *node, const char *name, guint64 max, guint64 missing,
                            guint64 *ret);

/* Whether a child of <devices> stands for a PCI function of the host, which is in its
 * <source><address/></source>. */
bool domain_xml_is_pci_device(const xmlNode *device);
