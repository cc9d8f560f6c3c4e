from __future__ import annotations

from pytest_nbgroups.core.model import CellReference
from pytest_nbgroups.reports.source import source_lines


def cell(source: str, line: int | None = None) -> CellReference:
    return CellReference(number=1, count=1, source=source, line=line)


def test_the_failing_line_is_marked() -> None:
    """An arrow points at it, and indentation and empty lines stay."""
    assert source_lines(cell("for x in y:\n\n    f(x)\n", 3), around=8) == [
        "      1 for x in y:",
        "      2",
        "----> 3     f(x)",
    ]


def test_a_long_cell_is_windowed_around_the_failing_line() -> None:
    """What is left out above and below is counted."""
    source = "\n".join(f"step({n})" for n in range(1, 21))
    assert source_lines(cell(source, 10), around=1) == [
        "      ... 8 more lines above",
        "       9 step(9)",
        "----> 10 step(10)",
        "      11 step(11)",
        "      ... 9 more lines below",
    ]


def test_a_cell_without_a_failing_line_is_shown_from_its_start() -> None:
    """A cell that ran into a deadline has no line to mark."""
    assert source_lines(cell("a\nb\nc"), around=1) == [
        "      1 a",
        "      2 b",
        "      ... 1 more line below",
    ]


def test_an_empty_cell_has_no_lines() -> None:
    """Nothing is shown of nothing."""
    assert source_lines(cell(""), around=1) == []


def test_a_line_beyond_the_source_marks_nothing() -> None:
    """A reference that does not fit its source is no error."""
    assert source_lines(cell("a", 7), around=1) == ["      1 a"]


def test_lines_are_those_of_python() -> None:
    """A form feed or a line separator within a line ends none, so that numbers stay true."""
    lines = source_lines(cell("a = '\x0c'\r\nb = '\u2028'\rfit(a)\n", 3), around=8)
    assert [line[6] for line in lines] == ["1", "2", "3"]
    assert lines[2] == "----> 3 fit(a)"
