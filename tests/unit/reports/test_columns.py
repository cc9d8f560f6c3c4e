from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.reports.columns import display_width, pad, shorten_end, shorten_middle


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", 0),
        ("abc", 3),
        ("漢字", 4),
        ("e\u0301", 1),
        ("ﾊｰﾄ", 3),
        ("\uff21", 2),
        ("a\u200d\u20dd", 1),
    ],
)
def test_display_width(text: str, columns: int) -> None:
    """Wide characters take two columns, combining ones none."""
    assert display_width(text) == columns


@pytest.mark.parametrize(
    ("width", "shortened"),
    [
        (20, "Heart-GatedCT_To_USD"),
        (19, "Heart-Ga...T_To_USD"),
        (10, "Hear...USD"),
        (6, "He...D"),
        (5, "Heart"),
        (0, ""),
    ],
)
def test_shorten_middle(width: int, shortened: str) -> None:
    """The start and the end, which tell names apart, stay."""
    assert shorten_middle("Heart-GatedCT_To_USD", width) == shortened


def test_shorten_end() -> None:
    """The start, which says most, stays."""
    assert shorten_end("ValueError: bad value", 14) == "ValueError:..."


@given(st.text(), st.integers(0, 50))
def test_shortened_texts_fit(text: str, width: int) -> None:
    """No text is wider than asked."""
    assert display_width(shorten_middle(text, width)) <= width
    assert display_width(shorten_end(text, width)) <= width


def test_pad_counts_columns() -> None:
    """Cells below each other begin in the same column, whatever is written in them."""
    assert pad("漢字", 6) + "|" == "漢字  |"
    assert pad("7", 3, right=True) == "  7"
