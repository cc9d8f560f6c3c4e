"""Files that the notebooks of an experiment may write outside of its directory."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from glob import iglob
from pathlib import Path
from typing import TypeAlias

from pytest_nbgroups.core.model import DECLARATION_FILE, SUFFIX, Experiment
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.declarations.listing import is_folder
from pytest_nbgroups.resume.directory_state import FOREIGN_FOLDERS, Walk
from pytest_nbgroups.resume.naming import Names

ENTRIES = 50_000
"""Limit on the files checked before and after a notebook: about a second on a local disk."""
PATIENCE_S = 5.0
"""Time limit for the same check, for slow disks."""

_TOOL_FOLDERS = frozenset({"node_modules", "site-packages"})

Stamp: TypeAlias = tuple[int, int, int, int]
"""Size, times and inode of a file."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The files outside at one moment, by absolute path."""

    files: Mapping[str, Stamp] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()
    """The files that ``[run] outputs`` names."""
    folders: frozenset[str] = frozenset()
    """The direct subfolders of the folders above the directory."""
    doubt: str = ""
    """Reason why files may be missing."""

    def changed_since(self, earlier: Snapshot) -> list[str]:
        """Return the files that are new or have changed."""
        return sorted(p for p, stamp in self.files.items() if earlier.files.get(p) != stamp)


class Outside:
    """Checks the files of the folders that an experiment names, and of those above its directory.

    Named folders count with all their files. Folders above count without their subfolders, except
    subfolders that appear while a notebook runs. Notebooks, hidden files and other experiments'
    directories count only if they are named.
    """

    def __init__(
        self,
        experiment: Experiment,
        settings: Settings,
        names: Names,
        *,
        look: Callable[[str], None] = lambda _path: None,
        entries: int = ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = names
        self._outputs = experiment.outputs
        self._left_out = (experiment.directory, settings.artifacts)
        self._look = look
        self._entries = entries
        self._clock = clock
        self._appeared: set[str] = set()
        self._doubt = ""

    def snapshot(self, since: Snapshot | None = None) -> Snapshot:
        """Check all files; enter folders that have appeared since an earlier snapshot, too."""
        declared = self._stamped(self._declared_paths())
        found, folders = self._found(since) if not self._doubt else ({}, frozenset())
        return Snapshot(
            files={**found, **declared},
            declared=frozenset(declared),
            folders=folders,
            # With declared outputs no other file matters, so a cut search is no doubt.
            doubt=self._doubt if self._outputs is None else "",
        )

    def _found(self, since: Snapshot | None) -> tuple[dict[str, Stamp], frozenset[str]]:
        """Search for files; a search that is too large is not repeated."""
        ends_at = self._clock() + PATIENCE_S
        try:
            folders = frozenset(self._folders_above())
            if since is not None:
                self._appeared |= folders - since.folders
            return self._stamped(self._limited(self._found_paths(), ends_at)), folders
        except _TooMuchError as exc:
            self._doubt = str(exc)
            return {}, frozenset()

    def _limited(self, paths: Iterator[str], ends_at: float) -> Iterator[str]:
        """Yield each path once. Raises _TooMuchError after a limit."""
        seen: set[str] = set()
        for path in paths:
            if len(seen) >= self._entries:
                raise _TooMuchError(f"more than {self._entries} files")
            if self._clock() > ends_at:
                raise _TooMuchError(f"files that take more than {PATIENCE_S:g} s to check")
            if path not in seen:
                seen.add(path)
                yield path

    @staticmethod
    def _stamped(paths: Iterable[str]) -> dict[str, Stamp]:
        return {path: stamp for path in paths if (stamp := _stamp(path))}

    def _declared_paths(self) -> Iterator[str]:
        for pattern in self._outputs or ():
            start = os.path.join(self._names.directory, pattern)  # noqa: PTH118
            for path in iglob(start, recursive=True, include_hidden=True):  # noqa: PTH207
                self._look(path)
                yield from self._below(path, enters_all=True)

    def _found_paths(self) -> Iterator[str]:
        for parent in self._names.parents:
            yield from self._listed(parent)
        for folder in sorted(self._appeared):
            if not any(Path(folder).glob(f"*{SUFFIX}")):
                yield from self._below(folder)
        for path in sorted(self._names.exact):
            yield from self._below(path)
        for folder in self._folders_of_named_files():
            yield from self._listed(folder)
        for folder in sorted({_folder_of(start) for start in self._names.beginnings}):
            if folder not in self._names.parents:
                yield from self._below(folder)

    def _below(self, path: str, *, enters_all: bool = False) -> Iterator[str]:
        """Yield the file, or all files in the folder."""
        path = os.path.normpath(path)
        if not os.path.isdir(path):  # noqa: PTH112  thousands of times
            if os.path.isfile(path):  # noqa: PTH113
                yield path
            return
        walk = (Walk if enters_all else _NearWalk)(self._left_out, look=self._look)
        for found, _ in walk.files(path):
            if _counts(found):
                yield found

    def _folders_of_named_files(self) -> list[str]:
        """Return the folders of named files: code can compute the names of more files there."""
        named = (path for path in self._names.exact if not os.path.isdir(path))  # noqa: PTH112
        return sorted({_folder_of(path) for path in named} - set(self._names.parents))

    def _folders_above(self) -> Iterator[str]:
        for parent in self._names.parents:
            folders = self._listed(parent, folders=True)
            yield from (path for path in folders if _name(path) not in FOREIGN_FOLDERS)

    def _listed(self, folder: str, *, folders: bool = False) -> Iterator[str]:
        """Yield the files directly in a folder, or its subfolders; hidden ones do not count."""
        self._look(folder)
        try:
            with os.scandir(folder) as entries:
                found = [e.path for e in entries if e.name[0] != "." and is_folder(e) == folders]
        except OSError:  # missing, or not readable by this user
            return
        yield from (path for path in found if folders or _counts(path))


class _TooMuchError(Exception):
    """There are more files than can be checked in time; the text is a doubt."""

    def __init__(self, files: str) -> None:
        super().__init__(
            f"the folders that it names hold {files}, so the files that it wrote there are not known; "
            "declare outputs in experiment.toml"
        )


class _NearWalk(Walk):
    """Enters neither hidden folders nor those of tools nor other experiments' directories."""

    def enters(self, shown: str, names: Collection[str]) -> bool:
        last = shown.rpartition("/")[2]
        is_strange = last.startswith(".") or last in _TOOL_FOLDERS
        is_other = any(name.endswith(SUFFIX) for name in names)
        return not shown or (super().enters(shown, names) and not is_strange and not is_other)


def _name(path: str) -> str:
    return os.path.basename(path)  # noqa: PTH119  thousands of times


def _folder_of(path: str) -> str:
    return os.path.dirname(path)  # noqa: PTH120  as above


def _counts(path: str) -> bool:
    name = _name(path)
    return not name.endswith(SUFFIX) and name != DECLARATION_FILE


def _stamp(path: str) -> Stamp | None:
    """Return the stamp of a file; None if the path is not a regular file now."""
    try:
        status = os.stat(path)  # noqa: PTH116  thousands of times: half as slow
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
