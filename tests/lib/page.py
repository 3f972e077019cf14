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
    def __init__(self, path):
        text = pathlib.Path(path).read_text(encoding="utf-8")
        lines, blocks = [], []
        for line in [*text.splitlines(), "end"]:
            if line.startswith("    ") or not line.strip() and lines:
                lines.append(line[4:])
            elif lines:
                blocks.append("\n".join(lines).rstrip("\n") + "\n")
                lines = []
        self.blocks = blocks
        self.commands = [command for block in blocks for command in self._commands(block)]

    @staticmethod
    def _commands(block):
        if block.startswith("#include") or not re.match(r"[#$] ", block):
            return []
        parts = re.split(r"^([#$]) ((?:.*\\\n)*.*)\n", block, flags=re.MULTILINE)[1:]
        return [Command(prompt == "#", line.replace("\\\n", ""), output)
                for prompt, line, output in zip(parts[::3], parts[1::3], parts[2::3])]
