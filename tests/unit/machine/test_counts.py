"""Whole numbers as kernels and schedulers write them."""

from __future__ import annotations

import pytest

from pytest_nbgroups.machine.counts import parse_count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        (" 42\n", 42),
        (str(2**64 - 1), 2**64 - 1),
        ("max", None),
        ("-1", None),
        ("+1", None),
        ("1_000", None),
        ("1.0", None),
        ("0x10", None),
        ("", None),
        ("\u0664", None),
        ("\u00b2", None),
        ("9" * 21, None),
        ("9" * 5000, None),
    ],
)
def test_plain_digits_are_a_number(text: str, count: int | None) -> None:
    """What int() would take besides, or refuse with an error, is none."""
    assert parse_count(text) == count
