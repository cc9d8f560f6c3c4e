"""Files that a process has open for writing. The processes are folders here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pytest_nbgroups.resume.open_files import open_for_writing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def opened(proc: Path, pid: int, path: Path, flags: str, number: int = 3) -> None:
    """Have a process hold a file, with the flags as in fdinfo."""
    for folder in ("fd", "fdinfo"):
        (proc / str(pid) / folder).mkdir(parents=True, exist_ok=True)
    (proc / str(pid) / "fd" / str(number)).symlink_to(path)
    (proc / str(pid) / "fdinfo" / str(number)).write_text(f"pos:\t0\nflags:\t{flags}\nmnt_id:\t1\n")


@pytest.mark.parametrize(
    ("flags", "writes"), [("0100000", False), ("0100001", True), ("0102002", True)]
)
def test_only_writers_count(tmp_path: Path, flags: str, *, writes: bool) -> None:
    """A file that is open to be read is nobody's output."""
    log = tmp_path / "log"
    log.touch()
    opened(tmp_path / "proc", 7, log, flags)
    assert open_for_writing([str(log)], tmp_path / "proc") == ({str(log)} if writes else set())


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    """One of several files, found among several processes; a path that is gone is none."""
    log, other = tmp_path / "log", tmp_path / "other"
    log.touch()
    other.touch()
    opened(tmp_path / "proc", 7, other, "01")
    opened(tmp_path / "proc", 8, tmp_path / "gone", "01")
    opened(tmp_path / "proc", 8, log, "01", number=4)
    wanted = [str(log), str(tmp_path / "gone")]
    assert open_for_writing(wanted, tmp_path / "proc") == {str(log)}


def test_a_process_that_tells_nothing(tmp_path: Path) -> None:
    """Another user's, or one that has ended, keeps no other from being found."""
    log = tmp_path / "log"
    log.touch()
    (tmp_path / "proc" / "6").mkdir(parents=True)
    opened(tmp_path / "proc", 7, log, "01")
    assert open_for_writing([str(log)], tmp_path / "proc") == {str(log)}


def test_this_process(tmp_path: Path) -> None:
    """As the real /proc shows it, under whatever name the file is asked for."""
    log = tmp_path / "log"
    log.touch()
    (tmp_path / "link").symlink_to(log)
    with log.open("a"):
        assert open_for_writing([str(tmp_path / "link")]) == {str(tmp_path / "link")}
    descriptor = os.open(log, os.O_RDONLY)
    assert open_for_writing([str(log)]) == set()
    os.close(descriptor)
