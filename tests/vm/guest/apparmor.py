"""What the kernel's AppArmor has loaded, and has refused."""

import contextlib
import pathlib

KERNEL = pathlib.Path("/sys/kernel/security/apparmor")


def profiles():
    """The modes of those that the kernel has loaded, by their names."""
    lines = (KERNEL / "profiles").read_text().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines)


def of_process(pid):
    """The profile that confines it, and its mode."""
    return pathlib.Path(f"/proc/{pid}/attr/current").read_text().strip()


def unload_all():
    for name in profiles():
        # One within another is gone with it.
        with contextlib.suppress(FileNotFoundError):
            (KERNEL / ".remove").write_text(name)


def log_all():
    """Else the kernel omits some of its messages."""
    pathlib.Path("/proc/sys/kernel/printk_ratelimit").write_text("0")


def denied(machine, *names):
    """What the kernel has logged that these profiles refused."""
    return [line for line in machine.run("dmesg").stdout.splitlines()
            if 'apparmor="DENIED"' in line and any(f'profile="{name}"' in line for name in names)]
