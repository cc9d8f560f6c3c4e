from __future__ import annotations

import contextlib
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.units import (
    DURATION_EXAMPLES,
    SIZE_EXAMPLES,
    Size,
    counted,
    excess_texts,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    size_text,
    unit_of,
)

anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
nearly_sizes = st.from_regex(r"\A\s?[0-9]{0,30}\.?[0-9]{0,3}\s?[KMGTkmgt]?[Ii]?[Bb]?\s?\Z")
nearly_durations = st.from_regex(r"\A([0-9]{1,12}(\.[0-9])? ?(ms|s|sec|min|m|h|d|)){1,3}\Z")


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ("4GB", 4 * 10**9),
        ("4 GB", 4 * 10**9),
        ("4 gb", 4 * 10**9),
        (" 4GB\n", 4 * 10**9),
        ("4GiB", 4 * 2**30),
        ("4gib", 4 * 2**30),
        ("512MB", 512 * 10**6),
        ("1.5TiB", 3 * 2**39),
        ("2kb", 2000),
        ("0.5KiB", 512),
        ("7B", 7),
        ("4096", 4096),
        (4096, 4096),
        (2**63 - 1, 2**63 - 1),
    ],
)
def test_sizes(value: object, count: int) -> None:
    """GB is a power of ten, GiB of two; spaces and case do not matter."""
    assert parse_size(value).bytes == count


@pytest.mark.parametrize(
    "value",
    [
        "", "GB", "4 G", "4G", "4K", "4Gi", "4 GBs", "4,5GB", "4_000", "1e3", "1e3GB", "-4GB",
        "+4GB", ".5GB", "5.GB", "\u0661GB", "4GB 4GB", "0x10", "inf", "nan", "many", 4.0, 1.5,
        math.nan, math.inf, True, False, None, [], {}, ["4GB"], b"4GB", 10**400, "9" * 400 + "GB",
        2**63,
    ],
)  # fmt: skip
def test_what_is_no_size(value: object) -> None:
    """The message tells what is accepted, whatever was given."""
    with pytest.raises(ValueError, match=f"^expected {re.escape(SIZE_EXAMPLES)}$"):
        parse_size(value)


@pytest.mark.parametrize("value", ["0GB", "0", "0.0 MiB", "0.0001KB", 0, -1, -(10**400)])
def test_a_size_is_more_than_zero(value: object) -> None:
    """Nothing, or less, is no amount of memory."""
    with pytest.raises(
        ValueError,
        match=re.escape(
            'expected more than zero: a size such as "4GB" (10^9 bytes), "4GiB" (2^30), "512MB", '
            "or a whole number of bytes"
        ),
    ):
        parse_size(value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [("4 gb", "4 gb"), (" 4GB ", "4GB"), ("2147483648", "2 GiB"), (1536, "1.5 KiB")],
)
def test_sizes_are_shown_as_declared(value: object, shown: str) -> None:
    """A user finds in a message what stands in the file; bare bytes get a unit."""
    assert str(parse_size(value)) == shown


def test_sizes_are_equal_when_their_bytes_are() -> None:
    """How a size was written is for messages alone."""
    assert parse_size("1024MiB") == parse_size("1GiB") == Size(2**30)
    assert hash(parse_size("1024MiB")) == hash(Size(2**30))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (2 * 10**9, "1.9 GiB"),
        (17 * 2**30 + 2**28, "17.2 GiB"),
        (2**50, "1024 TiB"),
        (2**30 - 1, "1 GiB"),
    ],
)
def test_format_size(count: int, text: str) -> None:
    """One decimal, and none where it would be zero."""
    assert format_size(count) == text


@pytest.mark.parametrize(
    ("limit", "count", "texts"),
    [
        ("3GB", 3_010_000_000, ("3.01GB", "3GB")),
        ("3GB", 3_600_000_000, ("3.6GB", "3GB")),
        ("512 MiB", 600 * 2**20, ("600 MiB", "512 MiB")),
        ("1.5gib", 2**31, ("2gib", "1.5gib")),
        (3 * 10**9, 4 * 10**9, ("4GB", "3GB")),
        (2**30, 2**30 + 2**20, ("1.001 GiB", "1 GiB")),
        ("3GB", 3_000_000_001, ("3.000000001GB", "3GB")),
        ("2TB", 2 * 10**12 + 1, ("2TB", "2TB")),
    ],
)
def test_what_exceeds_a_limit(limit: object, count: int, texts: tuple[str, str]) -> None:
    """One unit, that of the declaration, and numbers that differ, down to a billionth of it."""
    assert excess_texts(count, parse_size(limit)) == texts


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (4 * 10**9, "4GB"),
        (2_500_000_000, "2.5GB"),
        (250 * 10**6, "250MB"),
        (2**32, "4 GiB"),
        (0, "0 B"),
    ],
)
def test_sizes_of_which_only_the_bytes_are_known(count: int, text: str) -> None:
    """Are shown as they were most likely declared."""
    assert size_text(count) == text
    assert str(unit_of(Size(count)).text(count)) == text


@given(st.integers(1, 2**60))
def test_formatted_sizes_can_be_read(count: int) -> None:
    """What a message shows can be declared, and is the same but for rounding."""
    assert parse_size(format_size(count)).bytes == pytest.approx(count, rel=0.06)


@given(anything | nearly_sizes)
def test_sizes_raise_nothing_but_value_errors(value: object) -> None:
    """Whatever a TOML file holds is either a size above zero or a ValueError."""
    with contextlib.suppress(ValueError):
        size = parse_size(value)
        assert 0 < size.bytes < 2**63


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("90s", 90),
        ("90 s", 90),
        ("90sec", 90),
        ("30min", 1800),
        ("30m", 1800),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        (" 1 h 30 min 15 s ", 5415),
        ("1.5h", 5400),
        ("2d", 172800),
        ("250ms", 0.25),
        ("90", 90),
        (" 1.5 ", 1.5),
        (90, 90),
        (0.5, 0.5),
    ],
)
def test_durations(value: object, seconds: float) -> None:
    """Parts add up; a number without a unit is seconds."""
    assert parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "s", "1h30", "30 1h", "1H", "1 hour", "1e3", "1_000", "+5", "-5", "-5s", ".5h",
        "5.", "\u0663", "\u0663s", "inf", "nan", "infinity", "1,5h", "1h,30m", math.nan, math.inf, -math.inf,
        True, False, None, [], {}, b"5s", 10**400, -(10**400), 1e300, "9" * 400, "9" * 400 + "s",
    ],
)  # fmt: skip
def test_what_is_no_duration(value: object) -> None:
    """The message tells what is accepted, whatever was given."""
    with pytest.raises(ValueError, match=f"^expected {re.escape(DURATION_EXAMPLES)}$"):
        parse_duration(value)


@pytest.mark.parametrize("value", ["0", "0s", "0h0m", 0, 0.0, -5, -0.1])
def test_a_duration_is_more_than_zero(value: object) -> None:
    """A deadline that is over at once is a slip."""
    with pytest.raises(
        ValueError,
        match=re.escape(
            'expected more than zero: a duration such as "90s", "30min", "1h30m", '
            "or a number of seconds"
        ),
    ):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00s"),
        (0.418, "0.42s"),
        (12.34, "12.3s"),
        (59.94, "59.9s"),
        (59.96, "1m00s"),
        (60, "1m00s"),
        (245.4, "4m05s"),
        (3599.6, "1h00m"),
        (5400, "1h30m"),
        (100 * 3600, "100h00m"),
    ],
)
def test_format_duration(seconds: float, text: str) -> None:
    """As fine as it matters, and never sixty of anything."""
    assert format_duration(seconds) == text


def test_whole_numbers_keep_their_zeros() -> None:
    """Only decimals that say nothing are left out."""
    unit = unit_of(Size(10**9, "1 GB"))
    assert unit.text(10 * 10**9, decimals=0) == "10 GB"
    assert unit.text(10 * 10**9) == "10 GB"
    assert unit.text(1_500_000_000) == "1.5 GB"


@pytest.mark.parametrize("value", [2**31, f"{2**31}s", -(2**31)])
def test_durations_have_a_limit(value: object) -> None:
    """The first that is too long is refused; a clock cannot hold it everywhere."""
    with pytest.raises(ValueError, match="expected"):
        parse_duration(value)


def test_from_ten_seconds_on_one_decimal_is_enough() -> None:
    """Below that there are two."""
    assert [format_duration(s) for s in (9.99, 9.996, 10)] == ["9.99s", "10.0s", "10.0s"]


@given(st.floats(0.01, 10**7))
def test_formatted_durations_can_be_read(seconds: float) -> None:
    """What a message shows can be declared, and is the same but for rounding."""
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=0.02, abs=0.006)


@given(anything | nearly_durations)
def test_durations_raise_nothing_but_value_errors(value: object) -> None:
    """Whatever a TOML file holds is either a duration above zero or a ValueError."""
    with contextlib.suppress(ValueError):
        seconds = parse_duration(value)
        assert 0 < seconds < 2**31


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 cpus"), (1, "1 cpu"), (1.0, "1 cpu"), (2.5, "2.5 cpus")]
)
def test_a_noun_follows_its_number(number: float, text: str) -> None:
    """One is singular, also as a float; no decimals that say nothing."""
    assert counted(number, "cpu") == text
