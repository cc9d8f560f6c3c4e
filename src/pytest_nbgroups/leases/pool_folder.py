"""Folder of the lease pool: local, and shared by every user of this machine."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pytest_nbgroups.core.errors import LeaseError

VARIABLE = "NBGROUPS_POOL"
_NAME = "pytest-nbgroups"
_MODE = 0o1777  # as /tmp: everyone can write, and remove only their own files


def default_folder(env: Mapping[str, str], *, platform: str = sys.platform) -> Path:
    """The folder that ``NBGROUPS_POOL`` names, else one in memory, else in a shared folder for temp files.

    Never the user's own temporary folder if the platform has one that all share: the pool of
    one user would know nothing of another's GPUs.
    """
    if env.get(VARIABLE):
        return Path(env[VARIABLE])
    shared = {"linux": "/dev/shm", "win32": env.get("ProgramData", "")}.get(platform, "/tmp")  # noqa: S108
    if shared and Path(shared).is_dir():
        return Path(shared, _NAME)
    return Path("/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir(), _NAME)  # noqa: S108


def prepare(folder: Path) -> None:
    """Create the folder if there is none. Raises LeaseError if it is not one to be trusted."""
    with usable(folder):
        if not os.path.lexists(folder):
            _create(folder)
        problem = _problem(folder.lstat())
        if not problem and not os.access(folder, os.W_OK | os.X_OK):
            problem = "you cannot write to it"
    if problem:
        raise _error(folder, problem)


@contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Turn an error of the operating system about the folder into a LeaseError."""
    try:
        yield
    except OSError as exc:
        raise _error(folder, exc.strerror or str(exc)) from exc


def _create(folder: Path) -> None:
    """At once with its mode: a process that died in between would leave others locked out."""
    made = Path(tempfile.mkdtemp(prefix=f".{_NAME}-", dir=folder.parent))
    try:
        made.chmod(_MODE)
        made.rename(folder)
    except OSError:
        made.rmdir()
        if not os.path.lexists(folder):  # not just another who was faster
            raise


def _problem(found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return "it is a symbolic link"
    if not stat.S_ISDIR(found.st_mode):
        return "it is not a folder"
    # With the sticky bit, and on Windows, users cannot remove each other's files.
    if not hasattr(os, "getuid") or found.st_mode & stat.S_ISVTX:
        return ""
    if found.st_uid not in {0, os.getuid()}:
        return "another user owns it and can remove your files in it"
    if found.st_mode & stat.S_IWOTH:
        return "everyone can remove files in it (set its sticky bit with chmod +t)"
    return ""


def _error(folder: Path, reason: str) -> LeaseError:
    return LeaseError(
        f"the lease pool {folder} cannot be used: {reason}; remove it, or set {VARIABLE} to a local "
        "folder that everyone who runs experiments on this machine can write to"
    )
