"""Targets that take single values: sizes, times, options, names, and text for reports."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

from fuzz_inputs import paths, scalars, texts
from hypothesis import strategies as st
from report_samples import NODEID, ROOT, results

from pytest_nbgroups.core.errors import SelectionError
from pytest_nbgroups.core.units import (
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from pytest_nbgroups.declarations.ordering import natural_key, select
from pytest_nbgroups.integration.options.table import OPTIONS
from pytest_nbgroups.reports.failure import failure_headline, failure_lines
from pytest_nbgroups.reports.github import error_annotations
from pytest_nbgroups.reports.markdown import escaped
from pytest_nbgroups.reports.record import ExperimentRecord, RecordedAttempt

_amounts = st.tuples(
    st.integers(0, 10**20).map(str) | st.floats(0, 1e30).map(repr) | texts,
    st.sampled_from(["", " ", "GB", "gib", "MiB ", "s", "min", "h30m", "ms", "%", "d", "KB"]),
).map("".join)


def size(value: object, _folder: Path) -> str:
    """A size that reads the same when it is told again."""
    try:
        read = parse_size(value)
    except ValueError as exc:
        assert str(exc).startswith("expected ")
        return str(exc)
    assert 0 < read.bytes < 2**63
    assert parse_size(str(read) if read.declared else read.bytes) == read
    assert format_size(read.bytes)
    return ""


def duration(value: object, _folder: Path) -> str:
    """A time that is more than nothing."""
    try:
        seconds = parse_duration(value)
    except ValueError as exc:
        assert str(exc).startswith("expected ")
        return str(exc)
    assert 0 < seconds < 2**31
    assert parse_duration(seconds) == seconds
    assert format_duration(seconds)
    return ""


options = st.tuples(
    st.sampled_from([each for each in OPTIONS if not each.is_switch]),
    texts
    | _amounts
    | st.sampled_from(
        [
            "1/4",
            "4/4",
            "0/1",
            "²",
            "²/²",
            "1/²",
            "0,1",
            "1,",
            "GPU-1,MIG-2",
            "50%",
            "nan%",
            "inf",
            "1e400",
        ]
    ),
)


def option(given: tuple[Any, str], _folder: Path) -> str:
    """A value, or what is accepted."""
    option, text = given
    try:
        option.parse(text)
    except ValueError as exc:
        assert str(exc).startswith("expected "), (option.name, exc)
        return f"{option.name}: {exc}"
    return ""


_stems = paths | st.sampled_from(
    ["1-a", "2-a", "10-a", "a[1]", "A", "a", "²", "\u0661-x", "9" * 60]
)
names = st.lists(_stems.map("{}.ipynb".format), max_size=5, unique=True)
selections = st.tuples(
    names,
    st.sampled_from(["natural", "lexicographic"]),
    st.none() | st.lists(texts | _stems.map("{}.ipynb".format), max_size=4) | st.just("permuted"),
    st.dictionaries(texts | st.sampled_from(["*", "a[1].ipynb", "[", "1-*"]), texts, max_size=2),
)


def selection(given: tuple[Any, Any, Any, Any], _folder: Path) -> str:
    """Each name is selected or excluded, none twice; the order does not depend on the listing."""
    found, mode, order, exclude = given
    if order == "permuted":
        order = sorted(found, reverse=True)
    try:
        chosen = select(found, mode=mode, order=order, exclude=exclude)
    except SelectionError as exc:
        return str(exc)
    assert sorted([*chosen.names, *chosen.excluded]) == sorted(found)
    assert select(found[::-1], mode=mode, order=order, exclude=exclude).names == chosen.names
    assert sorted(found, key=natural_key) == sorted(sorted(found), key=natural_key)
    return ""


_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
_BIDI = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def report(ran: Any, _folder: Path) -> str:
    """Nothing in a report commands a terminal, a web page or GitHub."""
    lines = failure_lines(ran, rerun_command="pytest x", gpus_visible=True)
    lines += failure_headline(ran).split("\n")
    for line in lines:
        assert not {c for c in line if unicodedata.category(c) in _UNSEEN}, line
        assert not set(line) & _BIDI
        assert not line.strip().startswith("::")
        assert "##[" not in line
    record = ExperimentRecord(nodeid=NODEID, attempts=(RecordedAttempt(worker="", result=ran),))
    for annotation in error_annotations([record], workspace=ROOT):
        assert annotation.startswith("::error ")
        assert not {c for c in annotation if unicodedata.category(c) in _UNSEEN}
    assert not set(escaped(ran.name)) & set("<>|`*_[]\n")
    return ""


VALUE_TARGETS: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "sizes": (scalars | _amounts, size),
    "durations": (scalars | _amounts, duration),
    "option values": (options, option),
    "order and exclude": (selections, selection),
    "text in reports": (results(), report),
}
