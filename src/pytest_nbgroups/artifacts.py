"""The folder of what a run leaves behind: executed notebooks, logs, records."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
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

    def checkpoint(self, experiment: str) -> Path:
        return self.folder / "checkpoints" / f"{experiment}.json"

    def remove_earlier(self, experiment: str, *, keep: Iterable[str] = ()) -> None:
        """Remove what an earlier run of the experiment left, so that nothing old looks new.

        What belongs to the notebooks in ``keep`` stays; experiments below it keep theirs. Raises
        OSError.
        """
        kept = {
            path
            for name in keep
            for path in (self.executed(experiment, name), self.log(experiment, name))
        }
        for path in [
            *(self.folder / "notebooks" / experiment).glob("*.ipynb"),
            *(self.folder / "logs" / experiment).glob("*.log"),
        ]:
            if path not in kept:
                path.unlink(missing_ok=True)

    def prepare(self) -> None:
        """Create the folder, ignored by git. A folder that is there is left as it is. Raises OSError."""
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / ".gitignore", "*\n")


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 so that a reader sees the old file or the new one whole. Raises OSError.

    What UTF-8 cannot hold, such as half of an emoji, is written as JSON escapes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(text.encode("utf-8", errors="backslashreplace"))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
