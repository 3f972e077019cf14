"""Makes another process make a system call that it never would: what an attacker inside of it would try."""

import ctypes
import os
import signal
import struct

from guest.check import true

# linux/ptrace.h and asm/ptrace-abi.h; of x86-64, as all here.
GETREGS, SETREGS, ATTACH, DETACH = 12, 13, 16, 17
# user_regs_struct: 27 registers of 64 bits.
REGISTERS = struct.Struct("=27Q")
RAX, ORIG_RAX, RIP = 10, 15, 16
SYSCALL_SIZE = 2
WALL = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, pid, data=None):
    if _libc.ptrace(request, pid, None, data) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"ptrace({request}): {os.strerror(error)}")


def make_call(pid, number):
    """`pid` waits in a system call; it is put back to the call's instruction, with another number, and goes on."""
    _ptrace(ATTACH, pid)
    _, status = os.waitpid(pid, WALL)
    true(os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGSTOP, f"{pid} has stopped: {status:#x}")
    buffer = ctypes.create_string_buffer(REGISTERS.size)
    _ptrace(GETREGS, pid, buffer)
    registers = list(REGISTERS.unpack(buffer.raw))
    true(registers[ORIG_RAX] < 1 << 63, "it was in a system call")
    registers[RIP] -= SYSCALL_SIZE
    registers[RAX] = number
    registers[ORIG_RAX] = (1 << 64) - 1     # no call to be restarted by the kernel (arch_do_signal_or_restart())
    ctypes.memmove(buffer, REGISTERS.pack(*registers), REGISTERS.size)
    _ptrace(SETREGS, pid, buffer)
    _ptrace(DETACH, pid)
