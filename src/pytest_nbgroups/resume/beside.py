"""The other experiments of a repository, as their checkpoints show them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from pytest_nbgroups.core.artifacts import Artifacts
from pytest_nbgroups.core.errors import CheckpointError
from pytest_nbgroups.resume.checkpoint_codec import decode_names
from pytest_nbgroups.resume.naming import UNNAMED, Names


class OtherExperiments:
    """Reads the paths that other experiments of the same artifacts folder name. Never raises."""

    def __init__(self, artifacts: Artifacts, experiment: str, root: str) -> None:
        self._folder = artifacts.folder
        self._own = artifacts.checkpoint(experiment)
        self._checkpoints = artifacts.checkpoint("x").parent
        self._root = root

    def beside(self, since_ns: int, running: Collection[str]) -> dict[str, Names]:
        """Return the experiments that run, or wrote their checkpoint since, by name.

        A running experiment has a checkpoint: it is written before its first notebook starts.
        """
        names = {}
        for name, path in self._others():
            with suppress(OSError):
                if name in running or path.stat().st_mtime_ns >= since_ns:
                    names[name] = self._names(path)
        return {name: each for name, each in names.items() if each is not None}

    def suspect(self, path: str, directory: str) -> str:
        """Return another experiment that may have written a file: it names the file or shares its directory."""
        is_inside = path.startswith(f"{directory}{os.sep}")
        for name, other in self._others():
            names = self._names(other)
            if names is None:
                continue
            shares = is_inside and names.directory == directory
            if shares or names.precision(path) > UNNAMED:
                return f"experiment {name}"
        return ""

    def _others(self) -> Iterator[tuple[str, Path]]:
        with suppress(OSError):
            for path in sorted(self._checkpoints.rglob("*.json")):
                if path != self._own:
                    yield path.relative_to(self._checkpoints).with_suffix("").as_posix(), path

    def _names(self, path: Path) -> Names | None:
        """Read the names in a checkpoint; None if it is damaged or of another version."""
        try:
            directory, texts = decode_names(path.read_text("ascii"))
        except (OSError, UnicodeDecodeError, CheckpointError):
            return None
        full = os.path.normpath(self._folder / directory)
        return Names(directory=full, root=self._root, texts=texts)
