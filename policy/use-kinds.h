/* use-kinds.h: the kinds of use that a function can have besides VFIO.
 *
 * Owns the one table; it has words only. A new kind is a row here, and a source that finds it
 * (daemon/uses). Tests fail until org.vfwarden1.Manager.xml has the word.
 *
 * A row has the constant; the word on D-Bus; the subsystem of the kernel; whether it stands against
 * an operation (STANDS) or is a warning (WARNS); and three texts: the sentence "BEFORE object
 * BETWEEN by", which has no BY where BETWEEN ends it, and what is lost with the function. */
#pragma once

/* clang-format off */
#define USE_KINDS(ROW)                                                                           \
        ROW(NETWORK_NAMESPACE, "network-namespace", "net", STANDS,                               \
            "its network interface ", " is in the network namespace ",                           \
            "the processes in that network namespace lose the interface")                        \
        ROW(NETWORK_PORT, "network-port", "net", STANDS,                                         \
            "its network interface ", " is a port of ",                                          \
            "the bond, bridge or team loses the port")                                           \
        ROW(NETWORK_LOWER, "network-lower", "net", STANDS,                                       \
            "its network interface ", " carries ",                                               \
            "the interface on top of it goes with it")                                           \
        ROW(NETWORK_LOWER_ELSEWHERE, "network-lower-elsewhere", "net", STANDS,                   \
            "its network interface ", " carries ",                                               \
            "the processes in that network namespace lose the interface on top of it")           \
        ROW(NETWORK_ADDRESS, "network-address", "net", STANDS,                                   \
            "its network interface ", " has the address ",                                       \
            "the host loses the address and its connections")                                    \
        ROW(NETWORK_ROUTE, "network-route", "net", STANDS,                                       \
            "its network interface ", " has the default route",                                  \
            "the host loses its way to other networks")                                          \
        ROW(NETWORK_UP, "network-up", "net", STANDS,                                             \
            "its network interface ", " is up and has a link",                                   \
            "the host loses the link")                                                           \
        ROW(NETWORK_PACKET, "packet-socket", "net", STANDS,                                      \
            "its network interface ", " has a packet socket of ",                                \
            "the program receives and sends no frames any more")                                 \
        ROW(NETWORK_XDP, "xdp", "net", STANDS,                                                   \
            "its network interface ", " runs the XDP program ",                                  \
            "the program and those that it passes packets to receive nothing any more")          \
        ROW(RDMA_NAMESPACE, "rdma-namespace", "infiniband", STANDS,                              \
            "its RDMA device ", "is in another network namespace",                               \
            "the processes in that network namespace lose the device")                           \
        ROW(BLOCK_MOUNT, "mount", "block", STANDS,                                               \
            "its block device ", " is mounted on ",                                              \
            "the file system loses its device, and what was not written is lost")                \
        ROW(BLOCK_SWAP, "swap", "block", STANDS,                                                 \
            "its block device ", " is swap space",                                               \
            "processes with memory in it are killed")                                            \
        ROW(BLOCK_HOLDER, "block-holder", "block", STANDS,                                       \
            "its block device ", " is part of ",                                                 \
            "the device made of it loses data or redundancy")                                    \
        ROW(PROGRAM_UIO, "uio", "uio", STANDS,                                                   \
            "its device ", " is open in ",                                                       \
            "the program loses the device that it drives")                                       \
        ROW(PROGRAM_RESOURCE, "resource", "pci", STANDS,                                         \
            "its BAR ", " is open in ",                                                          \
            "the program reads nothing any more where the BAR was")                              \
        ROW(PROGRAM_CONFIG, "config", "pci", STANDS,                                             \
            "its configuration space (", ") is open for writing in ",                            \
            "the program is interrupted while it changes the device")                            \
        ROW(PROGRAM_MAPPED, "mapped", "pci", STANDS,                                             \
            "its BAR ", " is mapped by ",                                                        \
            "the program reads nothing any more where the BAR was")                              \
        ROW(PROGRAM_BLOCK, "block-open", "block", STANDS,                                        \
            "its block device ", " is open in ",                                                 \
            "the program loses the disk that it reads or writes")                                \
        ROW(PROGRAM_STORAGE, "storage-node", "storage", STANDS,                                  \
            "its storage device ", " is open in ",                                               \
            "the program loses the disk, tape or controller that it commands")                   \
        ROW(PROGRAM_RDMA, "rdma", "infiniband", STANDS,                                          \
            "its RDMA device ", " is open in ",                                                  \
            "the program loses its connections and registered memory")                           \
        ROW(PROGRAM_VDPA, "vdpa", "vdpa", STANDS,                                                \
            "its vDPA device ", " is open in ",                                                  \
            "the virtual machine loses the device")                                              \
        ROW(PROGRAM_MDEV, "mdev", "mdev", STANDS,                                                \
            "its mediated device ", " is open in ",                                              \
            "the virtual machine loses the device")                                              \
        ROW(PROGRAM_DISPLAY, "display", "drm", WARNS,                                            \
            "its graphics device ", " is open in ",                                              \
            "the program loses its picture, or what it computes")                                \
        ROW(PROGRAM_SOUND, "sound", "sound", WARNS,                                              \
            "its sound device ", " is open in ",                                                 \
            "the program loses its sound")                                                       \
        ROW(PROGRAM_TERMINAL, "terminal", "tty", WARNS,                                          \
            "its terminal ", " is open in ",                                                     \
            "the program loses the line")                                                        \
        ROW(PROGRAM_INPUT, "input", "input", WARNS,                                              \
            "its input device ", " is open in ",                                                 \
            "keyboard, mouse or another device is lost")                                         \
        ROW(PROGRAM_NODE, "node", "other", WARNS,                                                \
            "its device ", " is open in ",                                                       \
            "the program loses the device")
/* clang-format on */
