"""Files that are locked for as long as somebody lives."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from pytest_nbgroups.leases import locked_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ticket"


def test_its_content_can_be_read_while_it_is_locked(path: Path) -> None:
    """Once nobody has it, who looks removes it."""
    descriptor = locked_file.create_locked(path, b"mine")
    assert locked_file.content_if_alive(path) == b"mine"
    locked_file.write(descriptor, b"MI")
    locked_file.write(descriptor, b"!", at=4)
    assert locked_file.content_if_alive(path) == b"MIne!"
    locked_file.close(descriptor)
    assert locked_file.content_if_alive(path) is None
    assert not path.exists()


def test_a_file_that_is_there_is_not_taken(path: Path) -> None:
    """It may be another's, and stays as it is."""
    path.write_bytes(b" theirs")
    with pytest.raises(FileExistsError):
        locked_file.create_locked(path, b"mine")
    assert path.read_bytes() == b" theirs"


def test_one_lock_at_a_time(path: Path) -> None:
    """Also within one process; unlocked, it can be had."""
    descriptor = locked_file.create_locked(path)
    other = locked_file.open_existing(path)
    assert other is not None
    assert not locked_file.try_lock(other)
    locked_file.unlock(descriptor)
    assert locked_file.try_lock(other)
    locked_file.close(other)


def test_what_cannot_be_written_whole_is_removed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ticket cut off by a full disk would say nothing, and hold for ever."""
    monkeypatch.setattr(os, "write", lambda _descriptor, content: len(content) - 1)
    with pytest.raises(OSError, match="the file system is full"):
        locked_file.create_locked(path, b"mine")
    assert not path.exists()


def test_a_descriptor_is_closed_once(path: Path) -> None:
    """Its number may have become another file's meanwhile."""
    descriptor = locked_file.create_locked(path)
    locked_file.close(descriptor)
    other = os.open(path, os.O_RDONLY)
    assert other == descriptor
    locked_file.close(descriptor)
    os.fstat(other)
    os.close(other)


@pytest.mark.skipif(sys.platform == "win32", reason="uses POSIX modes and links")
def test_who_may_read_it(path: Path) -> None:
    """Everybody, whatever the umask: whoever may not read a file cannot see that it is locked."""
    before = os.umask(0o077)
    try:
        descriptor = locked_file.create_locked(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    locked_file.close(descriptor)


@pytest.mark.skipif(sys.platform == "win32", reason="uses POSIX modes and links")
def test_what_is_no_file_of_ours(path: Path) -> None:
    """Links, folders and pipes are not opened, and nothing waits for them."""
    path.symlink_to("elsewhere")
    os.mkfifo(path.with_name("pipe"))
    path.with_name("folder").mkdir()
    for name in (path.name, "pipe", "folder", "gone"):
        assert locked_file.open_existing(path.with_name(name)) is None
        assert locked_file.content_if_alive(path.with_name(name)) is None
    assert path.is_symlink()


def test_a_child_that_is_forked_lets_go(path: Path) -> None:
    """Else it would keep alive what its parent has released."""
    descriptor = locked_file.create_locked(path, b"mine")
    copy = os.dup(descriptor)  # what the parent keeps, as the child is played by this process
    locked_file._close_in_child()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    os.close(copy)
    assert locked_file.content_if_alive(path) is None
