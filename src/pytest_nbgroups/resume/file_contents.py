"""Digests of files, which are read again only if they may have changed."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from pytest_nbgroups.resume.bounds import ReadingBounds
from pytest_nbgroups.resume.checkpoint import FileState

_BLOCK = 2**20
_ZEROS = bytes(_BLOCK)
_SECTOR = 512
"""Unit of ``st_blocks``, whatever the file system."""
_SETTLED_AFTER_NS = 3 * 10**9
"""A file written more recently can change again and keep its times: some file systems count in
steps of two seconds."""


class FileContents:
    """Reads files within bounds; remembers the digests of this run and of earlier ones."""

    def __init__(self, bounds: ReadingBounds | None = None) -> None:
        self._known: dict[str, FileState] = {}
        self._bounds = bounds or ReadingBounds()

    def know(self, folder: str, files: Mapping[str, FileState]) -> None:
        """Take over known states of files, by their paths relative to a folder."""
        self._known |= {absolute(folder, path): state for path, state in files.items()}

    def state(self, path: str) -> FileState:
        """Return the state of a file now; follow links.

        A file with the size, times and inode of a settled state is not read again. A link without
        a target has a separate digest. Raises OSError, also if it is not a regular file,
        ReadingCutError and ReadingStoppedError.
        """
        self._bounds.at(path)
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

    def look(self, path: str) -> None:
        """Note the path that is read next. Raises ReadingCutError, ReadingStoppedError."""
        self._bounds.at(path)

    def content(self, path: str) -> str | None:
        """Return the digest of a file now: None if it is missing, empty if it cannot be read."""
        try:
            return self.state(path).sha256
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError):  # ValueError: the text cannot be a path
            return ""

    def _read(self, path: str, status: os.stat_result) -> FileState:
        newest = max(status.st_mtime_ns, status.st_ctime_ns)
        is_settled = time.time_ns() - newest > _SETTLED_AFTER_NS
        allocated = min(status.st_size, getattr(status, "st_blocks", status.st_size) * _SECTOR)
        self._bounds.expect(allocated)
        # Unbuffered: blocks are larger than Python's buffer, and seeks skip holes.
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  as above
            digest = self._digest(file, has_holes=allocated < status.st_size)
        return FileState(
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
            inode=status.st_ino,
            sha256=digest,
            settled=is_settled,
        )

    def _digest(self, file: BinaryIO, *, has_holes: bool) -> str:
        """Return the digest of the content. Holes count as zeros and are not read."""
        digest = hashlib.sha256()
        kept: list[int] = []  # start and end of each run of blocks that are not all zeros
        for index, block in self._blocks(file, has_holes=has_holes):
            if block == (_ZEROS if len(block) == _BLOCK else bytes(len(block))):
                continue
            digest.update(block)
            if not kept or kept[-1] != index:
                kept += [index, index]
            kept[-1] = index + 1
        size = os.fstat(file.fileno()).st_size
        if not size or (len(kept) == 2 and kept[0] == 0 and kept[1] * _BLOCK >= size):  # noqa: PLR2004
            return digest.hexdigest()
        return hashlib.sha256(f"{size} {kept} {digest.hexdigest()}".encode()).hexdigest()

    def _blocks(self, file: BinaryIO, *, has_holes: bool) -> Iterator[tuple[int, bytes]]:
        """Yield number and content of each block, except those in holes."""
        index = 0
        while True:
            if has_holes:
                index = max(index, _data_from(file, index * _BLOCK) // _BLOCK)
                file.seek(index * _BLOCK)
            block = self._block(file)
            if not block:
                return
            yield index, block
            index += 1

    def _block(self, file: BinaryIO) -> bytes:
        block = b""
        while len(block) < _BLOCK and (read := file.read(_BLOCK - len(block))):
            self._bounds.count(len(read))
            block = block + read if block else read
        return block


def _data_from(file: BinaryIO, position: int) -> int:
    """Return the position of the next data; the end of the file if only holes follow."""
    try:
        return os.lseek(file.fileno(), position, os.SEEK_DATA)
    except OSError as exc:
        if exc.errno == errno.ENXIO:
            return max(position, os.fstat(file.fileno()).st_size)
        return position  # a file system that does not know holes


def absolute(folder: str, path: str) -> str:
    return os.path.normpath(os.path.join(folder, path))  # noqa: PTH118  as above


def _is_same(known: FileState, status: os.stat_result) -> bool:
    return known.settled and (
        (known.size, known.mtime_ns, known.ctime_ns, known.inode)
        == (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    )


def _dangling(path: str) -> FileState:
    """Return the state of a link without a target. Raises OSError if there is no link."""
    target = os.readlink(path)  # noqa: PTH115  as above
    digest = hashlib.sha256(os.fsencode(f"link to nowhere: {target}"))
    return FileState(
        size=0, mtime_ns=0, ctime_ns=0, inode=0, sha256=digest.hexdigest(), settled=False
    )
