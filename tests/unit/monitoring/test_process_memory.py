"""What one process has of memory. The processes are files here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_nbgroups.monitoring.process_memory import (
    Portion,
    ProcessMemory,
    ProcReader,
    PsutilReader,
)

STATUS = "Name:\tpython\nVmHWM:\t{peak} kB\nVmRSS:\t{rss} kB\nThreads:\t1\n"
ROLLUP = "55-66 ---p 0000 [rollup]\nRss:     {rss} kB\nPss:     {pss} kB\nPss_Dirty: 1 kB\n"


@pytest.fixture
def reader(tmp_path: Path) -> ProcReader:
    (tmp_path / "7").mkdir()
    return ProcReader(str(tmp_path))


def write(tmp_path: Path, **files: str) -> None:
    for name, text in files.items():
        (tmp_path / "7" / name).write_text(text)


def test_what_it_has_and_had(reader: ProcReader, tmp_path: Path) -> None:
    """In bytes; a peak that is older than the last reading is never below it."""
    write(tmp_path, status=STATUS.format(peak=30, rss=20))
    assert reader.memory(7) == ProcessMemory(rss_bytes=20 * 1024, peak_rss_bytes=30 * 1024)
    write(tmp_path, status=STATUS.format(peak=30, rss=40))
    assert reader.memory(7) == ProcessMemory(rss_bytes=40 * 1024, peak_rss_bytes=40 * 1024)


def test_what_is_its_own(reader: ProcReader, tmp_path: Path) -> None:
    """All of its own pages, and its part of those that it shares."""
    write(tmp_path, smaps_rollup=ROLLUP.format(rss=20, pss=5))
    assert reader.portion(7) == Portion(rss_bytes=20 * 1024, proportional_bytes=5 * 1024)


def test_a_process_that_has_ended(reader: ProcReader, tmp_path: Path) -> None:
    """A zombie has a status without numbers, and a portion of nothing."""
    for has_status in (False, True):
        if has_status:
            write(tmp_path, status="Name:\tpython\nState:\tZ (zombie)\n", smaps_rollup="")
        assert reader.memory(7) is None
        assert reader.portion(7) == Portion()


def test_a_process_that_may_not_be_read(reader: ProcReader, tmp_path: Path) -> None:
    """It has memory, and nothing tells how much of that is shared: not the same as nothing."""
    write(tmp_path, status=STATUS.format(peak=30, rss=20))
    assert reader.portion(7) is None


def test_a_platform_that_tells_less() -> None:
    """There is no portion, and a process that has ended has no memory."""
    reader = PsutilReader()
    found = reader.memory(os.getpid())
    assert found is not None
    assert found.peak_rss_bytes >= found.rss_bytes > 0
    assert reader.memory(2**22 + 1) is None
    assert reader.portion(os.getpid()) is None
