"""Lines of a cell, and the line of its source that a kernel means by a number.

A kernel numbers the lines of what it compiles. IPython removes a cell's leading blank lines first and joins a shell
command or a magic that goes on after a backslash; a cell magic compiles the lines below its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pytest_nbgroups.core.text import plain_text

_LINE_END = re.compile(r"\r\n|\r|\n")

# str.splitlines(), by which IPython and linecache split, ends a line at these as well.
_ODD_LINE_END = re.compile(r"[\v\f\x1c-\x1e\x85\u2028\u2029]")

# "!ls \", "%pip install \", "files = !ls \", "out = %magic \": the next line belongs to it.
_CONTINUED = re.compile(r"\s*(?:[^=]+=\s*)?[!%,;/?].*\\")
_ESCAPED = re.compile(r"[!%?,;/]")
_TRANSFORMED = "get_ipython()."
_PROMPT = re.compile(r"\s*(?:>>>|In \[\d+\]:|\.{3,}:?) ?")

_WAYS = 64
"""Limit on the ways to join commands that are searched for a line."""
_PLACES = 1_000_000
"""Limit on the lines in all ways together: one cell can have as many."""

_CUT = 20
"""A line with a shorter text is complete: longer ones can be cut."""

_MAGIC = re.compile(r"\s*%%(\w+)[^\S\n]*(.*)")
_OPTIONS = re.compile(r"(?:\s*-(?:[nrpvDlsT]\s*\S+|-?[a-zA-Z][\w-]*))*\s*")

# What each magic compiles the lines below it as; a SyntaxError of theirs has no file.
_MAGIC_FILES = {
    "time": re.compile(r"<timed (?:exec|eval)>|<unknown>"),
    "timeit": re.compile(r"<magic-timeit>|<unknown>"),
    "prun": re.compile(r"<string>"),
}
_NO_FILE = re.compile(r"(?!)")


def python_lines(source: str) -> list[str]:
    """Split a source as Python counts its lines, without blank ones at the end."""
    text = source.rstrip()
    return _LINE_END.split(text) if text else []


@dataclass(frozen=True)
class CellText:
    """The source of a cell, and the position of the lines that a kernel numbers."""

    source: str

    @cached_property
    def lines(self) -> list[str]:
        return python_lines(self.source)

    @cached_property
    def leading(self) -> int:
        """The number of leading blank lines, as IPython removes them."""
        text = "".join(self.source.splitlines(keepends=True)[: self._blank_pieces()])
        return len(_LINE_END.findall(text))

    def _blank_pieces(self) -> int:
        pieces = self.source.splitlines()
        return next((i for i, piece in enumerate(pieces) if piece and not piece.isspace()), 0)

    def meant(self, number: int) -> tuple[int, ...]:
        """Return the lines that a kernel's number can mean, the likeliest first."""
        found = (each[number - 1] for each in self._origins if 0 < number <= len(each))
        return tuple(dict.fromkeys(found))

    def line(self, number: int, shown: Mapping[int, str]) -> int | None:
        """Return the line that a kernel means; None if that is in doubt.

        ``shown`` are the numbers and texts of lines that its traceback shows, this one's or others'.
        """
        is_odd = _ODD_LINE_END.search(self.source)
        shown = {} if is_odd else {n: text for n, text in shown.items() if n <= number}
        found = {
            each[number - 1]
            for each in self._origins
            if 0 < number <= len(each) and self._agrees(each, shown)
        }
        return found.pop() if len(found) == 1 else None

    @cached_property
    def _origins(self) -> Sequence[Sequence[int]]:
        """The source line of each of the kernel's lines, for each way to join commands.

        The first way joins all. If there are too many ways, they end early, and later lines stay unknown.
        """
        # IPython joins lines only at a backslash with a bare line feed.
        if "\\\n" not in self.source or "\r" in self.source:
            return [range(self.leading + 1, len(self.lines) + 1)]
        ways: list[list[int]] = [[]]
        resumes = [0]
        for index, line in enumerate(self.lines[self.leading :], self.leading + 1):
            takes = [way for way, at in zip(ways, resumes, strict=True) if at <= index]
            for way in takes:
                way.append(index)
            # Only a tokenizer can distinguish a continued command from text that looks like one.
            if line.endswith("\\") and _CONTINUED.fullmatch(line):
                ways = [*map(list, takes), *ways]
                resumes = [self._continued_until(index) + 1] * len(takes) + resumes
            if len(ways) > min(_WAYS, _PLACES // len(self.lines)):
                break
        return ways

    def _continued_until(self, index: int) -> int:
        """Return the last line of a command that starts at a line and continues after backslashes."""
        while index < len(self.lines) and self.lines[index - 1].endswith("\\"):
            index += 1
        return index

    def _agrees(self, origins: Sequence[int], shown: Mapping[int, str]) -> bool:
        return all(
            0 < number <= len(origins) and self._reads(origins[number - 1], text)
            for number, text in shown.items()
            if text.strip()
        )

    def _reads(self, line: int, shown: str) -> bool:
        text = self.lines[line - 1]
        if _TRANSFORMED in shown and _ESCAPED.search(text):
            return True
        wanted, texts = _bare(shown), (_bare(text), _bare(_PROMPT.sub("", text, count=1)))
        if len(wanted) >= _CUT:  # rich cuts long lines off
            return any(each.startswith(wanted) for each in texts)
        return wanted in texts

    @cached_property
    def _magic(self) -> re.Match[str] | None:
        return _MAGIC.fullmatch(self.lines[self.leading]) if self.lines else None

    @property
    def is_magic(self) -> bool:
        """True if a cell magic takes the whole cell."""
        return self._magic is not None

    @cached_property
    def magics(self) -> tuple[str, ...]:
        """The cell magics at its top, each with what follows it on its line; the outermost first."""
        if self._magic is None:
            return ()
        name, rest = self._magic.groups()
        return (f"%%{name} {rest}".strip(), *self.body.magics)

    @property
    def magic_file(self) -> re.Pattern[str]:
        """The pseudo file in which tracebacks show the lines below the magic."""
        return _MAGIC_FILES.get(self._magic[1] if self._magic else "", _NO_FILE)

    @cached_property
    def body(self) -> CellText:
        """The text below the line of the cell magic, from line `body_starts_at` on."""
        return CellText("\n".join(self.lines[self.leading + 1 :]))

    @property
    def body_starts_at(self) -> int:
        return self.leading + 2

    def magic_line(self, number: int) -> int | None:
        """Return the line of a number in the magic's pseudo file; None if that is in doubt."""
        if self._magic is None:
            return None
        name, rest = self._magic.groups()
        if name in {"timeit", "prun"} and not _OPTIONS.fullmatch(rest):
            # Code on the magic's own line: timeit numbers it apart, prun as the first of all.
            number -= name == "prun"
            if name == "prun" and number == 0:
                return self.leading + 1
            if name == "timeit" and number == 1:
                return None
        found = self.body.line(number, {})
        return None if found is None else found + self.body_starts_at - 1


def _bare(text: str) -> str:
    return "".join(plain_text(text).split())
