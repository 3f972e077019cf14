"""The indented blocks of a page in docs/, and the commands in them with what they print."""

import dataclasses
import pathlib
import re


@dataclasses.dataclass
class Command:
    """`root`: it is to be run by root ("# " before it), and not by a user ("$ ")."""
    root: bool
    line: str
    output: str


class Page:
    """`sections` maps a heading, "" for what is before the first, to the section's blocks."""

    def __init__(self, path):
        self.sections = {}
        heading, lines = "", []
        for line in [*pathlib.Path(path).read_text(encoding="utf-8").splitlines(), "end"]:
            if line.startswith("    ") or not line.strip() and lines:
                lines.append(line[4:])
                continue
            if lines:
                self.sections.setdefault(heading, []).append("\n".join(lines).rstrip("\n") + "\n")
                lines = []
            if line.startswith("## "):
                heading = line[3:]


def commands(block):
    """The commands of a block, [] when it has none."""
    if block.startswith("#include") or not re.match(r"[#$] ", block):
        return []
    parts = re.split(r"^([#$]) ((?:.*\\\n)*.*)\n", block, flags=re.MULTILINE)[1:]
    return [Command(prompt == "#", line.replace("\\\n", ""), output)
            for prompt, line, output in zip(parts[::3], parts[1::3], parts[2::3])]
