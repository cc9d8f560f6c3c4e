"""Choice of the frames of a traceback to show beside the source of the failing cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from pytest_nbgroups.core.cell_lines import CellText
from pytest_nbgroups.core.model import CellReference, Failure, FailureKind
from pytest_nbgroups.reports.lines import plain_lines, without_middle

REPEATS = 2
"""Number of equal frames in a row that are all shown; more are counted."""

# IPython separates frames by empty lines; each begins with "File ..." or "Cell In[3], line 7".
_RULE = re.compile(r"-{20,}")
_TITLE = re.compile(
    r"\S+ +Traceback \(most recent call last\):?|An exception has occurred, use %tb .*"
)
_ARROW = re.compile(r"-+> ?(\d+)")
_NO_SOURCE = re.compile(
    r"[ ->]*\d+ 'Could not get source, probably due dynamically evaluated source code\.'"
)
_OF_CELL = re.compile(r"(?:Cell|Input) In ?\[(\d+)\],? (?:line (\d+)|in <cell line: (\d+)>\(\))")
_OF_MAGIC = re.compile(r"File (<[\w -]+>):(\d+)(?:, in (?:<module>|inner\(.*\)))?")


def split_traceback(failure: Failure, *, short: bool) -> tuple[list[str], list[str]]:
    """Return the frames below the failing cell's own, and the lines of the error itself.

    ``short`` keeps a location and a line of source for each frame.
    """
    lines = plain_lines(failure.traceback)
    start = _start_of_error(failure, lines)
    frames, error = lines[:start], _error(failure, lines[start:])
    if failure.kind is FailureKind.CELL:
        frames = _worth_showing(frames, failure.cell, short=short)
        frames = without_middle(frames, head=4, tail=8) if short else frames
        frames = without_middle(frames, head=20, tail=40)
    return frames, without_middle(error, head=3 if short else 20, tail=0 if short else 10)


def _start_of_error(failure: Failure, lines: list[str]) -> int:
    """Return the index of the last line that begins with the exception's name, as the message does."""
    name = re.match(r"[\w.]+", failure.message)
    if failure.kind is not FailureKind.CELL or name is None:
        return len(lines)
    begins = re.compile(rf"{re.escape(name[0])}(?::|$)")
    found = (index for index in reversed(range(len(lines))) if begins.match(lines[index]))
    return next(found, len(lines))


def _error(failure: Failure, lines: list[str]) -> list[str]:
    # IPython ends the line of an exception without a text in a colon.
    return plain_lines(failure.message) if lines in ([], [f"{failure.message}:"]) else lines


def _worth_showing(lines: Iterable[str], cell: CellReference | None, *, short: bool) -> list[str]:
    noise = (_RULE, _TITLE, _NO_SOURCE)
    kept = (line for line in lines if not any(each.fullmatch(line) for each in noise))
    paragraphs = [list(group) for is_text, group in groupby(kept, key=bool) if is_text]
    shown = [each for each in paragraphs if not _repeats(each, cell)]
    if short:
        return [line for each in _counted(map(_shortened, shown)) for line in each]
    return [line for each in _counted(shown) for line in ["", *each]][1:]


def _repeats(frame: list[str], cell: CellReference | None) -> bool:
    """Return whether a frame is that of the failing cell, whose source with the arrow is shown already."""
    if cell is None:
        return False
    text = CellText(cell.source)
    if of_magic := _OF_MAGIC.fullmatch(frame[0]):
        is_here = text.is_magic and text.magic_file.fullmatch(of_magic[1]) is not None
        return is_here and cell.line is not None and text.magic_line(int(of_magic[2])) == cell.line
    of_cell = _OF_CELL.fullmatch(frame[0])
    if of_cell is None or of_cell[1] != str(cell.execution_count):
        return False
    if text.is_magic:  # the whole cell as one line, with escapes
        return True
    arrow = next(filter(None, map(_ARROW.match, frame[1:])), None)
    number = int(arrow[1] if arrow else of_cell[2] or of_cell[3])
    return cell.line is not None and cell.line in text.meant(number)


def _shortened(frame: list[str]) -> list[str]:
    """Return the location and the line that was reached."""
    # A paragraph without an arrow is not a frame and stays whole.
    arrows = [line for line in frame[1:] if _ARROW.match(line)]
    return [frame[0], *arrows] if arrows else frame


def _counted(frames: Iterable[list[str]]) -> Iterator[list[str]]:
    """Yield the frames of a recursion once, with their number."""
    for frame, same in groupby(frames):
        times = sum(1 for _ in same)
        if times > REPEATS:
            yield [*frame, f"... the same frame {times - 1} more times"]
        else:
            yield from [frame] * times
