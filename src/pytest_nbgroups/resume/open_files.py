"""Files that some process has open for writing (Linux)."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def open_for_writing(paths: Collection[str], proc: Path = _PROC) -> set[str]:
    """Return the files that a process of this user writes now; empty if that cannot be found out.

    Examples are the log of pytest itself, or the file that its output is sent to.
    """
    wanted = {}
    for path in paths:
        with suppress(OSError):
            status = os.stat(path)  # noqa: PTH116  it is compared with others' numbers
            wanted[status.st_dev, status.st_ino] = path
    return {wanted[key] for key in _written(proc, wanted.keys())} if wanted else set()


def _written(proc: Path, wanted: Collection[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for process in proc.glob("[0-9]*"):
        with suppress(OSError):  # another user's, or gone
            for descriptor in os.listdir(process / "fd"):  # noqa: PTH208  names are enough
                key = _key(process / "fd" / descriptor)
                if key in wanted and _writes(process / "fdinfo" / descriptor):
                    yield key


def _key(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116  thousands of times
    except OSError:  # closed since it was listed
        return (0, 0)
    return status.st_dev, status.st_ino


def _writes(info: Path) -> bool:
    """Return True if a descriptor was opened for writing: ``flags: 0100001``."""
    flags = next(line for line in info.read_text().splitlines() if line.startswith("flags:"))
    return bool(int(flags.split()[1], 8) & os.O_ACCMODE)
