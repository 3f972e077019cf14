/* vfwarden-io.h: PCI loads and store blocks for programs without privilege.
 *
 * A VMM that may not open /dev/vfio asks vfwardend for a session with one PCI function, and gets a
 * socket. The process behind the socket carries out each request as one instruction, and can do
 * nothing else. This library speaks to that process. vfwarden-io(7) describes the protocol, which
 * is vfio-user: a VMM that speaks it needs no library.
 *
 *      VfwardenIo *io = NULL;
 *      char *why = NULL;
 *      uint32_t value;
 *      int r;
 *
 *      r = vfwarden_io_open("0013:00:00.0", &why, &io);
 *      if (r < 0)
 *              errx(1, "%s", why);
 *      r = vfwarden_io_load(io, 0, 0x10, &value, sizeof(value));
 *      io = vfwarden_io_close(io);
 *
 * Link with `pkg-config --libs vfwarden-io`.
 *
 * Results. Functions that return int return 0, or a negative errno:
 *
 *      -EINVAL         the rules do not allow this access: see "Accesses"
 *      -EIO            the device refused it, or the rules of its zPCI I/O region
 *      -EFAULT         the memory is not mapped, not all in one map, or was truncated
 *      -ENODEV         the function is being or was removed; close the session
 *      -ECONNRESET     the session has ended: its process was stopped or killed
 *      -EPROTO         the other side violated the protocol; close the session
 *
 * Threads. Use a session in one thread at a time. Different sessions are independent.
 *
 * Byte order. Data goes as it is in memory: BARs and configuration space are little-endian, on
 * every host.
 *
 * Stability. The content of this file is stable; new functions may come. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct VfwardenIo VfwardenIo;

/* The address spaces of a function: BARs are 0 to 5. Configuration space is for loads only. */
#define VFWARDEN_IO_CONFIG 15U

/* Opening and closing */

/* Asks vfwardend, on the system bus, for a session with the function at `address`, such as
 * "0000:01:00.0".
 *
 * A refusal of the daemon becomes -EACCES (polkit refused it), -ENODEV (there is no such function),
 * -EBUSY (the function is in use, is not bound to vfio-pci, or has MSI-X that is not allowed),
 * -EAGAIN (another session with it is just being opened), -EOPNOTSUPP (this daemon or function has
 * no sessions), -EDQUOT (too many sessions, or too much memory), -ETIMEDOUT or -ECOMM (anything
 * else, also no daemon). `ret_why` may be NULL; otherwise `*ret_why` is the daemon's message for
 * people, to be freed by free(), or NULL on success.
 *
 * The session may map 1 GiB of memory. A program that needs more calls OpenSession() with its
 * option "max-mapped-memory" (t, in bytes), and vfwarden_io_open_socket() with the socket. */
int vfwarden_io_open(const char *address, char **ret_why, VfwardenIo **ret);

/* Begins a session over a socket that the caller got from OpenSession() by itself. Owns `fd` from
 * then on, on failure too. */
int vfwarden_io_open_socket(int fd, VfwardenIo **ret);

/* Ends the session and frees everything. Takes NULL, returns NULL. */
VfwardenIo *vfwarden_io_close(VfwardenIo *io);

/* What there is */

/* The method of access: "zpci-region", "ism-vfio-pci", "mmio", "vfio-pci" or "emulated"; "" over a
 * socket of one's own. Valid until the session is closed. */
const char *vfwarden_io_backend(const VfwardenIo *io);

/* The longest store block, in bytes; 8 if the back end has no store blocks. */
size_t vfwarden_io_max_store_block(const VfwardenIo *io);

/* Whether blocks may have any length and alignment. False over a socket of one's own, where it is
 * not known. */
bool vfwarden_io_relaxed(const VfwardenIo *io);

/* The size of a BAR, or of configuration space, in bytes; 0 when there is none. */
uint64_t vfwarden_io_size(const VfwardenIo *io, unsigned pcias);

/* Accesses. Each is one instruction, or is refused.
 *
 * A load takes 1 to 8 bytes inside one doubleword of a BAR, or any bytes of configuration space. A
 * store takes 1 to 8 bytes inside one doubleword; a longer one is a store block: a multiple of 8,
 * at a multiple of 8, inside one page of 4 KiB and not longer than the maximum. A relaxed function
 * takes stores of any length and alignment, up to the maximum and inside one page. Back ends
 * without the instructions take 1, 2, 4 and 8 bytes, aligned to their length. */

int vfwarden_io_load(VfwardenIo *io, unsigned pcias, uint64_t offset, void *data, size_t length);

int vfwarden_io_store(VfwardenIo *io, unsigned pcias, uint64_t offset, const void *data,
                      size_t length);

/* Loads and stores of at most 8 bytes to a BAR go through memory that the program shares with the
 * session, where the session offers that. They then take no system call of the program as long as
 * they follow each other closely. The program and the session wait for each other by looking at the
 * memory, each for at most 50 microseconds, and sleep afterwards. The first such access makes the
 * memory and two descriptors, and falls back to the socket if it cannot. A program that confines
 * itself by a filter of system calls makes an access before, or switches this off.
 *
 * `use` false: from now on everything goes over the socket. True, which is the default, undoes
 * that. See "RING" in vfwarden-io(7). */
void vfwarden_io_use_ring(VfwardenIo *io, bool use);

/* Memory
 *
 * The data of a guest's store block is in the guest's memory already. The VMM maps that memory
 * once, and then passes only the address of the data. */

/* Lets the session read (and write, unless the descriptor is read-only) `size` bytes of the memory
 * behind `fd`, a memfd or a file on tmpfs, from `offset` on, and calls them `gaddr`. All three are
 * multiples of 4096. -EEXIST when some of it is mapped already, -ENOSPC when it is more than the
 * session may have. `fd` may be closed afterwards. */
int vfwarden_io_map(VfwardenIo *io, uint64_t gaddr, uint64_t size, int fd, uint64_t offset);

/* Removes the map; `gaddr` and `size` are those of a map. When this returns, nothing reads it any
 * more. */
int vfwarden_io_unmap(VfwardenIo *io, uint64_t gaddr, uint64_t size);

/* A store block of the data at `gaddr`, which is a multiple of 8 (unless relaxed) and stays inside
 * one page. Not for short stores of a function that is not relaxed. Violations are answered with
 * -EIO. */
int vfwarden_io_store_block(VfwardenIo *io, unsigned pcias, uint64_t offset, uint64_t gaddr,
                            size_t length);

/* The whole device
 *
 * A driver of the function, such as that of a guest, needs more than loads and stores. It writes
 * configuration space, gets interrupts, and lets the device access its memory. The last needs a
 * session with DMA. Without DMA the bit "bus master" stays off, so the device sends no MSI. */

/* The same as vfwarden_io_open(), for a session with DMA: the device may access all that is mapped
 * with vfwarden_io_map(), at `gaddr`, and nothing else. Together these maps are at most
 * `max_memory` bytes, which count against the limit of the user; 0 is 1 GiB. The memory is pinned
 * while it is mapped. */
int vfwarden_io_open_dma(const char *address, uint64_t max_memory, char **ret_why,
                         VfwardenIo **ret);

/* Stores bytes to configuration space. The kernel keeps what belongs to the host, such as the BARs'
 * addresses. Configuration space is little-endian. */
int vfwarden_io_store_config(VfwardenIo *io, uint64_t offset, const void *data, size_t length);

/* Resets the function. -EOPNOTSUPP when it cannot be reset; -ETIMEDOUT when it takes longer than
 * four seconds: until it is done, accesses fail with -EBUSY. */
int vfwarden_io_reset(VfwardenIo *io);

/* The kinds of interrupts. */
#define VFWARDEN_IO_INTX  0U
#define VFWARDEN_IO_MSI   1U
#define VFWARDEN_IO_MSIX  2U
#define VFWARDEN_IO_ERROR 3U

/* How many interrupts of this kind the function has, or a negative errno. */
int vfwarden_io_irqs(VfwardenIo *io, unsigned kind);

/* Makes the kernel signal `eventfds[0]` to `eventfds[n - 1]` for the interrupts of this kind from
 * `start` on. They may be closed afterwards. NULL takes the eventfds away; `start` and `n` of 0
 * disable the kind. At one time one of INTx, MSI and MSI-X is enabled. More than 32 are given in
 * several steps, of which the first may have succeeded when another fails. -ENOSPC when the host
 * has not enough vectors. */
int vfwarden_io_set_irqs(VfwardenIo *io, unsigned kind, unsigned start, unsigned n,
                         const int *eventfds);

/* Lets INTx be signalled again: the kernel masks it each time. */
int vfwarden_io_unmask_intx(VfwardenIo *io);

/* Unplug */

/* Returns a descriptor that becomes readable when the host requests the release of the function, or
 * the function was removed. Ask the guest to release the function, serve it meanwhile, and close
 * the session afterwards. The library owns the descriptor: poll it, do not close it. Returns a
 * negative errno if the descriptor cannot be made. */
int vfwarden_io_notice_fd(VfwardenIo *io);

#ifdef __cplusplus
}
#endif
