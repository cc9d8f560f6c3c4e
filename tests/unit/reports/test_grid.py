"""One layout for all tables of text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.reports.columns import display_width
from pytest_nbgroups.reports.grid import Layout, grid_lines

COLUMNS = {
    "name": ["Heart", "a-longer-name-of-an-experiment"],
    "count": ["5/7", "12/12"],
    "empty": ["", ""],
    "note": ["", "the reason for this"],
}
LAYOUT = Layout(right={"count"}, names="name", dispensable=("count",), notes="note", note_lines=2)


def text(width: int) -> list[str]:
    return [line for lines in grid_lines(COLUMNS, LAYOUT, width) for line in lines]


def test_wide() -> None:
    """All beside each other; a column without texts is left out."""
    assert text(80) == [
        "name                            count  note",
        "Heart                             5/7",
        "a-longer-name-of-an-experiment  12/12  the reason for this",
    ]


def test_narrow() -> None:
    """Notes stand below, then names are shortened, then columns left out."""
    assert text(40) == [
        "name                            count",
        "Heart                             5/7",
        "a-longer-name-of-an-experiment  12/12",
        "    the reason for this",
    ]
    assert text(24) == [
        "name               count",
        "Heart                5/7",
        "a-longe...eriment  12/12",
        "    the reason for this",
    ]
    assert text(16) == ["name", "Heart", "a-longe...riment", "    the reason", "    for this"]


def test_without_limit() -> None:
    """A table without names and notes is as wide as it must be."""
    assert grid_lines({"n": ["1", "10"], "": ["", "best"]}, Layout(right={"n"})) == [
        [" n"],
        [" 1"],
        ["10  best"],
    ]


cells = st.lists(st.text("ab 漢\u0301", max_size=20), min_size=2, max_size=2)


@given(st.fixed_dictionaries(dict.fromkeys(COLUMNS, cells)), st.integers(1, 60))
def test_no_line_is_too_wide(columns: dict[str, list[str]], width: int) -> None:
    """Whatever the cells hold, and in terminals that no one has."""
    for lines in grid_lines(columns, LAYOUT, width):
        assert all(display_width(line) <= width for line in lines)
