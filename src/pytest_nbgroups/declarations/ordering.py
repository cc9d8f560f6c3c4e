"""Selection and order of the notebooks of a directory. Pure: names in, names out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from pytest_nbgroups.core.errors import SelectionError
from pytest_nbgroups.core.model import SUFFIX
from pytest_nbgroups.core.settings import OrderMode

_DIGITS = re.compile(r"(\d+)")
_NUMERIC_PREFIX = re.compile(r"\d")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The selected file names in order, the excluded ones with their reasons, and remarks."""

    names: tuple[str, ...]
    excluded: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key under which ``2-`` comes before ``10-`` and case does not matter.

    Ties (``a.ipynb``, ``A.ipynb``; ``1-`` and ``01-``) fall back to the plain name, so the order is total.
    """
    # Without the suffix: "fit" comes before "fit2", while "fit.ipynb" would not. In one form, because macOS
    # and Linux can write one name in two ways.
    parts = _DIGITS.split(unicodedata.normalize("NFC", name.removesuffix(SUFFIX)))
    key = [
        (0, int(part), "") if part.isdecimal() else (1, 0, part.casefold())
        for part in parts
        if part
    ]
    return tuple(key), name


def select(
    names: Iterable[str],
    *,
    mode: OrderMode = "natural",
    order: Sequence[str] | None = None,
    exclude: Mapping[str, str] | None = None,
    independent: bool = False,
) -> Selection:
    """Choose and order notebooks.

    ``order`` names every notebook that is not excluded, each once. Raises SelectionError if it names
    a missing or excluded file, repeats one or leaves one out.
    """
    excluded = _excluded(names := sorted(names, key=natural_key), exclude or {})
    kept = [name for name in names if name not in excluded]
    if order is not None:
        return Selection(names=_explicit(kept, order, excluded), excluded=excluded)
    natural, plain = kept, sorted(kept)
    chosen = natural if mode == "natural" else plain
    notes = () if independent else tuple(_remarks(natural, plain, mode))
    return Selection(names=tuple(chosen), excluded=excluded, notes=notes)


def _excluded(names: Iterable[str], patterns: Mapping[str, str]) -> dict[str, str]:
    return {
        name: reason
        for name in names
        for pattern, reason in patterns.items()
        if name == pattern or fnmatchcase(name, pattern)  # a name may have brackets in it
    }


def _explicit(
    kept: Sequence[str], order: Sequence[str], excluded: Mapping[str, str]
) -> tuple[str, ...]:
    for name in order:
        if name in excluded:
            raise SelectionError(
                f"order names {name!r}, which is also under exclude ({excluded[name]}); remove it from one of them"
            )
        if name not in kept:
            raise SelectionError(
                f"order names {name!r}, which is not in the directory; it has {_listed(kept)}"
            )
        if order.count(name) > 1:
            raise SelectionError(f"order names {name!r} twice; name each notebook once")
    if left_out := [name for name in kept if name not in order]:
        raise SelectionError(
            f"order leaves out {_listed(left_out)}; add it, or list it under exclude with a reason"
        )
    return tuple(order)


def _remarks(natural: Sequence[str], plain: Sequence[str], mode: OrderMode) -> Iterable[str]:
    if list(natural) != list(plain):
        used, other = (natural, plain) if mode == "natural" else (plain, natural)
        different = next(i for i, name in enumerate(used) if other[i] != name)
        yield (
            f"runs in {mode} order: {used[different]!r}, not {other[different]!r} as in "
            f"{'lexicographic' if mode == 'natural' else 'natural'} order"
        )
    unnumbered = [name for name in natural if not _NUMERIC_PREFIX.match(name)]
    if len(unnumbered) > 1:
        yield (
            f"{len(unnumbered)} notebooks have no numeric prefix ({_listed(unnumbered)}); "
            "their order is alphabetical, set order in experiment.toml to fix it"
        )


def _listed(names: Sequence[str], at_most: int = 4) -> str:
    shown = ", ".join(repr(name) for name in names[:at_most])
    more = len(names) - at_most
    return (f"{shown} and {more} more" if more > 0 else shown) or "none"
