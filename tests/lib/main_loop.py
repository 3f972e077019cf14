"""What GLib's main loops need of those who run them in threads."""

from gi.repository import GLib


def quit_loop(loop):
    """From within its thread: what is asked of a loop that does not run yet is forgotten."""
    source = GLib.idle_source_new()
    source.set_callback(lambda *_: loop.quit())
    source.attach(loop.get_context())
