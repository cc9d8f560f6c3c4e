"""Files that are locked for as long as somebody lives: the operating system ends the lock.

On Linux and macOS the lock belongs to the open file, so a child that inherits the descriptor holds
it too. On Windows it is of the first byte, which nobody else can read then: contents begin after it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

_CONTENT_START = 1
_READ_LIMIT = 2**16  # a foreign file in the folder can have any size
_MODE = 0o644  # whoever may not read a file cannot see whether it is locked
_COMMON_FLAGS = (
    getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)  # another user's link could lead anywhere
    | getattr(os, "O_NONBLOCK", 0)  # a named pipe would keep us waiting
    | getattr(os, "O_BINARY", 0)
)

_ours: set[int] = set()
"""Every descriptor that this process holds a lock by."""


def create_locked(path: Path, content: bytes = b"") -> int:
    """Create a file that does not exist, lock it and write it. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _COMMON_FLAGS, _MODE)
    _ours.add(descriptor)
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, _MODE)  # whatever the umask
        lock_descriptor(descriptor, blocking=False)
        write(descriptor, content)
    except BaseException:
        close(descriptor)
        remove(path)
        raise
    return descriptor


def open_existing(path: Path) -> int | None:
    """A descriptor to read and lock by; None if there is no regular file that we may read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _COMMON_FLAGS)
    except OSError:
        return None
    _ours.add(descriptor)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    close(descriptor)
    return None


def try_lock(descriptor: int) -> bool:
    """Lock without waiting; False if another open file holds the lock. Raises OSError."""
    return lock_descriptor(descriptor, blocking=False)


def write(descriptor: int, content: bytes, *, at: int = 0) -> None:
    """Write without making the file any shorter. Raises OSError if not all could be written."""
    os.lseek(descriptor, _CONTENT_START + at, os.SEEK_SET)
    if os.write(descriptor, content) != len(content):
        raise OSError("the file system is full")


def read(descriptor: int) -> bytes:
    """The contents, cut at a length that no file of ours reaches. Raises OSError."""
    os.lseek(descriptor, _CONTENT_START, os.SEEK_SET)
    return os.read(descriptor, _READ_LIMIT)


def unlock(descriptor: int) -> None:
    """Unlock for every process that has inherited the descriptor, then close it."""
    with suppress(OSError):
        unlock_descriptor(descriptor)
    close(descriptor)


def close(descriptor: int) -> None:
    """End our part in the lock; one that inherited the descriptor keeps it."""
    if descriptor in _ours:
        _ours.discard(descriptor)
        os.close(descriptor)


def remove(path: Path) -> None:
    """Another user's file in a sticky folder stays."""
    with suppress(OSError):
        path.unlink()


def content_if_alive(path: Path) -> bytes | None:
    """Return the content of a file that is locked. Raises OSError.

    None for one that nobody has: it is removed. None too for one that we may not read; of ours only
    one whose process died in the midst of creating it is like that.
    """
    descriptor = open_existing(path)
    if descriptor is None:
        return None
    try:
        content = None if try_lock(descriptor) else read(descriptor)
    finally:
        close(descriptor)
    if content is None:
        remove(path)
    return content


def _close_in_child() -> None:
    """A forked child that goes its own way must not keep alive what its parent releases."""
    for descriptor in list(_ours):
        with suppress(OSError):
            os.close(descriptor)
    _ours.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
