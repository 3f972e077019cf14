#!/usr/bin/python3
"""Stands for a vfwarden-io that was taken over. It hands its control socket to the test, which then says what the process
says, and stays until the test ends it, or a standard signal does. See test_io_evil.py."""

import array
import os
import socket
import sys

CONTROL = 3

puppet = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
puppet.connect(os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "strings"))
puppet.sendmsg([str(os.getpid()).encode()],
               [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [CONTROL]))])
os.close(CONTROL)
puppet.recv(1)
