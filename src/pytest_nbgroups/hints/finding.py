"""Hints in the source of notebooks that they use GPUs or several CPUs. Pure: cells in, hints out."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_nbgroups.hints.signs import Sign, SignFinder
from pytest_nbgroups.hints.vocabulary import may_have_signs

Kind: TypeAlias = Literal["gpu", "parallel"]


@dataclass(frozen=True, kw_only=True)
class Hint:
    """One sign in one cell."""

    kind: Kind
    sign: str
    """Text in the source: ``n_jobs=-1``, ``device="cuda"``, ``import cupy``."""
    notebook: str
    cell: int
    """1-based, among all cells."""
    count: int | None = None
    """Number of processes or threads; None for all CPUs."""


@dataclass(frozen=True, kw_only=True)
class Hints:
    """Hints in the notebooks of one experiment, in the order in which they run."""

    found: tuple[Hint, ...] = ()

    @property
    def may_use_gpu(self) -> bool:
        """True if, by its source, the experiment uses a GPU that it sees."""
        return any(hint.kind == "gpu" for hint in self.found)

    @property
    def parallelism(self) -> Hint | None:
        """Return the first hint of several processes or threads."""
        return next((hint for hint in self.found if hint.kind == "parallel"), None)


def find_hints(
    notebook: str, cells: Iterable[tuple[int, str]], *, to_python: Callable[[str], str]
) -> tuple[Hint, ...]:
    """Return the signs in the code cells of one notebook, each once. Never raises.

    A cell is its number and its source. ``to_python`` returns the Python code of a cell with magics.
    """
    finder = SignFinder()
    found: dict[tuple[Kind, str], tuple[Sign, int]] = {}
    cells = list(cells)
    # Parsing is the cost of a scan, and one search of the text spares it.
    if not any(may_have_signs(source) for _, source in cells):
        return ()
    for number, source in cells:
        tree = _parse(source, to_python)
        for sign in finder.signs_in(tree) if tree else ():
            found.setdefault((sign.kind, sign.text), (sign, number))
    return tuple(
        Hint(kind=sign.kind, sign=sign.text, notebook=notebook, cell=number, count=sign.count)
        for sign, number in found.values()
    )


def _parse(source: str, to_python: Callable[[str], str]) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for example about "\d"; running the notebook shows them
        try:
            return ast.parse(source)
        except SyntaxError:
            pass
        except (ValueError, RecursionError, MemoryError):  # null bytes, surrogates, deep nesting
            return None
        try:
            return ast.parse(to_python(source))
        except Exception:  # noqa: BLE001  whatever is wrong with a cell, running it tells
            return None
