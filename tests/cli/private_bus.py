"""A dbus-daemon for one test."""

import os
import subprocess

from gi.repository import Gio

NAME = "org.vfwarden1"

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={directory}/bus</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{directory}/services</servicedir>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="false"/>
    <allow receive_sender="*"/>
    <allow send_type="signal"/>
  </policy>
</busconfig>
"""


class Bus:
    """A dbus-daemon of its own. With `activation`, a command line, the daemon is installed: the bus
    would start it so."""

    def __init__(self, directory, activation=None):
        self.address = f"unix:path={directory}/bus"
        os.mkdir(os.path.join(directory, "services"))
        if activation:
            with open(os.path.join(directory, "services", f"{NAME}.service"), "w",
                      encoding="utf-8") as file:
                file.write(f"[D-BUS Service]\nName={NAME}\nExec={activation}\n")
        config = os.path.join(directory, "bus.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(directory=directory))
        self._process = subprocess.Popen(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--nosyslog", "--nopidfile",
             "--print-address=1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        # It prints the address once it listens.
        if not self._process.stdout.readline():
            raise RuntimeError("dbus-daemon did not start")

    def connect(self):
        return Gio.DBusConnection.new_for_address_sync(
            self.address, Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT
            | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION, None, None)

    def close(self):
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
            self._process.stdout.close()
