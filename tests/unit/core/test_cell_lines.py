"""Lines of cells, and what a kernel means by their numbers."""

from __future__ import annotations

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.cell_lines import CellText, python_lines


@given(source=st.text(alphabet="a#\n\r\f\v\x85\u2028"))
def test_lines_are_those_that_python_counts(source: str) -> None:
    """Only line feeds and carriage returns end one."""
    comments = re.sub(r"^|\r\n|\r|\n", lambda match: f"{match[0]}#", source)
    (statement,) = ast.parse(f"{comments}\nx").body
    assert len(python_lines(f"{comments}\nx")) == statement.lineno


def test_blank_lines_at_the_end_do_not_count() -> None:
    """Nor does a source of nothing else have any."""
    assert python_lines("a\n\nb\n\n ") == ["a", "", "b"]
    assert python_lines(" \n\n") == []


@pytest.mark.parametrize(
    ("source", "meant"),
    [
        ("", []),
        ("a\nb", [(1,), (2,)]),
        ("\n \nb", [(3,)]),
        ("!ls \\\n  -l\na", [(1,), (3, 2), (3,)]),
        ("x = %note \\\n  \\\n  b\na", [(1,), (4, 2), (3,), (4,)]),
        ("!ls \\\r\n  -l\r\na", [(1,), (2,), (3,)]),
        ("x = 1 + \\\n  2", [(1,), (2,)]),
    ],
)
def test_the_lines_that_numbers_may_mean(source: str, meant: list[tuple[int, ...]]) -> None:
    """A command and what it goes on with is one line, unless it only looks like one."""
    text = CellText(source)
    assert [text.meant(number) for number in range(1, len(meant) + 1)] == meant
    assert text.meant(0) == text.meant(len(meant) + 1) == ()


def test_lines_that_are_shown_settle_it() -> None:
    """Those up to the one that is meant: what is behind it may be joined otherwise."""
    text = CellText("!ls \\\n -l\na\nb\na")
    assert text.line(2, {}) is None
    assert text.line(2, {1: "get_ipython().system('ls -l')", 2: "a", 3: "never"}) == 3
    assert text.line(2, {2: "b"}) is None


def test_too_many_commands_to_be_sure() -> None:
    """Nothing is said of what is behind them."""
    text = CellText("!ls \\\n -l\n" * 7 + "a")
    assert text.meant(1) == (1,)
    assert text.meant(14) == ()


@pytest.mark.timeout(300)
def test_a_cell_of_a_million_lines() -> None:
    """Each is looked at once; commands that may be joined in it would take too much memory."""
    text = "x = 1\n" * 1_000_000
    assert CellText(text).line(3, {3: "x = 1"}) == 3
    assert CellText(f"!ls \\\n -l\n{text}").line(3, {3: "x = 1"}) is None


@pytest.mark.parametrize(
    ("source", "magics"),
    [
        ("a", ()),
        ("%time a", ()),
        ("a\n%%time", ()),
        ("\n%%time\na", ("%%time",)),
        ("  %%time -n 3\n\n%%bash\nls", ("%%time -n 3", "%%bash")),
    ],
)
def test_the_magics_of_a_cell(source: str, magics: tuple[str, ...]) -> None:
    """At its top, blank lines between them or not."""
    text = CellText(source)
    assert text.magics == magics
    assert text.is_magic == bool(magics)


def test_a_magic_that_is_not_known() -> None:
    """It may do with its lines what it likes."""
    text = CellText("%%mine\na")
    assert text.magic_file.fullmatch("<string>") is None
    assert CellText("a").magic_line(1) is None
