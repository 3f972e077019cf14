"""Assertions with words, and waiting for something with a deadline."""


class Failed(Exception):
    """An assertion that does not hold. Its text is what the host prints."""


def equal(actual, expected, what):
    if actual != expected:
        raise Failed(f"{what}: expected {expected!r}, got {actual!r}")


def true(value, what):
    if not value:
        raise Failed(what)


def contains(container, member, what):
    if member not in container:
        raise Failed(f"{what}: {member!r} is not in {container!r}")


def raises(kind, function, what):
    """Calls `function`, which must raise `kind`; returns what it raised."""
    try:
        value = function()
    except kind as error:
        return error
    raise Failed(f"{what}: no {kind.__name__}, but {value!r}")
