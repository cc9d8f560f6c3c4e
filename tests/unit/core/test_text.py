from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.text import first_line, last_lines, plain_text, shortened

terminal_output = st.lists(
    st.sampled_from(
        ["\x1b[31m", "\x1b", "[", "0m", "\x1b]0;title", "\x07", "\x1b\\", "\r", "\n", "\x9b", "a"]
    )
    | st.text(max_size=5)
).map("".join)


@pytest.mark.parametrize(
    ("printed", "plain"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[38;2;1;2;3mtrue colour\x1b[m", "true colour"),
        ("\x1b[?25lhidden cursor\x1b[?25h", "hidden cursor"),
        ("\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]0;cut off\nthe next line stays", "\nthe next line stays"),
        ("\x1b(Bcharset\x1b=", "charset"),
        ("10%\r50%\r100%\n", "100%\n"),
        ("1\r2\n3\r4", "2\n4"),
        ("one\r\ntwo\r", "one\ntwo"),
        ("done\r\nnext\r\n", "done\nnext\n"),
        ("50%\r\x1b[K", "50%"),
        ("bell\x07 null\x00 delete\x7f next line\x85", "bell null delete next line"),
        ("日本語 é 😀", "日本語 é 😀"),
        ("\x9b31mred\x9b0m \x9d0;title\x9cone byte", "red one byte"),
        ("\x1bP1$r\x1b\\DCS \x1b_APC\x1b\\\x1b^PM\x07\x1bXSOS\nnext", "DCS \nnext"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("access\u202e\u2066 nimda\u2069\u202c", "access nimda"),
    ],
)
def test_plain_text(printed: str, plain: str) -> None:
    """What a reader of a terminal would see, in words alone."""
    assert plain_text(printed) == plain


@given(terminal_output)
def test_plain_text_has_no_control_characters(printed: str) -> None:
    """JUnit's XML and a log file can hold it."""
    controls = {c for c in plain_text(printed) if unicodedata.category(c) == "Cc"}
    assert controls <= {"\n", "\t"}


@given(terminal_output)
def test_plain_text_stays_as_it_is(printed: str) -> None:
    """Cleaning twice is cleaning once, and no line is lost."""
    plain = plain_text(printed)
    assert plain_text(plain) == plain
    assert plain.count("\n") == printed.count("\n")


def test_last_lines() -> None:
    """Blank lines at the end say nothing."""
    assert last_lines("a\nb\n\nc\n \n\n", 2) == "\nc"
    assert last_lines("a\nb", 5) == "a\nb"
    assert last_lines("", 5) == ""


def test_long_lines_are_cut() -> None:
    """A line of a megabyte must not fill a report."""
    assert last_lines("short\n" + "x" * 600, 2, width=5) == "short\nxxxx…"
    assert first_line("x" * 600, width=5) == "xxxx…"
    assert first_line("exact", width=5) == last_lines("exact", 1, width=5) == "exact"


@given(st.text("ab", max_size=120), st.integers(40, 60))
def test_a_text_is_shortened(text: str, width: int) -> None:
    """To no more than the width; one that fits stays as it is."""
    kept = shortened(text, width)
    assert len(kept) <= width
    assert (kept == text) == (len(text) <= width)
    assert kept == text or " characters left out … " in kept


def test_a_text_as_long_as_the_width_stays() -> None:
    """One more character is one too many."""
    assert shortened("a" * 50, 50) == "a" * 50
    assert shortened("a" * 51, 50) != "a" * 51


def test_what_is_left_out_is_counted() -> None:
    """A third of what is kept stands before it, the rest after."""
    assert shortened("a" * 1000 + "b" * 1000, 70) == (
        "a" * 10 + " … 1,970 characters left out … " + "b" * 20
    )


def test_first_line() -> None:
    """The first that says something."""
    assert first_line("\n  \n  said \nmore") == "said"
    assert first_line(" \n") == ""


@given(st.text(), st.integers(1, 5), st.integers(1, 20))
def test_lines_fit(text: str, count: int, width: int) -> None:
    """Never more lines, nor longer ones, than asked for."""
    lines = last_lines(text, count, width=width).splitlines()
    assert len(lines) <= count
    assert all(len(line) <= width for line in lines)
    assert len(first_line(text, width=width)) <= width
