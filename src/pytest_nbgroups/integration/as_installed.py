"""Imports what runs experiments, and is imported in its place by the hooks that need it.

pytest rewrites the assertions of every module of a plugin. Nothing here needs that, and if Python may write no
bytecode, as in many containers, it takes each process half a second. So these modules are found before pytest finds
them, with the bytecode that was made when they were installed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_WITHIN = "pytest_nbgroups."


class _AsInstalled:
    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(name, path, target) if name.startswith(_WITHIN) else None


sys.meta_path.insert(0, _AsInstalled)

from pytest_nbgroups.integration import session  # noqa: E402  see above

__all__ = ["session"]
