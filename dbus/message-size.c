#include "dbus/message-size.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef union Value {
        uint8_t byte;
        uint64_t number;
        const char *text;
} Value;

/* Alignments of the types; those of fixed size are as long. */
static size_t alignment_of(char type) {
        switch (type) {
        case 'y':
        case 'g':
        case 'v':
                return 1;
        case 'n':
        case 'q':
                return 2;
        case 'x':
        case 't':
        case 'd':
        case 'r':
        case 'e':
                return 8;
        default:
                return 4;
        }
}

static size_t align(size_t size, char type) {
        size_t alignment = alignment_of(type);

        return (size + alignment - 1) / alignment * alignment;
}

static int add_basic(sd_bus_message *message, char type, size_t *size) {
        Value value = { 0 };
        int r = sd_bus_message_read_basic(message, type, &value);

        *size = align(*size, type);
        if (type == 's' || type == 'o')
                *size += sizeof(uint32_t) + (r > 0 ? strlen(value.text) : 0) + 1;
        else if (type == 'g')
                *size += 1 + (r > 0 ? strlen(value.text) : 0) + 1;
        else
                *size += alignment_of(type);
        return r;
}

static size_t begin_container(size_t size, char type, const char *contents) {
        size = align(size, type);
        if (type == 'a')
                return align(size + sizeof(uint32_t), contents[0]);
        return type == 'v' ? size + 1 + strlen(contents) + 1 : size;
}

/* The daemon has made the message, and none of its types is deep. */
static int add_values(sd_bus_message *message, size_t *size) { /* NOLINT(misc-no-recursion) */
        const char *contents;
        char type;
        int r;

        while ((r = sd_bus_message_peek_type(message, &type, &contents)) > 0) {
                if (!contents) {
                        r = add_basic(message, type, size);
                } else {
                        *size = begin_container(*size, type, contents);
                        r = sd_bus_message_enter_container(message, type, contents);
                        if (r >= 0)
                                r = add_values(message, size);
                        if (r >= 0)
                                r = sd_bus_message_exit_container(message);
                }
                if (r < 0)
                        return r;
        }
        return r;
}

size_t message_body_size(sd_bus_message *message) {
        size_t size = 0;

        if (sd_bus_message_rewind(message, true) < 0 || add_values(message, &size) < 0)
                return 0;
        return size;
}
