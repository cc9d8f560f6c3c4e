"""Paths that an experiment names, and the precision of each name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from pytest_nbgroups.hints.paths import ANY

Precision: TypeAlias = tuple[int, int]
"""Precision of a path's name: a larger tuple is more precise."""
UNNAMED: Precision = (0, 0)
_BELOW, _TAIL, _EXACT = 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class Names:
    """The texts of an experiment that may be paths, as `path_texts` gives them.

    Each counts as it is seen from the experiment's directory, and a part of a path, as ``data`` in
    ``ROOT / "data"``, from each folder above that up to the rootdir.
    """

    directory: str
    root: str
    texts: tuple[str, ...] = ()

    @cached_property
    def parents(self) -> tuple[str, ...]:
        """The folders above the directory up to the rootdir; empty if the rootdir is not above."""
        found, folder = [], self.directory
        while folder != self.root:
            above = os.path.dirname(folder)  # noqa: PTH120  for thousands of texts
            if above == folder:
                return ()
            folder = above
            found.append(folder)
        return tuple(found)

    @cached_property
    def exact(self) -> frozenset[str]:
        """The named paths outside of the directory, existing or not."""
        named = (path for path, is_whole in self._resolved() if is_whole)
        return frozenset(path for path in named if self._is_outside(path))

    @cached_property
    def beginnings(self) -> frozenset[str]:
        """Beginnings of partly named paths outside of the directory: ``/repo/data/run_``."""
        begun = {path for path, is_whole in self._resolved() if not is_whole}
        ancestors = {f"{parent}{os.sep}" for parent in self.parents}
        return frozenset(path for path in begun - ancestors if self._is_outside(path))

    def precision(self, path: str) -> Precision:
        """Return how precisely a path outside of the directory is named; UNNAMED if it is not."""
        if path in self.exact:
            return (_EXACT, 0)
        if os.path.basename(path) in self._tails:  # noqa: PTH119  as above
            return (_TAIL, 0)
        found = [len(folder) + 1 for folder in self._above(path) if folder in self.exact]
        found += [len(start) for start in self.beginnings if path.startswith(start)]
        return (_BELOW, max(found)) if found else UNNAMED

    def _above(self, path: str) -> Iterator[str]:
        while len(path) > len(self.root):
            path = os.path.dirname(path)  # noqa: PTH120  as above
            yield path

    @cached_property
    def _tails(self) -> frozenset[str]:
        """The last parts of named paths: ``x.csv`` of ``folder / "x.csv"``."""
        whole = (text for text in self.texts if not text.endswith(ANY))
        return frozenset(text.rpartition("/")[2] for text in whole) - {"", ".", ".."}

    def _resolved(self) -> Iterator[tuple[str, bool]]:
        """Yield each text as a path, and True if the text names the whole path."""
        for text in self.texts:
            is_whole = not text.endswith(ANY)
            known = text.removesuffix(ANY)
            is_part = not (known.startswith("..") or os.path.isabs(known))  # noqa: PTH117  as above
            for base in (self.directory, *(self.parents if is_part else ())):
                path = os.path.normpath(os.path.join(base, known))  # noqa: PTH118  as above
                ends = known.endswith("/") and not is_whole
                yield (f"{path}{os.sep}" if ends else path), is_whole

    def _is_outside(self, path: str) -> bool:
        """Return True for a path below the rootdir that is neither in the directory nor above it."""
        if not path.startswith(f"{self.root.rstrip(os.sep)}{os.sep}"):
            return False
        inside = path == self.directory or path.startswith(f"{self.directory}{os.sep}")
        return not inside and path not in self.parents
