"""Arguments that select an item again, even if pytest does not take its path."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from _pytest.pathlib import bestrelpath

from pytest_nbgroups.core.model import WHOLE_DIRECTORY
from pytest_nbgroups.declarations.listing import listed_notebooks
from pytest_nbgroups.reports.lines import one_line

_WORD = re.compile(r"\w[\w.+:\[\]-]*|\[[\w.+:\[\]-]+")
"""A name in an expression for ``-k``."""
_OPERATORS = {"and", "or", "not"}


def is_taken(text: str) -> bool:
    """Return whether pytest takes a path as an argument: it splits at ``[`` and ``::``."""
    return "[" not in text and "::" not in text


def arguments_for(config: pytest.Config, nodeid: str) -> list[str]:
    """Return the item as an argument, relative to the directory of the call.

    If pytest cannot take it, return the nearest folder above, and ``-k`` with the words of the rest.
    """
    path, item = _parted(config.rootpath, nodeid)
    target = config.rootpath / path
    shown = bestrelpath(config.invocation_params.dir, target)
    if _is_printable(config, target) and _can_name(target, item):
        return [f"{shown}::{item}" if item else shown]
    folders = (each for each in target.parents if each.is_relative_to(config.rootpath))
    folder = next((each for each in folders if _is_printable(config, each)), config.rootpath)
    rest = [*target.parts[len(folder.parts) :], item if item != WHOLE_DIRECTORY else ""]
    words = dict.fromkeys(word for part in rest for word in _WORD.findall(part))
    expression = " and ".join(word for word in words if word not in _OPERATORS)
    chosen = bestrelpath(config.invocation_params.dir, folder)
    return [chosen, "-k", expression] if expression else [chosen]


def _can_name(target: Path, item: str) -> bool:
    """Return whether an argument can name the item; for an experiment, the path of a notebook must do."""
    return one_line(item) == item and any(map(is_taken, _notebooks(target, item)))


def _notebooks(target: Path, item: str) -> Sequence[str]:
    """Return an experiment's notebooks, one of which pytest has to take; no condition for other items."""
    no_condition = ("",)
    if not os.path.isdir(target):  # noqa: PTH112  Path raises if a folder above cannot be entered
        return no_condition
    if item != WHOLE_DIRECTORY:
        return (item,)
    with suppress(OSError):
        return listed_notebooks(target) or no_condition
    return no_condition


def _parted(rootdir: Path, nodeid: str) -> tuple[str, str]:
    """Split a node id into path and rest."""
    # The longest path that exists, because the name of a folder may contain "::".
    parts = nodeid.split("::")
    splits = [("::".join(parts[:n]), "::".join(parts[n:])) for n in range(len(parts), 0, -1)]
    return next((s for s in splits if os.path.exists(rootdir / s[0])), splits[-1])  # noqa: PTH110


def _is_printable(config: pytest.Config, path: Path) -> bool:
    shown = bestrelpath(config.invocation_params.dir, path)
    return os.path.exists(path) and is_taken(shown) and one_line(shown) == shown  # noqa: PTH110
