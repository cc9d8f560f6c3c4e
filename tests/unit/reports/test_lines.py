from __future__ import annotations

import pytest

from pytest_nbgroups.reports.lines import one_line, plain_lines, without_middle


def test_one_line_joins_lines_and_removes_escapes() -> None:
    """Line ends, tabs and separators become single blanks and colours go."""
    assert one_line(" a\n\tb \x1b[31mred\x1b[0m\u2028c\x07 ") == "a b red c"


def test_surrogates_are_spelled_out() -> None:
    """A file name that is not UTF-8 can be written to every terminal and file."""
    assert one_line("caf\udce9.ipynb") == r"caf\udce9.ipynb"


def test_plain_lines_keep_inner_empty_lines_and_indentation() -> None:
    """Only the empty lines at both ends go, and tabs become blanks."""
    assert plain_lines("\n\n  a\n\n\tb  \n \n") == ["  a", "", "        b"]


def test_plain_lines_cut_what_nobody_reads() -> None:
    """One endless line does not fill the screen."""
    assert plain_lines("x" * 9999) == ["x" * 500 + "..."]


def test_without_middle_tells_how_much_is_missing() -> None:
    """The start and the end stay."""
    assert without_middle(list("abcdefg"), head=2, tail=1) == ["a", "b", "... 4 more lines", "g"]


def test_without_middle_keeps_what_a_remark_would_not_shorten() -> None:
    """A single line is shown instead of a remark about it."""
    assert without_middle(list("abcd"), head=2, tail=1) == list("abcd")


def test_without_middle_may_keep_one_end_only() -> None:
    """A tail of none is the head alone."""
    assert without_middle(list("abcd"), head=1, tail=0) == ["a", "... 3 more lines"]


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("::error file=x::boo", ": :error file=x::boo"),
        ("  ::stop-commands::x", "  : :stop-commands::x"),
        ("\x1b[0m::add-mask::a", ": :add-mask::a"),
        ("so ##[set-output name=a]b", "so # #[set-output name=a]b"),
        ("##vso[task.setvariable variable=a]b", "# #vso[task.setvariable variable=a]b"),
        ("std::vector ## heading [1] :: #[derive]", "std::vector ## heading [1] :: #[derive]"),
    ],
)
def test_no_line_is_a_command_of_a_ci_system(printed: str, shown: str) -> None:
    """What a notebook prints ends up in the log of a job, whose runner obeys such lines."""
    assert plain_lines(printed) == [shown]
    assert one_line(printed) == shown.strip()
