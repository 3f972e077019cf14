#!/usr/bin/python3
"""Stands for a vfwarden-io that was taken over: says that it is ready, and then reports as fast as it can, until it is killed."""

import socket
import struct

READY, STATUS = 1, 4
REPORT = struct.Struct("=IiII8s 7QII 16s 6Q HBBI")     # policy/io-report.h


def report(kind, maximum):
    return REPORT.pack(kind, 0, 0, 0, b"", *[0] * 9, b"emulated", *[0] * 6, maximum, 0, 0, 0)


control = socket.socket(fileno=3)
control.send(report(READY, 4096))
packets = [report(STATUS, maximum) for maximum in range(1, 4097)]
while True:
    for packet in packets:
        control.send(packet)
