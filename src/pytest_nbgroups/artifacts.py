"""The folder of what a run leaves behind: executed notebooks, logs, records."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """Paths below one folder, which ignores itself in git. Nothing is created before it is used."""

    folder: Path

    def executed(self, experiment: str, notebook: str) -> Path:
        return self.folder / "notebooks" / experiment / notebook

    def log(self, experiment: str, notebook: str) -> Path:
        return self.folder / "logs" / experiment / f"{Path(notebook).stem}.log"

    def prepare(self) -> None:
        """Create the folder and its ``.gitignore``. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            write_atomically(ignore, "*\n")


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 so that a reader sees the old file or the new one whole. Raises OSError.

    What UTF-8 cannot hold, such as half of an emoji, is written as JSON escapes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name has at most 255 bytes, a character up to four.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", errors="backslashreplace"))
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
