"""Experiments that lie below another."""

from __future__ import annotations

from pathlib import Path

from pytest_nbgroups.directory import IsIgnored, notebook_names, walk


def nested_experiments(directory: Path, is_ignored: IsIgnored) -> tuple[Path, ...]:
    """The directories below one that have notebooks of their own, less what lies in them in turn."""
    found: list[Path] = []
    for path in walk(directory, is_ignored):
        is_inside = path == directory or not set(found).isdisjoint(path.parents)
        if not is_inside and _has_notebooks(path, is_ignored):
            found.append(path)
    return tuple(found)


def _has_notebooks(path: Path, is_ignored: IsIgnored) -> bool:
    try:
        return bool(notebook_names(path, is_ignored))
    except OSError:
        return False
