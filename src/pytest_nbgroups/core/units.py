"""Sizes and durations as people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_SIZE_FACTORS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_DURATION_FACTORS = {
    "ms": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_SECONDS = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*")
_DURATION_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|sec|s|min|m|h|d)\s*")

# Values that are read stay below these limits, so that later arithmetic cannot overflow.
SIZE_LIMIT = 2**63
DURATION_LIMIT = 2**31

SIZE_EXAMPLES = (
    'a size such as "4GB" (10^9 bytes), "4GiB" (2^30), "512MB", or a whole number of bytes'
)
DURATION_EXAMPLES = 'a duration such as "90s", "30min", "1h30m", or a number of seconds'


@dataclass(frozen=True)
class Size:
    """A number of bytes that remembers how it was declared; equal when the bytes are."""

    bytes: int
    declared: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.declared or format_size(self.bytes)


def parse_size(value: object) -> Size:
    """Read ``"4GB"``, ``"4GiB"``, ``"512 MB"`` or a whole number of bytes.

    Raises ValueError with what is accepted for anything else, zero and negative sizes included.
    """
    size = _size(value)
    if size is None or size.bytes >= SIZE_LIMIT:
        raise ValueError(f"expected {SIZE_EXAMPLES}")
    if size.bytes <= 0:
        raise ValueError(f"expected more than zero: {SIZE_EXAMPLES}")
    return size


def _size(value: object) -> Size | None:
    if isinstance(value, int) and not isinstance(value, bool):  # True is an int for Python
        return Size(value)
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    factor = _SIZE_FACTORS.get(match[2].upper() or "B") if match else None
    if match is None or factor is None:
        return None
    count = min(float(match[1]) * factor, SIZE_LIMIT)
    return Size(round(count), match[0].strip() if match[2] else "")


def counted(number: float, noun: str) -> str:
    """Render ``1 gpu``, ``2.5 cpus``."""
    return f"{number:g} {noun}{'s' if number != 1 else ''}"


def format_size(count: int) -> str:
    """Render bytes with a binary unit and one decimal: ``17.2 GiB``."""
    amount, units = float(count), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while round(amount, 1) >= 1024 and unit != "TiB":  # noqa: PLR2004  the step between binary units
        amount, unit = amount / 1024, next(units)
    number = f"{amount:.1f}".removesuffix(".0")
    return f"{number} {unit}"


@dataclass(frozen=True)
class SizeUnit:
    """A unit as a user writes it: ``GB`` in ``4GB``, ``MiB`` after a space in ``512 MiB``."""

    name: str
    gap: str = ""

    @property
    def factor(self) -> int:
        return _SIZE_FACTORS[self.name.upper()]

    def text(self, count: int, *, decimals: int = 1) -> str:
        """Render bytes in this unit, with at most this number of decimals."""
        number = f"{count / self.factor:.{decimals}f}"
        return f"{number.rstrip('0').rstrip('.') if decimals else number}{self.gap}{self.name}"


def unit_of(size: Size) -> SizeUnit:
    """Return the unit in which a size was declared."""
    if found := _SIZE.fullmatch(size.declared):
        return SizeUnit(found[2], " " if " " in size.declared else "")
    # For a bare number of bytes: a decimal unit if the number is short in it, else a binary one.
    for step, name in ((10**8, "GB"), (10**6, "MB")):
        if size.bytes and size.bytes % step == 0:
            return SizeUnit(name)
    return SizeUnit(format_size(size.bytes).partition(" ")[2], " ")


def size_text(count: int) -> str:
    """Render bytes in the unit in which they were most likely declared: ``4GB``, ``1.5 GiB``."""
    return unit_of(Size(count)).text(count)


def excess_texts(count: int, limit: Size) -> tuple[str, str]:
    """Render what exceeds a limit, and the limit as declared, in one unit and so that they differ."""
    unit = unit_of(limit)
    for decimals in range(1, 10):
        more, less = (unit.text(each, decimals=decimals) for each in (count, limit.bytes))
        if more != less:
            break
    return more, limit.declared or less


def parse_duration(value: object) -> float:
    """Read ``"90s"``, ``"30min"``, ``"1h30m"`` or a number of seconds; return seconds.

    Raises ValueError with what is accepted for anything else, zero and negative ones included.
    """
    seconds = _seconds(value)
    if seconds is None or seconds >= DURATION_LIMIT:
        raise ValueError(f"expected {DURATION_EXAMPLES}")
    if seconds <= 0:
        raise ValueError(f"expected more than zero: {DURATION_EXAMPLES}")
    return seconds


def _seconds(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if abs(value) < DURATION_LIMIT else None
    if not isinstance(value, str):
        return None
    plain = _SECONDS.fullmatch(value)
    return float(plain[1]) if plain else _sum_of_parts(value)


def _sum_of_parts(text: str) -> float | None:
    total, position = 0.0, 0
    while position < len(text):
        part = _DURATION_PART.match(text, position)
        if part is None:
            return None
        total += float(part[1]) * _DURATION_FACTORS[part[2]]
        position = part.end()
    return total if position else None


def format_duration(seconds: float) -> str:
    """Render seconds for people: ``0.42s``, ``12.3s``, ``4m05s``, ``1h30m``."""
    if round(seconds, 2) < 10:  # noqa: PLR2004  two decimals are of use below ten seconds only
        return f"{seconds:.2f}s"
    if round(seconds, 1) < 60:  # noqa: PLR2004
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"
