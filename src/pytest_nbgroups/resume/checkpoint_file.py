"""The file of an experiment's checkpoint."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pytest_nbgroups.core.artifacts import Artifacts, write_atomically
from pytest_nbgroups.core.errors import CheckpointError
from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.resume.checkpoint import Checkpoint
from pytest_nbgroups.resume.checkpoint_codec import decode, encode


class CheckpointFile:
    """Reads and writes the checkpoint of one experiment."""

    def __init__(self, artifacts: Artifacts, experiment: Experiment) -> None:
        self.path = artifacts.checkpoint(experiment.name)
        self._artifacts = artifacts
        self._experiment = experiment

    @property
    def directory(self) -> str:
        """Path of the experiment: two rootdirs can hold experiments with the same name."""
        with suppress(ValueError):  # on another drive
            relative = os.path.relpath(self._experiment.directory, self._artifacts.folder)
            return Path(relative).as_posix()
        return self._experiment.directory.as_posix()

    def read(self) -> Checkpoint | None:
        """Read the checkpoint; None if this experiment has no checkpoint.

        Raises CheckpointError for a damaged one.
        """
        try:
            recorded = decode(self.path.read_text("ascii"))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as exc:
            raise CheckpointError(str(exc)) from exc
        return recorded if recorded.directory == self.directory else None

    def write(self, checkpoint: Checkpoint) -> str:
        """Write the checkpoint; return the error, or an empty text."""
        try:
            self._artifacts.prepare()
            self._artifacts.make_room(self.path)
            write_atomically(self.path, encode(checkpoint))
        except OSError as exc:
            return exc.strerror or str(exc)
        return ""
