"""The files of an experiment's directory at one moment."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pytest_nbgroups.core.model import DECLARATION_FILE, SUFFIX
from pytest_nbgroups.declarations.listing import is_folder
from pytest_nbgroups.resume.checkpoint import FileState
from pytest_nbgroups.resume.file_contents import FileContents

FOREIGN_FOLDERS = frozenset(
    {
        *(".git", ".hg", ".jj", ".svn"),
        *(".ipynb_checkpoints", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"),
    }
)
"""Folders of tools, which write there at any time; no notebook's result depends on them."""
_FOREIGN_FILES = frozenset({".DS_Store", "Thumbs.db"})
_FOREIGN_PREFIX = ".nfs"  # NFS renames a file that is removed while open
_ENVIRONMENT_FILE = "pyvenv.cfg"


@dataclass(frozen=True, kw_only=True)
class DirectoryState:
    """The files that count, and the reason why some may be missing."""

    files: dict[str, FileState] = field(default_factory=dict)
    """By path relative to the directory, with forward slashes."""
    doubt: str = ""


def read_directory(
    directory: Path, contents: FileContents, *, left_out: Collection[Path] = ()
) -> DirectoryState:
    """Read every file in or below a directory that a notebook may have read or written.

    These do not count: notebooks, the directory's experiment.toml, files in ``left_out``, virtual
    environments, the folders of version control and caches of tools. A link counts with the
    content of its target. A file that vanishes during the walk does not count.
    """
    walk = Walk(left_out, look=contents.look)
    files = {}
    for path, shown in walk.files(str(directory)):
        if shown == DECLARATION_FILE or shown.endswith(SUFFIX):
            continue
        try:
            files[shown] = contents.state(path)
        except FileNotFoundError:
            continue
        except OSError as exc:
            walk.doubts.append(f"{shown} cannot be read: {exc.strerror or 'it is no file'}")
    return DirectoryState(files=files, doubt=next(iter(walk.doubts), ""))


class Walk:
    """Finds the files in and below a folder, without those of tools. Follows links."""

    def __init__(
        self, left_out: Collection[Path] = (), *, look: Callable[[str], None] = lambda _path: None
    ) -> None:
        """Call ``look`` with each folder before listing it; it may raise."""
        self.doubts: list[str] = []
        """Reasons why files may be missing."""
        self._left_out = {os.path.realpath(path) for path in left_out}
        self.look = look

    def enters(self, shown: str, names: Collection[str]) -> bool:
        """Return True if the files of a folder count; ``names`` is its listing."""
        return not shown or _ENVIRONMENT_FILE not in names

    def files(
        self, folder: str, shown: str = "", *, above: frozenset[str] = frozenset()
    ) -> Iterator[tuple[str, str]]:
        """Yield the path of each file, and its path below ``shown``.

        A link to a folder that contains it, one of ``above``, is skipped: it would never end.
        """
        self.look(folder)
        real = os.path.realpath(folder)
        if real in above or real in self._left_out:
            return
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        except OSError as exc:
            self.doubts.append(f"{shown or '.'} cannot be listed: {exc.strerror or exc}")
            return
        if not self.enters(shown, [entry.name for entry in found]):
            return
        for entry in found:
            name = f"{shown}/{entry.name}" if shown else entry.name
            if is_folder(entry):
                if entry.name not in FOREIGN_FOLDERS:
                    yield from self.files(entry.path, name, above=above | {real})
            elif entry.name not in _FOREIGN_FILES and not entry.name.startswith(_FOREIGN_PREFIX):
                yield entry.path, name
