"""What kernels write to their raw output, on its way to a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_nbgroups.kernel_host.kernel_log import KernelOutput

if sys.platform == "win32":
    pytest.skip("POSIX only", allow_module_level=True)


@contextmanager
def following(log: Path, limit_bytes: int = 1000) -> Iterator[KernelOutput]:
    output = KernelOutput(os.fspath(log), limit_bytes=limit_bytes)
    yield output
    output.close_writer()
    output.close()


def write(output: KernelOutput, data: bytes) -> None:
    """As a kernel does, and have it copied."""
    os.write(output.writer, data)
    output.copy()


def test_it_is_copied_as_it_is(tmp_path: Path) -> None:
    """Bytes that are no text included, behind what is there."""
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    with following(log) as output:
        write(output, b"\xff\x00\n")
        os.write(output.writer, b"not copied before the end")
    assert log.read_bytes() == b"before\n\xff\x00\nnot copied before the end"


def test_a_log_is_bounded(tmp_path: Path) -> None:
    """Its beginning and what came last are kept, and a line says how much is missing."""
    log = tmp_path / "log"
    with following(log) as output:
        for number in range(1000):
            write(output, b"%049d\n" % number)
            assert log.stat().st_size <= 1100
    text = log.read_text()
    assert text.startswith("0" * 49 + "\n" + f"{1:049}\n")
    assert text.endswith(f"{999:049}\n")
    assert " bytes left out here: a log is kept up to 1,000]\n" in text
    beginning, rest = text.split("\n[")
    note, end = rest.split("]\n")
    missing = int(note.split(" bytes")[0].replace(",", ""))
    assert len(beginning) + missing + len(end) == 50_000


def test_a_piece_larger_than_the_limit(tmp_path: Path) -> None:
    """Its end is kept, and the rest told of."""
    log = tmp_path / "log"
    with following(log) as output:
        write(output, b"x" * 5000 + b"end")
    assert log.stat().st_size <= 1100
    assert log.read_bytes().endswith(b"xend")
    assert b"[4,503 bytes left out here" in log.read_bytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_no_error_of_the_kernel() -> None:
    """What it writes is lost, and it goes on."""
    with following(Path("/dev/full")) as output:
        for _ in range(100):
            write(output, b"x" * 60_000)
        assert output.copy()


def test_the_end_is_seen(tmp_path: Path) -> None:
    """Once nobody can write any more there is nothing to wait for."""
    output = KernelOutput(os.fspath(tmp_path / "log"))
    assert output.copy()
    output.close_writer()
    assert not output.copy()
    output.close()
