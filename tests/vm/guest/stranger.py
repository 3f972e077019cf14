"""What a user without privilege can send to the network, in a network namespace of their own.

Run as a program, by `unshare -Urn`. Prints how long a send took, in seconds.
"""

import errno
import fcntl
import socket
import sys
import time

from guest import netlink

SIOCETHTOOL = 0x8946
# Not an address of a process.
NOWHERE = 16
NAMES, MESSAGES, SENDS = 400, 10000, 5
LOOPBACK, NO_LINK = 1, 999


def time_of_send():
    """Of ten thousand settings of VFs, in a namespace with many names; the shortest time of a few."""
    error = netlink.send(netlink.names(LOOPBACK, [f"name{number}" for number in range(NAMES)]))
    if error:
        raise OSError(error, "more names")
    data = netlink.vf_settings(index=NO_LINK) * MESSAGES
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 212992)    # wmem_max; the kernel doubles it
        spent = []
        for _ in range(SENDS):
            start = time.monotonic()
            sock.send(data)
            spent.append(time.monotonic() - start)
    return min(spent)


def forge(address):
    """Requests that the kernel refuses to everybody without privilege, or that are none."""
    netlink.send(netlink.devlink(address), protocol=netlink.GENERIC)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for argument in (NOWHERE, b"eth0".ljust(16, b"\0") + NOWHERE.to_bytes(8, "little") + bytes(16)):
            try:
                fcntl.ioctl(sock, SIOCETHTOOL, argument)
            except OSError as error:
                if error.errno not in (errno.EFAULT, errno.ENODEV):
                    raise


if __name__ == "__main__":
    forge(sys.argv[1])
    print(time_of_send())
