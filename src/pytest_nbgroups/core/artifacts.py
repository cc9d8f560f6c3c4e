"""The folder for the files of a run: executed notebooks, logs, records."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PIECE = 2**20


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """Paths below one folder, which git ignores. A folder is created when it is first used."""

    folder: Path

    def executed(self, experiment: str, notebook: str) -> Path:
        return self.folder / "notebooks" / experiment / notebook

    def log(self, experiment: str, notebook: str) -> Path:
        return self.folder / "logs" / experiment / f"{Path(notebook).stem}.log"

    def checkpoint(self, experiment: str) -> Path:
        return self.folder / "checkpoints" / f"{experiment}.json"

    def holds(self, path: Path) -> bool:
        """Return whether a path is the folder or lies in it, perhaps behind links."""
        # Not with Path.resolve, which raises for a link that leads to itself.
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.folder))

    def remove_earlier(self, experiment: str, *, keep: Iterable[str] = ()) -> None:
        """Remove the files of an earlier run of the experiment, so that no old file looks new.

        Files of the notebooks in ``keep`` and of experiments below it stay. Raises OSError, also if
        a link leads out of the folder.
        """
        kept = {
            path
            for name in keep
            for path in (self.executed(experiment, name), self.log(experiment, name))
        }
        for path in (self.executed(experiment, "*.ipynb"), self.log(experiment, "*")):
            self._check_inside(path)
            for old in set(path.parent.glob(path.name)) - kept:
                old.unlink(missing_ok=True)

    def make_room(self, path: Path) -> None:
        """Create the parent folders of an artifact's path. Raises OSError, also for a link."""
        self._check_inside(path)
        path.parent.mkdir(parents=True, exist_ok=True)

    def _check_inside(self, path: Path) -> None:
        # A link could lead to the user's notebooks, which are never modified.
        parts = path.parent.relative_to(self.folder).parts
        folders = [self.folder.joinpath(*parts[: n + 1]) for n in range(len(parts))]
        if link := next((folder for folder in folders if folder.is_symlink()), None):
            reason = f"{link} is a link, which could lead out of the artifacts folder; remove it"
            raise OSError(errno.ELOOP, reason)
        if ".." in parts:
            raise OSError(errno.EINVAL, f"{path} leads out of the artifacts folder")

    def prepare(self) -> None:
        """Create the folder, ignored by git; an existing one stays as it is. Raises OSError."""
        # Results must not end up in a commit, but a user's own rules stay.
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / ".gitignore", "*\n")


def has_content(path: Path) -> bool:
    """Return True if the file exists and is not empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def write_atomically(path: Path, *texts: str) -> None:
    """Write UTF-8 so that a reader sees the old file or the new one whole. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a rename across file systems is not atomic; without the file's own name,
    # which can be as long as a name can be.
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            for text in texts:
                # In pieces: encoding all at once would hold a second copy in memory.
                for start in range(0, len(text), _PIECE):
                    piece = text[start : start + _PIECE]
                    # Half of an emoji, which UTF-8 cannot encode, becomes a JSON escape.
                    file.write(piece.encode("utf-8", errors="backslashreplace"))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
