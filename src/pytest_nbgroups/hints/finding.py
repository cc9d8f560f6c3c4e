"""What the source of notebooks tells of GPUs and CPUs. Pure: cells in, hints out."""

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
    certain: bool
    """False where it takes effect only if a GPU or a library is there, or nothing tells whether it does."""
    sign: str
    """As it stands in the source: ``n_jobs=-1``, ``device="cuda"``, ``import cupy``."""
    notebook: str
    cell: int
    """1-based, among all cells."""
    line: int
    """1-based, of the cell; too low after a magic that goes over several lines."""
    count: int | None = None
    """Processes or threads asked for; None where that is all CPUs, or unknown."""


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What the notebooks of one experiment tell, in the order in which they run."""

    found: tuple[Hint, ...] = ()

    @property
    def wants_gpu(self) -> bool:
        """Without a GPU it is bound to fail."""
        return self.first("gpu") is not None

    @property
    def may_use_gpu(self) -> bool:
        """A GPU that it sees it is likely to use."""
        return any(hint.kind == "gpu" for hint in self.found)

    @property
    def is_parallel(self) -> bool:
        """It starts processes or threads of its own."""
        return self.first("parallel") is not None

    def first(self, kind: Kind) -> Hint | None:
        """The first that is certain."""
        return next((hint for hint in self.found if hint.kind == kind and hint.certain), None)


def find_hints(
    notebook: str, cells: Iterable[tuple[int, str]], *, to_python: Callable[[str], str]
) -> tuple[Hint, ...]:
    """The signs in the code cells of one notebook, each told once. Never raises.

    A cell is its number and its source. ``to_python`` is asked for the Python in a cell that is
    none: one with magics.
    """
    finder = SignFinder()
    found: dict[tuple[Kind, bool, str], Hint] = {}
    cells = list(cells)
    if not any(may_have_signs(source) for _, source in cells):
        return ()
    for number, source in cells:
        tree = _parse(source, to_python)
        for sign in finder.signs_in(tree) if tree else ():
            hint = _hint(sign, notebook, number)
            found.setdefault((hint.kind, hint.certain, hint.sign), hint)
    return tuple(found.values())


def _parse(source: str, to_python: Callable[[str], str]) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of "\d" and its like; running the notebook tells of them
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


def _hint(sign: Sign, notebook: str, cell: int) -> Hint:
    return Hint(
        kind=sign.kind,
        certain=sign.certain,
        sign=sign.text,
        notebook=notebook,
        cell=cell,
        line=sign.line,
        count=sign.count,
    )
