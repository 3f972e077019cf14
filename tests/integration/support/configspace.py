"""Configuration spaces of emulated functions, as bytes."""

import os
import struct


def config_space(vendor, device, command=0x0006, class_code=0x020000, revision=1,
                 subsystem=(0, 0), size=256):
    """A type 0 configuration header, as far as anyone looks."""
    header = bytearray(size)
    struct.pack_into("<HHHH", header, 0, vendor, device, command, 0x0010)
    struct.pack_into("<I", header, 8, (class_code << 8) | revision)
    struct.pack_into("<HH", header, 0x2c, *subsystem)
    return bytes(header)


def recorded_config(name):
    """One of the images of configuration spaces that the unit tests have, as bytes."""
    image = bytearray()
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "unit", "config-space", name)
    with open(path, encoding="ascii") as file:
        for line in file:
            key, _, rest = line.partition(":")
            if line.startswith("#"):
                continue
            if key == "size":
                image = bytearray(int(rest))
            elif key == "fill":
                image[:] = bytes.fromhex(rest.strip()) * len(image)
            else:
                row = bytes.fromhex(rest)
                image[int(key, 16):int(key, 16) + len(row)] = row
    return bytes(image)
