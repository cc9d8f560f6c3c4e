"""Digests of files, which are read again only where they may have changed."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Mapping

from pytest_nbgroups.checkpoint import FileState

_CHUNK = 2**20
_SETTLED_AFTER_NS = 3 * 10**9
"""What was written more recently than this may be written again without a change of its times:
file systems count in up to two seconds."""


class ReadingStoppedError(Exception):
    """The run is being cancelled."""


class FileContents:
    """Reads files; remembers what it has read, and what earlier runs have.

    ``is_stopped`` is asked while a file is read; where it says so, ReadingStoppedError is raised.
    """

    def __init__(self, is_stopped: Callable[[], bool] = lambda: False) -> None:
        self._known: dict[str, FileState] = {}
        self._is_stopped = is_stopped

    def know(self, folder: str, files: Mapping[str, FileState]) -> None:
        """Take over what was known of files, by their paths relative to a folder."""
        self._known |= {absolute(folder, path): state for path, state in files.items()}

    def state(self, path: str) -> FileState:
        """The file as it is, links followed. Raises OSError, also for what is no regular file.

        A file whose size, times and inode are those of a settled state has its content. A link
        that leads nowhere has a content of its own.
        """
        try:
            status = os.stat(path)  # noqa: PTH116  thousands of times: half as slow
        except FileNotFoundError:
            return _dangling(path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is no regular file")
        known = self._known.get(path)
        if known is None or not _is_same(known, status):
            known = self._known[path] = self._read(path, status)
        return known

    def content(self, path: str) -> str | None:
        """Digest of the file as it is; None where there is none, empty where it cannot be read."""
        try:
            return self.state(path).sha256
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError):  # the second for what can be no path
            return ""

    def _read(self, path: str, status: os.stat_result) -> FileState:
        newest = max(status.st_mtime_ns, status.st_ctime_ns)
        is_settled = time.time_ns() - newest > _SETTLED_AFTER_NS
        digest = hashlib.sha256()
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  as above
            while chunk := file.read(_CHUNK):
                if self._is_stopped():
                    raise ReadingStoppedError
                digest.update(chunk)
        return FileState(
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
            inode=status.st_ino,
            sha256=digest.hexdigest(),
            settled=is_settled,
        )


def absolute(folder: str, path: str) -> str:
    return os.path.normpath(os.path.join(folder, path))  # noqa: PTH118  as above


def _is_same(known: FileState, status: os.stat_result) -> bool:
    return known.settled and (
        (known.size, known.mtime_ns, known.ctime_ns, known.inode)
        == (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    )


def _dangling(path: str) -> FileState:
    """A link that leads nowhere. Raises OSError for what is not there at all."""
    target = os.readlink(path)  # noqa: PTH115  as above
    digest = hashlib.sha256(os.fsencode(f"link to nowhere: {target}"))
    return FileState(
        size=0, mtime_ns=0, ctime_ns=0, inode=0, sha256=digest.hexdigest(), settled=False
    )
