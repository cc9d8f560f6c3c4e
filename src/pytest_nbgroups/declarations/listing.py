"""Directories by their listings: their notebooks, and the directories below."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from pytest_nbgroups.core.model import SUFFIX

IsIgnored: TypeAlias = Callable[[Path], bool]
"""Return True for a path that collection leaves out."""


def notebooks_in(directory: Path, is_ignored: IsIgnored) -> dict[str, Path]:
    """Return file name -> path of the notebooks directly in a directory, unordered. Raises OSError."""
    found = {name: directory / name for name in listed_notebooks(directory)}
    return {name: path for name, path in found.items() if not is_ignored(path)}


def listed_notebooks(directory: Path) -> list[str]:
    """Return the names of the notebooks directly in a directory, ignored or not. Raises OSError."""
    with os.scandir(directory) as entries:
        found = [e.name for e in entries if e.name.endswith(SUFFIX) and _is_notebook(e)]
    return [name for name in found if not name.startswith(".")]


def _is_notebook(entry: os.DirEntry[str]) -> bool:
    """Return True for a file, or a link without a target: a missing step must be reported."""
    return _is(entry.is_file) or (entry.is_symlink() and not is_folder(entry))


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a folder, or a link to one."""
    return _is(entry.is_dir)


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link that leads to itself
        return False


def walk(
    directory: Path, is_ignored: IsIgnored, *, above: frozenset[str] = frozenset()
) -> Iterator[Path]:
    """Yield a directory and all below it that collection enters, parents first.

    ``above`` are the real paths of its ancestors on the walk.
    """
    real = os.path.realpath(directory)
    if real in above:  # a link that leads back to one of its own ancestors
        return
    yield directory
    try:
        with os.scandir(directory) as entries:
            folders = sorted(e.name for e in entries if is_folder(e))
    except OSError:
        return
    for name in folders:
        path = directory / name
        if not is_ignored(path):
            yield from walk(path, is_ignored, above=above | {real})


def nested_experiments(directory: Path, is_ignored: IsIgnored) -> tuple[Path, ...]:
    """Return the nearest directories below one that have notebooks, without those inside them."""
    found: list[Path] = []
    for path in walk(directory, is_ignored):
        is_inside = path == directory or not set(found).isdisjoint(path.parents)
        if not is_inside and _has_notebooks(path, is_ignored):
            found.append(path)
    return tuple(found)


def _has_notebooks(path: Path, is_ignored: IsIgnored) -> bool:
    try:
        return bool(notebooks_in(path, is_ignored))
    except OSError:
        return False
