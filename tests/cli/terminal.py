"""A terminal for the command: what it shows there, and keys that are pressed."""

import os
import pty
import select
import subprocess
import termios

from pace import DEADLINE


class Terminal:
    """A run of the command on a terminal of `lines`, whose output is read as it comes; with `keys` it also reads from
    there."""

    def __init__(self, argv, environment, keys=False, lines=24):
        self._leader, follower = pty.openpty()
        termios.tcsetwinsize(follower, (lines, 0))
        self.process = subprocess.Popen(argv, env=environment, stdin=follower if keys else subprocess.DEVNULL, stdout=follower,
                                        stderr=follower)
        os.close(follower)
        self.text = b""
        self._done = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._leader)

    def _read_more(self):
        """Returns False when nobody has the other side open any more."""
        if not select.select([self._leader], [], [], DEADLINE)[0]:
            raise AssertionError(f"nothing further, only {self.text!r}")
        try:
            data = os.read(self._leader, 65536)
        except OSError:  # EIO
            return False
        self.text += data
        return bool(data)

    def read_until(self, wanted):
        """Waits until the terminal has got `wanted` after what was waited for before."""
        while (at := self.text.find(wanted, self._done)) < 0:
            if not self._read_more():
                raise AssertionError(f"it ended: {self.text!r}")
        self._done = at + len(wanted)

    def type(self, keys):
        os.write(self._leader, keys)

    def modes(self):
        """Whether keys are shown, and whether they come by lines."""
        flags = termios.tcgetattr(self._leader)[3]
        return bool(flags & termios.ECHO), bool(flags & termios.ICANON)

    def end(self):
        while self._read_more():
            pass
        return self.process.wait(DEADLINE)

    def plain(self):
        return self.text.decode().replace("\r\n", "\n")
