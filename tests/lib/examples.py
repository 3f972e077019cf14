"""The examples of manuals and README, as they are printed there, and how a run of one is compared with it.

Before each example stands, as a comment, who runs it: `Run by FILE: NAME`, or `Run by FILE, FILE: NAME`. FILE is relative
to tests/ and has `example("NAME")`; see tests/lint/examples, which lets no example escape, and tests/vm/scenarios/manuals.py."""

import dataclasses
import re

MARK = re.compile(r'^(?:\.\\" |<!-- )Run by (?P<files>\S+(?:, \S+)*): (?P<name>[\w-]+)(?: -->)?$')
ROFF = {r"\-": "-", r"\(aq": "'", r"\(ga": "`", r"\(ha": "^", r"\(ti": "~", r"\(dq": '"', r"\e": "\\", r"\&": ""}
ROFF_ESCAPE = re.compile(r"\\\[u([0-9A-F]{4})\]|\\\(..|\\.")
# What is another one in each run: times, and numbers that stand alone. An address is the same in each.
KEPT_OR_NUMBER = re.compile(r"([0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])|\d{4}-\d\d-\d\d|\b\d+\b")


@dataclasses.dataclass
class Example:
    page: str
    line: int
    lines: list
    files: list = ()    # of the mark, empty without one
    name: str = None

    @property
    def place(self):
        return f"{self.page}:{self.line}"

    def steps(self):
        """(prompt, command, lines of output) of each command; without a prompt in it, each line is a command."""
        if not any(line.startswith(("$ ", "# ")) for line in self.lines):
            return [("# ", re.split(r" +# ", line)[0], []) for line in joined(self.lines) if line]
        steps = []
        for line in joined(self.lines):
            if line.startswith(("$ ", "# ")):
                steps.append((line[:2], line[2:], []))
            else:
                steps[-1][2].append(line)
        return steps


def joined(lines):
    """Commands that go on in the next line, as one."""
    out, open_ = [], False
    for line in lines:
        if open_:
            out[-1] = f"{out[-1][:-1].rstrip()} {line.lstrip()}"
        else:
            out.append(line)
        open_ = line.endswith("\\")
    return out


def plain(line):
    """A line of roff inside an example, as it is shown."""
    def character(match):
        if match[1]:
            return chr(int(match[1], 16))
        return ROFF[match[0]]
    return ROFF_ESCAPE.sub(character, line)


def of_roff(page, text):
    examples, current, mark = [], None, None
    for number, line in enumerate(text.splitlines(), 1):
        if line == ".EX":
            current = Example(page, number, [], *(mark or ()))
        elif line == ".EE":
            examples.append(current)
            current = None
        elif current:
            if current.lines and current.lines[-1].endswith("\\c"):
                current.lines[-1] = current.lines[-1][:-2] + plain(line)
            else:
                current.lines.append(line if line.endswith("\\c") else plain(line))
        found = MARK.match(line)
        mark = (found["files"].split(", "), found["name"]) if found else None
    return examples


def of_markdown(page, text):
    """Blocks that are indented by four; a mark is what stands before the blank line before one."""
    examples, current, mark, before = [], None, None, ""
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.startswith("    ") and (current or not before):
            if not current:
                current = Example(page, number, [], *(mark or ()))
                examples.append(current)
            current.lines.append(line[4:])
        elif line:
            found = MARK.match(line)
            mark, current = (found["files"].split(", "), found["name"]) if found else None, None
        elif current:
            current.lines.append("")
        before = line
    for example in examples:
        while not example.lines[-1]:
            example.lines.pop()
    return examples


def read(path):
    with open(path, encoding="utf-8") as file:
        return (of_markdown if path.endswith(".md") else of_roff)(path, file.read())


# What a command says only of what takes longer than a second; on a slow machine anything does: of an operation, on standard
# error, and of a holder that has released.
PROGRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]: [\w-]+ is in progress \(process \d+\), for \d+ s at most|"
                      r".*: (released|delays no more) after \d+ s, (\d+ s left|it should end now)")


def without_progress(lines):
    """What a command printed, but for the lines that only a slow machine sees."""
    return [line for line in lines if not PROGRESS.fullmatch(line.rstrip("\n"))]


def shape(line):
    """A line of output without what is another in each run, and without the widths of columns."""
    return " ".join(KEPT_OR_NUMBER.sub(lambda match: match[1] or ("DATE" if "-" in match[0] else "N"), line).split())


def differs(expected, actual):
    """What is wrong with the lines that a command printed, None if they are as they should be; "..." stands for any lines,
    and within a line for any words."""
    def fits(wanted, got):
        return re.fullmatch(".*".join(map(re.escape, wanted.split(" ... "))), got)

    def match(wanted, got):
        if not wanted:
            return not got
        if wanted[0] == "...":
            return any(match(wanted[1:], got[n:]) for n in range(len(got) + 1))
        return bool(got) and bool(fits(wanted[0], got[0])) and match(wanted[1:], got[1:])
    wanted, got = [shape(line) for line in expected], [shape(line) for line in actual]
    while got and not got[-1]:
        got.pop()
    if match(wanted, got):
        return None
    return "\n".join(["should be, but for numbers, dates and blanks", *expected, "and is", *actual])
