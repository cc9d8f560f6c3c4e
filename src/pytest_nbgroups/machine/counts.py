"""Whole numbers as kernels and schedulers write them."""

from __future__ import annotations

_MOST_DIGITS = 20  # 2**64; and int() refuses thousands of digits with an error


def parse_count(text: str) -> int | None:
    """Read a whole number in plain digits; ``None`` for anything else, such as ``max`` or ``-1``."""
    text = text.strip()
    plain = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if plain else None
