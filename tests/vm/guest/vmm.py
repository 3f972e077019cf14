"""An unmodified QEMU that a user without privilege starts with `vfwarden io serve`, and the machine in it: a Linux with a
shell on the first serial port, or a boot sector of its device."""

import contextlib
import json
import os
import pathlib
import re
import select
import shlex
import shutil
import socket
import subprocess
import time

import pace

from guest import documentation, libvirt, qemu
from guest.check import Failed
from guest.documentation import USER

DIRECTORY = pathlib.Path("/usr/lib/vfwarden-vm-inner")   # see host/inner.py
RUNTIME = pathlib.Path("/run/user/1000")   # as the page has it; no login makes it here
# One emulated machine in another, on a processor that others use, too: a kernel boots for minutes.
BOOT_SECONDS = 600
# What QEMU itself takes for an answer, or for its end.
ANSWER_SECONDS = 60
KERNEL = ["-kernel", str(DIRECTORY / "vmlinuz"), "-initrd", str(DIRECTORY / "initrd"),
          # Half of the time without ACPI; but then the driver of root ports takes their slots for empty.
          "-append", "console=ttyS0 quiet acpi=off pcie_ports=compat cryptomgr.notests mitigations=off nokaslr nowatchdog audit=0 "
                     "random.trust_cpu=on tsc=unstable no_timer_check nohz=off highres=off"]
# A guest that obeys a request to release devices, or not: see inner/guest.S.
FIRMWARE = ["-bios", libvirt.FIRMWARE]
OBEY, IGNORE = b"1", b"0"
# Of docs/device.md, whose command starts QEMU.
DEVICE_ID = "nvme"
PAGE_ADDRESS = "02:00.0"
BARE = ["-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg", "-serial", "stdio"]
# Where the page's command finds QEMU.
LINK = pathlib.Path("/usr/local/bin/qemu-system-x86_64")


def as_printed(machine):
    """The command that the page prints, for a shell."""
    LINK.unlink(missing_ok=True)
    LINK.symlink_to(qemu.program())
    machine.closers.append(lambda: LINK.unlink(missing_ok=True))
    return ["sh", "-c", documentation.vmm_command()]


def adapted(machine, function, more=(), **properties):
    """That command for another function, with more options of QEMU and more properties of the device in it."""
    command = as_printed(machine)[-1].replace("\\\n", "").replace(PAGE_ADDRESS, function.address)
    words = shlex.split(command)
    words[-1] = json.dumps({**json.loads(words[-1]), **properties})
    return [*words, *BARE, *more]


def with_second(words, function):
    """The same with a second function: one `io serve` starts the other."""
    path = str(RUNTIME / "second.sock")
    device = {**json.loads(words[words.index("-device", words.index("-device") + 1) + 1]),
              "id": "second", "bus": "port1", "socket": {"type": "unix", "path": path}}
    return ["vfwarden", "io", "serve", function.address, "--dma", f"--socket={path}", "--", *words,
            "-device", "pcie-root-port,id=port1,chassis=1", "-device", json.dumps(device)]


def by_plain_vfio(machine, function, more=()):
    """The same machine without vfwarden's session, for root: QEMU opens the function itself."""
    words = adapted(machine, function)
    words = words[words.index("--") + 1:]
    place = words.index("-device", words.index("-device") + 1) + 1
    words[place] = json.dumps({"driver": "vfio-pci", "id": DEVICE_ID, "bus": "port0", "host": function.address})
    return [*words, *more]


class Vmm:
    """The machine that `words` starts: as_printed(), adapted() and what is made of it."""

    def __init__(self, machine, words, user=USER):
        self.machine = machine
        RUNTIME.mkdir(parents=True, exist_ok=True)
        shutil.chown(RUNTIME, USER)
        self.monitor = RUNTIME / "nvme.qmp"
        self.monitor.unlink(missing_ok=True)
        self.errors = open(RUNTIME / "errors", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.said = ""
        machine.closers.append(self.close)

    def words(self):
        """What QEMU and the command said of themselves."""
        self.errors.seek(0)
        return self.errors.read()

    def _read(self):
        data = self.process.stdout.read()
        if data:
            text = data.decode(errors="replace")
            print(text, end="", flush=True)
            self.said += text
        return data != b""

    def wait_said(self, pattern, seconds=BOOT_SECONDS):
        """Until its serial port has said that; returns the match, and forgets all up to its end."""
        end = time.monotonic() + seconds * pace.SCALE
        while not (match := re.search(pattern, self.said, re.MULTILINE)):
            if time.monotonic() > end:
                raise Failed(f"the inner machine did not say {pattern!r}, but {self.said[-2000:]!r}; QEMU: {self.words()}")
            select.select([self.process.stdout], [], [], 1)
            if not self._read():
                raise Failed(f"QEMU has ended with {self.process.wait()}: {self.words()}")
        self.said = self.said[match.end():]
        return match

    def boot(self):
        """Until the inner shell can be asked."""
        self.wait_said(r"inner: ready\r?\n")

    def send(self, data):
        """Over its serial port."""
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def start(self, line):
        """Has the inner shell do something, and waits for nothing."""
        self.send(f"{line}\n".encode())

    def run(self, line, seconds=BOOT_SECONDS):
        """What a line of the inner shell prints."""
        self.start(f"{line}; echo 'inner:' $?")
        match = self.wait_said(r"(?P<output>[^\0]*?)^inner: (?P<status>\d+)\r?\n", seconds)
        if match["status"] != "0":
            raise Failed(f"{line!r} in the inner machine: status {match['status']}, {match['output']!r}")
        return match["output"].replace("\r", "")

    def interrupts(self, driver):
        """The numbers and kinds of the interrupts that the functions of a driver have had, from the inner kernel."""
        self.run(f"names=$(cd /sys/bus/pci/drivers/{driver}; for net in */net/*; do [ ! -e $net ] || echo ${{net##*/}}; done)")
        lines = self.run(f"for name in {driver} $names; do grep $name /proc/interrupts; done | sort -u").splitlines()
        print("\n".join(lines), flush=True)
        return [(int(line.split()[1]), line.split()[2]) for line in lines]

    def _connect(self):
        """To QMP; None before QEMU listens."""
        if self.process.poll() is not None:
            raise Failed(f"QEMU has ended with {self.process.returncode}: {self.words()}")
        end = socket.socket(socket.AF_UNIX)
        end.settimeout(ANSWER_SECONDS * pace.SCALE)
        try:
            end.connect(str(self.monitor))
            return end
        except (FileNotFoundError, ConnectionRefusedError):
            end.close()
            return None

    @contextlib.contextmanager
    def qmp(self):
        """Sends a command, and returns the answer."""
        with self.machine.wait(self._connect, f"QEMU to listen at {self.monitor}", BOOT_SECONDS) as end:
            with end.makefile("rw", encoding="utf-8") as file:
                def ask(command, **arguments):
                    file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
                    file.flush()
                    for line in file:
                        answer = json.loads(line)
                        if "return" in answer or "error" in answer:
                            return answer
                    raise Failed("QEMU has closed its monitor")
                file.readline()
                ask("qmp_capabilities")
                yield ask

    def pid(self):
        """Of QEMU itself, the last of those of which one has started the other."""
        pid = self.process.pid
        while children := pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pid, = children
        return int(pid)

    def end(self):
        """Its exit code, once it has ended; what it prints meanwhile is read."""
        end = time.monotonic() + ANSWER_SECONDS * pace.SCALE
        while self._read():
            if time.monotonic() > end:
                raise Failed(f"QEMU has not ended: {self.words()}")
            select.select([self.process.stdout], [], [], 1)
        return self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        print(f"QEMU and io serve: {self.words()}", flush=True)
        self.errors.close()
