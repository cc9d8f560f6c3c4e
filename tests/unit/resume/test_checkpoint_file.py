"""The file of a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_nbgroups.core.artifacts import Artifacts
from pytest_nbgroups.core.errors import CheckpointError
from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.resume.checkpoint import Checkpoint
from pytest_nbgroups.resume.checkpoint_file import CheckpointFile


def file_of(root: Path, directory: str = "experiments/A") -> CheckpointFile:
    experiment = Experiment(name="A", directory=root / directory, notebooks=())
    return CheckpointFile(Artifacts(folder=root / ".experiments"), experiment)


def checkpoint(directory: str) -> Checkpoint:
    return Checkpoint(directory=directory, session="s", names=("x",))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Also from a repository that has moved: paths are relative."""
    file = file_of(tmp_path / "repo")
    (tmp_path / "repo").mkdir()
    assert file.read() is None
    written = checkpoint(file.directory)
    assert file.write(written) == ""
    assert file.read() == written
    (tmp_path / "repo").rename(tmp_path / "moved")
    assert file_of(tmp_path / "moved").read() == written


def test_another_directory_of_the_same_name(tmp_path: Path) -> None:
    """Two roots may hold experiments of one name: the one's checkpoint is none of the other's."""
    file = file_of(tmp_path)
    file.write(checkpoint(file.directory))
    assert file_of(tmp_path, "more/A").read() is None


@pytest.mark.parametrize("content", [b"{", b"\xff", b""])
def test_a_damaged_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    """Not the same as none, since the user is told."""
    file = file_of(tmp_path)
    file.write(checkpoint(file.directory))
    file.path.write_bytes(content)
    with pytest.raises(CheckpointError):
        file.read()


def test_why_it_cannot_be_written(tmp_path: Path) -> None:
    """The reason is given, not raised, and an unreadable path is an error."""
    (tmp_path / ".experiments").touch()
    file = file_of(tmp_path)
    assert file.write(checkpoint(file.directory)) in {"File exists", "Not a directory"}
    with pytest.raises(CheckpointError, match="Not a directory"):
        file.read()
