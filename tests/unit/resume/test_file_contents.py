"""When files are read again, and what counts of them."""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from pytest_nbgroups.core.units import Size
from pytest_nbgroups.resume.bounds import ReadingBounds, ReadingCutError, ReadingStoppedError
from pytest_nbgroups.resume.checkpoint import FileState
from pytest_nbgroups.resume.file_contents import FileContents, absolute

LONG_AGO = 1_000_000_000


def write(path: Path, text: str = "x", *, at: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if at is not None:
        os.utime(path, (at, at))
    return path


@pytest.mark.parametrize(
    ("path", "content"), [("gone", None), ("a.txt/below", None), (".", ""), ("nul\0", "")]
)
def test_what_has_no_content(tmp_path: Path, path: str, content: str | None) -> None:
    """What is not there is told from what cannot be read, as what a damaged checkpoint names."""
    write(tmp_path / "a.txt")
    assert FileContents().content(str(tmp_path / path)) == content


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
        r"^reading b\.txt \(600 B\) after 600 B would exceed experiment_checkpoint_limit = 1kB; "
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


def test_a_link_to_nowhere_has_a_content(tmp_path: Path) -> None:
    """It changes with where the link leads, and is never taken for settled."""
    link = tmp_path / "link"
    states = []
    for target in ("there", "elsewhere"):
        link.symlink_to(target)
        states.append(FileContents().state(str(link)))
        link.unlink()
    assert states[0].sha256 != states[1].sha256
    assert not any(state.settled for state in states)


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    """A folder is not read, nor a pipe, which would keep the reader waiting."""
    with pytest.raises(OSError, match="is no regular file"):
        FileContents().state(str(tmp_path))


def test_paths_are_seen_from_the_folder() -> None:
    """Without ``..`` in them, so that one file has one path."""
    assert absolute("/repo/A", "../data/x") == "/repo/data/x"
    assert absolute("/repo/A", "/data/x") == "/data/x"
