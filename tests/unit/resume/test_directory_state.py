"""Which files of an experiment's directory count, and when they are read again."""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from pytest_nbgroups.core.units import Size
from pytest_nbgroups.resume.bounds import ReadingBounds, ReadingCutError, ReadingStoppedError
from pytest_nbgroups.resume.checkpoint import FileState
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


@pytest.mark.parametrize(
    ("path", "content"), [("gone", None), ("a.txt/below", None), (".", ""), ("nul\0", "")]
)
def test_what_has_no_content(tmp_path: Path, path: str, content: str | None) -> None:
    """What is not there is told from what cannot be read, as what a damaged checkpoint names."""
    write(tmp_path / "a.txt")
    assert FileContents().content(str(tmp_path / path)) == content


def test_a_directory_that_is_gone_has_no_files(tmp_path: Path) -> None:
    """A notebook may have removed it."""
    assert files(tmp_path / "gone") == {}


def test_a_file_that_is_settled_is_not_read_again(tmp_path: Path) -> None:
    """Its size, times and inode tell that it is the same."""
    path = write(tmp_path / "a.txt", "a")
    status = path.stat()
    known = FileState(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
        sha256="remembered",
        settled=True,
    )
    contents = FileContents()
    contents.know(str(tmp_path), {"a.txt": known})
    assert contents.content(str(path)) == "remembered"
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert contents.content(str(path)) == sha256(b"a").hexdigest()


def test_a_file_that_was_just_written_is_read_again(tmp_path: Path) -> None:
    """A second change within the same tick of the clock would not show in its times."""
    path = write(tmp_path / "a.txt", "a")
    status = path.stat()
    contents = FileContents()
    first = contents.state(str(path))
    assert not first.settled
    path.write_text("b")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert contents.content(str(path)) == sha256(b"b").hexdigest()


def test_reading_can_be_stopped(tmp_path: Path) -> None:
    """In the middle of a file."""
    path = write(tmp_path / "a.txt", "a")
    with pytest.raises(ReadingStoppedError):
        FileContents(ReadingBounds(is_stopped=lambda: True)).state(str(path))


def test_the_size_that_is_read_has_a_limit(tmp_path: Path) -> None:
    """A file that is over it is not even opened; what is known does not count."""
    path = write(tmp_path / "a.txt", "x" * 600)
    write(tmp_path / "b.txt", "x" * 600)
    contents = FileContents(ReadingBounds(folder=str(tmp_path), limit=Size(1000, "1kB")))
    contents.state(str(path))
    reason = (
        r"^to read b\.txt \(600 B\) after 600 B takes more than experiment_checkpoint_limit = 1kB; "
    )
    for later in (tmp_path / "b.txt", path):
        with pytest.raises(ReadingCutError, match=reason):
            contents.content(str(later))


def test_a_file_that_grows_while_it_is_read_has_a_limit(tmp_path: Path) -> None:
    """Its size is not known beforehand, as with files of /proc."""
    path = write(tmp_path / "a.txt", "x" * 2000)
    status = write(tmp_path / "small").stat()
    contents = FileContents(ReadingBounds(folder=str(tmp_path), limit=Size(1000, "1kB")))
    contents.look(str(path))
    with pytest.raises(ReadingCutError, match=r"^reading ended at a\.txt after 2 KiB, more than"):
        contents._read(str(path), status)


@pytest.mark.skipif(sys.platform != "linux", reason="makes holes")
def test_holes_are_not_read(tmp_path: Path) -> None:
    """A sparse file of a terabyte costs what it holds; its content counts, not its layout."""
    layouts: list[dict[int, bytes]] = [{}, {5: b"x"}, {3 * 2**20: b"x"}, {2**40 - 1: b"x"}]
    digests = []
    for number, layout in enumerate(layouts):
        with (tmp_path / str(number)).open("wb") as file:
            for position, data in layout.items():
                file.seek(position)
                file.write(data)
            file.truncate(2**40)
        limited = FileContents(ReadingBounds(limit=Size(3 * 2**20)))
        digests.append(limited.content(str(tmp_path / str(number))))
    assert len(set(digests)) == len(layouts)


@pytest.mark.skipif(sys.platform != "linux", reason="makes holes")
@pytest.mark.parametrize("size", [1, 2**20, 3 * 2**20, 3 * 2**20 + 5])
@pytest.mark.parametrize("data", [b"", b"x"])
def test_zeros_are_holes(tmp_path: Path, size: int, data: bytes) -> None:
    """A copy without the holes has the same content, and one that is longer another."""
    for name, length in [("holes", size), ("longer", size + 1)]:
        with (tmp_path / name).open("wb") as file:
            file.write(data)
            file.truncate(length)
    (tmp_path / "written").write_bytes((tmp_path / "holes").read_bytes())
    content = {
        name: FileContents().content(str(tmp_path / name))
        for name in ("holes", "longer", "written")
    }
    assert content["holes"] == content["written"] != content["longer"]
