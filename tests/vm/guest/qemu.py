"""An unmodified QEMU, newer than that of the guest's release, that somebody without privilege starts with a function.

The image that the host attaches beside the base image has it; see host/qemu.py.
"""

import json
import os
import pathlib
import resource
import subprocess

from guest import service

DISK = "/dev/vdb"
DIRECTORY = pathlib.Path("/run/qemu")
PROGRAM = pathlib.Path("/run/qemu-system-x86_64")
# With its own libraries, and their dynamic linker, which newer releases have below /usr alone.
WRAPPER = f"""#!/bin/sh
export QEMU_MODULE_DIR={DIRECTORY}/usr/lib/x86_64-linux-gnu/qemu
for libraries in {DIRECTORY}/lib/x86_64-linux-gnu {DIRECTORY}/usr/lib/x86_64-linux-gnu; do
    [ ! -e $libraries/ld-linux-x86-64.so.2 ] || break
done
exec $libraries/ld-linux-x86-64.so.2 --library-path $libraries:{DIRECTORY}/usr/lib/x86_64-linux-gnu \\
    {DIRECTORY}/usr/bin/qemu-system-x86_64 -L {DIRECTORY}/usr/share/qemu -L {DIRECTORY}/usr/share/seabios \\
    -L {DIRECTORY}/usr/lib/ipxe/qemu "$@"
"""
# What QEMU itself needs for a machine that has nothing in it and does not run.
OPTIONS = ["-nodefaults", "-no-user-config", "-display", "none", "-M", "q35", "-accel", "tcg", "-S", "-qmp", "stdio"]
MEMORY = 64 << 20


def program():
    """The path of QEMU."""
    if not os.path.ismount(DIRECTORY):
        DIRECTORY.mkdir(exist_ok=True)
        service.run("mount", "-o", "ro", DISK, str(DIRECTORY))
        PROGRAM.write_text(WRAPPER)
        PROGRAM.chmod(0o755)
    return str(PROGRAM)


class Qemu:
    """`words` precede QEMU, and `more` are further options of it. It may lock so much memory."""

    command = str(DIRECTORY)    # how its command line begins

    def __init__(self, machine, words, more, name="visitor", locked=2 * MEMORY):
        self.process = subprocess.Popen(
            ["setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups", "--no-new-privs", *words, program(),
             *OPTIONS, "-m", str(MEMORY >> 20), *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (locked, locked)))
        machine.closers.append(self.kill)
        self.pid = self.process.pid

    def begin(self):
        """Every device is realised from here on."""
        greeting = self.process.stdout.readline()
        if not greeting:
            raise OSError(f"QEMU ended: {self.words()}")
        self.ask("qmp_capabilities")

    def ask(self, command):
        self.process.stdin.write(json.dumps({"execute": command}) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            answer = json.loads(line)
            if "event" not in answer:
                return answer["return"]
        raise OSError(f"QEMU ended: {self.words()}")

    def devices(self):
        """Pairs (vendor, device) of the PCI functions that the guest would find."""
        return [(device["id"]["vendor"], device["id"]["device"])
                for bus in self.ask("query-pci") for device in bus["devices"]]

    def words(self):
        """What it said at its end."""
        return self.process.communicate()[1].strip()

    def quit(self):
        self.ask("quit")
        self.process.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            file.close()
