"""Files that a fork server has read and imported, to see if a plain start would now find others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import TypeAlias

Stamp: TypeAlias = tuple[int, int] | None
"""When a file or folder changed last, and its size; None if it is not there."""

_CUSTOM = ("sitecustomize.py", "usercustomize.py")
"""Modules that Python imports at its start, from the first folder that has them."""
_SITE_FOLDERS = {"site-packages", "dist-packages"}


@dataclass(kw_only=True)
class Surroundings:
    """Files and paths on which the imports of a fork server depend."""

    watched: dict[str, Stamp] = field(default_factory=dict)
    """Files that it has read, and paths that it would have read if they had been there."""
    modules: Mapping[str, str] = field(default_factory=dict)
    """Top-level modules -> the folder in which each was found."""

    def watch(self, paths: Iterable[str]) -> None:
        """Remember how they are now."""
        self.watched |= {path: _stamp(path) for path in paths}

    def changed(self) -> str | None:
        """A path that has come, gone or changed since; None if there is none."""
        return next((path for path, then in self.watched.items() if _stamp(path) != then), None)

    def hidden_by(self, folder: str) -> str | None:
        """An entry of the folder with the name of a module that was found elsewhere; None if there is none.

        A plain start looks in the directory of the experiment first, so it would import this entry instead.
        """
        for name, entry in importable(folder):
            found = self.modules.get(name)
            if found is not None and not _is_same(found, folder):
                return entry
        return None


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)  # noqa: PTH116  thousands of them, and a Path costs more than the call
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def read_at_start(folders: Iterable[str]) -> Iterator[str]:
    """Paths that decide the module search path and the code that Python runs at its start, present or not.

    ``folders`` are those in which it looks. A package that comes or goes changes the folder of its kind.
    """
    for folder in map(Path, folders):
        yield from (str(folder / name) for name in _CUSTOM)
        if folder.name in _SITE_FOLDERS:
            yield str(folder)
        for file in folder.glob("*.pth"):
            yield str(file)
            yield from _missing(file)


def _missing(file: Path) -> Iterator[str]:
    """Folders that a .pth file names and that are missing: Python passes over them."""
    with suppress(OSError, UnicodeDecodeError):
        for line in file.read_text("utf-8").splitlines():
            if line.strip() and not line.startswith(("#", "import ", "import\t")):
                named = file.parent / line.rstrip()
                if not named.exists():
                    yield str(named)


def importable(folder: str) -> Iterator[tuple[str, str]]:
    """Names of the modules and packages that lie in a folder, and the entries in which they do."""
    suffixes = all_suffixes()
    try:
        entries = os.listdir(folder)  # noqa: PTH208  names alone
    except OSError:
        return  # the start will fail in it
    for entry in entries:
        yield from ((entry[: -len(s)], entry) for s in suffixes if entry.endswith(s))
        # Without an __init__ it is a namespace package, which any module of its name precedes.
        if any(Path(folder, entry, f"__init__{s}").exists() for s in suffixes):
            yield entry, entry


def _is_same(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False
