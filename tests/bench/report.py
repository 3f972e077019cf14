"""The lines that the benchmark prints."""

import statistics


def median(values):
    return statistics.median(list(values))


def percentile(values, percent):
    """The value that `percent` of all do not exceed."""
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


class Report:
    """A table that is printed as it comes to be. `missed` are the figures that miss their target."""

    def __init__(self):
        self.missed = []
        self._world = ""

    def world(self, name):
        """What is printed from now on was measured there."""
        self._world = name
        return self

    def _miss(self, name):
        self.missed.append(f"{name} [{self._world}]")

    def heading(self, text, unit):
        print(f"\n{text}\n    {'':44} {'vfwardend':>10} {'reference':>10} {unit:6}"
              f" {'ratio':>6}  target", flush=True)

    def ratio(self, name, value, reference, most=None, digits=1):
        """`most` is the target for value / reference; without it the line is there to explain."""
        ratio = value / reference if reference else float("inf")
        verdict = ""
        if most is not None:
            verdict = f"<= {most}  " + ("met" if ratio <= most else "MISSED")
            if ratio > most:
                self._miss(name)
        print(f"    {name:44} {value:10.{digits}f} {reference:10.{digits}f} {'':6} {ratio:6.2f}"
              f"  {verdict}", flush=True)

    def fact(self, name, text, met=None):
        """Something that is no ratio; `met` False means that it must not be so."""
        verdict = "" if met is None else "  met" if met else "  MISSED"
        if met is False:
            self._miss(name)
        print(f"    {name:44} {text}{verdict}", flush=True)

    def end(self):
        print("\nEvery target is met." if not self.missed
              else "\nMissed: " + "; ".join(self.missed) + ".")
