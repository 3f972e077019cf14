"""A copy of all objects of the daemon, kept up by its signals alone."""

import time

from vfwarden_bus import DEADLINE, MANAGER, OBJECT_MANAGER, PREFIX, PROPERTIES, ROOT, function_path

NEVER_TOLD = {"FunctionHandle"}  # properties that change without a signal, and say so (EmitsChangedSignal)


class Picture:
    """All objects as one who listens knows them: asked for once, then kept up by signals alone.

    It watches over the daemon's manners: a signal that changes nothing, that speaks of an object
    nobody announced, or announces one twice, goes to `faults`; and compare() says where
    this copy differs from what the daemon says when it is asked again."""

    def __init__(self, client):
        self.client = client
        self.objects = {}
        self.faults = []
        self._early = []
        self._ready = False
        self._heard = 0     # signals
        client.recorder.listeners.append(self._on_signal)
        self.manager = client.get_all(ROOT, MANAGER)
        self.objects = client.managed_objects()
        self._ready = True
        for signal in self._early:
            self._apply(signal)
        client.ping()
        # What came before the reply is in it already; what changed while it was made is signalled again after it.
        self.faults.clear()

    def _on_signal(self, signal):
        if self._ready:
            self._apply(signal)
        else:
            self._early.append(signal)

    def _apply(self, signal):
        self._heard += 1
        if signal.interface == OBJECT_MANAGER and signal.member == "InterfacesAdded":
            path, interfaces = signal.args
            known = self.objects.setdefault(path, {})
            for name, properties in interfaces.items():
                if not name.startswith(PREFIX):
                    continue
                if name in known:
                    self.faults.append(f"{path} got {name} which it already had")
                known[name] = properties
        elif signal.interface == OBJECT_MANAGER and signal.member == "InterfacesRemoved":
            path, interfaces = signal.args
            known = self.objects.get(path, {})
            for name in interfaces:
                if not name.startswith(PREFIX):
                    continue
                if known.pop(name, None) is None:
                    self.faults.append(f"{path} lost {name} which it never had")
            if not known:
                self.objects.pop(path, None)
        elif signal.interface == PROPERTIES and signal.member == "PropertiesChanged":
            name, changed, invalidated = signal.args
            if signal.path == ROOT:
                known = self.manager
            else:
                known = self.objects.get(signal.path, {}).get(name)
            if known is None:
                self.faults.append(f"PropertiesChanged for unannounced {signal.path} {name}")
                return
            for key, value in changed.items():
                if known.get(key) == value:
                    self.faults.append(f"{signal.path} {key} was said to change to {value!r},"
                                       " which it was already")
                known[key] = value
                if key == "VirtualFunctions" and set(value) - set(self.objects):
                    self.faults.append(f"{signal.path} names VFs that nobody announced: {value}")
            if invalidated:
                self.faults.append(f"{signal.path} only invalidates {invalidated}")

    def compare(self):
        """What differs from the daemon's own word now, as lines; empty is good."""
        # The reply comes after every signal that was sent before it. One that comes between it and the
        # comparison makes it old: something is ending still, and what is compared must be of one moment.
        self.client.ping()
        lines = list(self.faults)       # asking makes the daemon tell again what changes meanwhile
        end = time.monotonic() + DEADLINE
        heard = None
        while heard != self._heard and time.monotonic() < end:
            heard = self._heard
            truth = self.client.managed_objects()
            manager = self.client.get_all(ROOT, MANAGER)
        if manager != self.manager:
            lines.append(f"manager: heard {self.manager}, is {manager}")
        for path in sorted(set(truth) | set(self.objects)):
            heard, real = self.objects.get(path), truth.get(path)
            if heard == real:
                continue
            if heard is None or real is None:
                lines.append(f"{path}: heard {heard is not None}, exists {real is not None}")
                continue
            for name in sorted(set(heard) | set(real)):
                one, two = heard.get(name), real.get(name)
                if one is None or two is None:
                    lines.append(f"{path} {name}: heard {one}, is {two}")
                    continue
                for key in sorted(set(one) | set(two)):
                    if one.get(key) != two.get(key) and key not in NEVER_TOLD:
                        lines.append(f"{path} {key}: heard {one.get(key)!r}, is {two.get(key)!r}")
        return lines

    def function(self, address):
        """All properties of a function over its interfaces in one dict, or None."""
        interfaces = self.objects.get(function_path(address))
        if interfaces is None:
            return None
        flat = {}
        for name, properties in interfaces.items():
            if name.startswith(PREFIX):
                flat.update(properties)
        return flat
