"""Which files of an experiment's directory count, and when they are read again."""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from pytest_nbgroups.resume.directory_state import read_directory
from pytest_nbgroups.resume.file_contents import FileContents

LONG_AGO = 1_000_000_000


def write(path: Path, text: str = "x", *, at: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if at is not None:
        os.utime(path, (at, at))
    return path


def files(folder: Path, **kwargs: list[Path]) -> dict[str, str]:
    """Digests by path."""
    state = read_directory(folder, FileContents(), **kwargs)
    assert state.doubt == ""
    return {path: each.sha256 for path, each in state.files.items()}


def test_what_counts(tmp_path: Path) -> None:
    """Files at any depth, hidden ones too, but neither notebooks nor what tools leave."""
    for name in ("a.csv", "out/deep/b.npy", ".env", "out/experiment.toml", "test_it.py"):
        write(tmp_path / name, name)
    for name in (
        *("1.ipynb", "out/2.ipynb", "experiment.toml", ".DS_Store", "out/.nfs0001"),
        *(".git/HEAD", "out/__pycache__/x.pyc", ".ipynb_checkpoints/1.txt", ".pytest_cache/v"),
        *(".venv/pyvenv.cfg", ".venv/lib/x.py", "artifacts/log.txt"),
    ):
        write(tmp_path / name, name)
    names = ["a.csv", "out/deep/b.npy", ".env", "out/experiment.toml", "test_it.py"]
    expected = {name: sha256(name.encode()).hexdigest() for name in names}
    assert files(tmp_path, left_out=[tmp_path / "artifacts"]) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="makes links")
def test_links_count_with_what_they_lead_to(tmp_path: Path) -> None:
    """To a file, to a folder, to nowhere; one that leads back is passed over."""
    here = tmp_path / "here"
    write(here / "a.txt", "a")
    write(tmp_path / "data" / "b.txt", "b")
    (here / "file").symlink_to(tmp_path / "data" / "b.txt")
    (here / "folder").symlink_to(tmp_path / "data")
    (here / "back").symlink_to(here)
    (here / "self").symlink_to(here / "self")
    (here / "nowhere").symlink_to("gone-1")
    before = read_directory(here, FileContents())
    told = {path: each.sha256 for path, each in before.files.items()}
    assert told.keys() == {"a.txt", "file", "folder/b.txt", "nowhere"}
    assert told["file"] == told["folder/b.txt"] == sha256(b"b").hexdigest()
    assert before.doubt.startswith("self cannot be read: ")
    (here / "nowhere").unlink()
    (here / "nowhere").symlink_to("gone-2")
    assert read_directory(here, FileContents()).files["nowhere"].sha256 != told["nowhere"]


@pytest.mark.skipif(sys.platform == "win32", reason="makes a pipe")
def test_what_is_no_file_is_a_doubt(tmp_path: Path) -> None:
    """Nobody waits for what might come out of a pipe."""
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path / "a.txt")
    state = read_directory(tmp_path, FileContents())
    assert state.doubt == "pipe cannot be read: it is no file"
    assert set(state.files) == {"a.txt"}
    assert FileContents().content(str(tmp_path / "pipe")) == ""


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read all")
@pytest.mark.parametrize(("name", "verb"), [("a.txt", "read"), ("folder", "listed")])
def test_what_cannot_be_read_is_a_doubt(tmp_path: Path, name: str, verb: str) -> None:
    """A file or a folder."""
    write(tmp_path / "folder" / "b.txt")
    write(tmp_path / "a.txt")
    (tmp_path / name).chmod(0)
    try:
        assert read_directory(tmp_path, FileContents()).doubt.startswith(f"{name} cannot be {verb}")
    finally:
        (tmp_path / name).chmod(0o700)


def test_a_directory_that_is_gone_has_no_files(tmp_path: Path) -> None:
    """A notebook may have removed it."""
    assert files(tmp_path / "gone") == {}
