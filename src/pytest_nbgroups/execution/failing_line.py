"""The line of a cell at which it failed, as far as its traceback shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pytest_nbgroups.core.cell_lines import CellText
from pytest_nbgroups.execution.cell_files import kernel_file

# Python writes this between an exception and the next one of its chain.
_CHAINED = re.compile(
    r"^(?:The above exception was the direct cause|During handling of the above exception)",
    re.MULTILINE,
)

# Where a frame begins, as IPython since 8.7, since 8.0, before that, and Python itself write it:
#   Cell In[3], line 2, in f(x)                  Input In [3], in <cell line: 2>()
#   File ~/fit.py:7, in f(x)                     <ipython-input-3-0a1b2c> in <module>
#   File "/tmp/ipykernel_12/345.py", line 2, in <module>
# and rich a function of a cell:
#   in f:2
_FRAME = re.compile(
    r"[\s|]*(?:"
    r"(?:Cell|Input) In ?\[(?P<count>\d+)\](?:,? (?:line |in <cell line: )(?P<cell_line>\d+))?.*"
    r"|<ipython-input-(?P<input>\d+)-\w+> in .*"
    r'|File "(?P<quoted>[^"]*)", line (?P<quoted_line>\d+).*'
    r"|File (?P<file>.+?):(?P<file_line>\d+)(?:,? in .*|\(.*)?"
    r"|in (?P<boxed>\S+):\d+"
    r"|(?P<bare>\S*ipykernel_\d+[/\\]\d+\.py) in .*"
    r")"
)
_OLD_INPUT = re.compile(r"<ipython-input-(\d+)-\w+>")
_PSEUDO_FILE = re.compile(r"\d+\.py")
_SHOWN = re.compile(r"\s*(?P<arrow>-+>)? *(?P<number>\d+)(?P<text>(?: .*)?)")
_BARE_LINE = re.compile(r"(?:[\s|]*\| )?    (\S.*)")


@dataclass(frozen=True, kw_only=True)
class _Frame:
    count: int | None
    """Execution count of the cell that it is in, if the traceback names one."""
    file: str
    line: int
    shown: Mapping[int, str]
    """Numbers and texts of the lines that the traceback shows."""


def failing_line(source: str, traceback: str, execution_count: int | None) -> int | None:
    """Find the outermost line of a cell in its traceback; None if none of them is certain.

    Of chained exceptions the last one counts that passed through the cell.
    """
    text = CellText(source)

    def is_here(frame: _Frame) -> bool:
        if frame.count is not None:
            return execution_count in {None, frame.count}
        # A hash of 10 MB takes a second, and recent kernels count cells.
        return bool(_PSEUDO_FILE.fullmatch(frame.file)) and frame.file == kernel_file(source)

    for part in reversed(_CHAINED.split(traceback)):
        frames = list(_frames(part))
        for index, frame in enumerate(frames):
            if is_here(frame):
                if text.is_magic:
                    return _line_in_magic(text, frames[index + 1 :])
                return text.line(frame.line, frame.shown)
    return None


def with_lines_of_cell(traceback: str, source: str, execution_count: int | None) -> str:
    """The traceback with the line of the cell if it names one without showing numbered lines.

    So IPython does for a SyntaxError, and for every frame with ``%xmode Plain``.
    """
    text = CellText(source)
    plain = re.compile(rf"^( +Cell In ?\[{execution_count}\], line )(\d+)", re.MULTILINE)

    def place(match: re.Match[str]) -> str:
        meant = text.meant(int(match[2]))
        return f"{match[1]}{meant[0]}" if meant else match[0]

    return traceback if text.is_magic else plain.sub(place, traceback)


def _line_in_magic(text: CellText, frames: Sequence[_Frame]) -> int | None:
    """The line below a cell magic that failed. Magics may follow each other."""
    for index, frame in enumerate(frames):
        if not text.magic_file.fullmatch(frame.file):
            continue
        if not text.body.is_magic:
            return text.magic_line(frame.line)
        found = _line_in_magic(text.body, frames[index + 1 :])
        return None if found is None else found + text.body_starts_at - 1
    return None


def _frames(traceback: str) -> Iterator[_Frame]:
    lines = traceback.splitlines()
    starts = [index for index, line in enumerate(lines) if _FRAME.fullmatch(line)]
    for start, end in pairwise([*starts, len(lines)]):
        if (frame := _frame(lines[start], lines[start + 1 : end])) is not None:
            yield frame


def _frame(location: str, below: Sequence[str]) -> _Frame | None:
    match = _FRAME.fullmatch(location)
    assert match is not None  # noqa: S101  it was found by it
    found = match.groupdict()
    shown = [each for each in map(_SHOWN.fullmatch, below) if each]
    at = next((each["number"] for each in shown if each["arrow"]), None)
    number = at or _first(found, "cell_line", "quoted_line", "file_line")
    if number is None:
        return None
    file = _first(found, "quoted", "file", "bare") or ""
    old = _OLD_INPUT.fullmatch(file)
    count = old[1] if old else _first(found, "count", "input")
    return _Frame(
        count=None if count is None else int(count),
        file=re.split(r"[/\\]", file)[-1] if "ipykernel_" in file else file,
        line=int(number),
        shown={int(each["number"]): each["text"] for each in shown} or _bare_line(number, below),
    )


def _first(found: dict[str, str | None], *names: str) -> str | None:
    return next((found[name] for name in names if found[name] is not None), None)


def _bare_line(number: str, below: Sequence[str]) -> dict[int, str]:
    """The text of the line as Python shows it, without a number, right below the location."""
    match = _BARE_LINE.fullmatch(below[0]) if below else None
    return {int(number): match[1]} if match else {}
