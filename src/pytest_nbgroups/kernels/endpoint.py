"""Connection of a kernel and its client: Unix sockets in a private folder, or TCP on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_nbgroups.core.errors import KernelStartError
from pytest_nbgroups.core.settings import Transport
from pytest_nbgroups.kernel_host.commands import runs_ipykernel

LONGEST_SOCKET_PATH = 103 if sys.platform == "darwin" else 107
"""Bytes that fit in ``sun_path`` before its terminating NUL."""
_PREFIX = "nbgroups-"
_FOLDER_NAME_BYTES = len(_PREFIX) + 8  # tempfile appends eight random characters
_SOCKET_STEM = "k"
_LONGEST_SOCKET_NAME = f"{_SOCKET_STEM}-5"
"""jupyter_client appends the number of the channel to the "ip" of an IPC connection."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Address of one kernel."""

    transport: Literal["ipc", "tcp"]
    ip: str
    """For ``ipc`` the common stem of the socket paths."""
    folder: Path
    """Private (0700); holds the connection file, and the sockets of ``ipc``."""

    @property
    def connection_file(self) -> Path:
        return self.folder / "connection.json"


@contextmanager
def open_endpoint(wanted: Transport, argv: Sequence[str]) -> Iterator[Endpoint]:
    """Make the private folder; remove it in the end.

    ``auto`` takes IPC for ipykernel on POSIX. Raises KernelStartError if ``ipc`` is wanted and no folder can hold
    a socket, and if the umask makes all files unusable.
    """
    bases = [Path(base) for base in folder_candidates(os.environ)]
    endpoint = _ipc(bases) if _prefers_ipc(wanted, argv) else None
    if endpoint is None:
        if wanted == "ipc":
            raise KernelStartError(
                f"no folder can hold a kernel's sockets (tried {_listed(bases)}); "
                "set experiment_transport = tcp"
            )
        endpoint = _tcp(bases)
    try:
        yield endpoint
    finally:
        shutil.rmtree(endpoint.folder, ignore_errors=True)


def _ipc(bases: Sequence[Path]) -> Endpoint | None:
    for folder in filter(None, map(_private_folder, filter(fits, bases))):
        if _holds_sockets(folder):
            return Endpoint(transport="ipc", ip=str(folder / _SOCKET_STEM), folder=folder)
        shutil.rmtree(folder, ignore_errors=True)
    return None


def _tcp(bases: Sequence[Path]) -> Endpoint:
    for folder in filter(None, map(_private_folder, bases)):
        return Endpoint(transport="tcp", ip="127.0.0.1", folder=folder)
    raise KernelStartError(
        f"no temporary folder can be written (tried {_listed(bases)}); set TMPDIR to one that can"
    )


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))


def _prefers_ipc(wanted: Transport, argv: Sequence[str]) -> bool:
    if sys.platform == "win32" or wanted == "tcp":
        return False
    # IJulia, almond, xeus and Deno hang or crash on IPC.
    return wanted == "ipc" or runs_ipykernel(argv)


def folder_candidates(environ: Mapping[str, str]) -> Iterator[str]:
    """Folders in which the private one may be made, best first."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if _is_private(runtime):
        yield runtime
    yield tempfile.gettempdir()
    if sys.platform != "win32":
        # TMPDIR can be too long for the path of a socket.
        yield "/tmp"  # noqa: S108  the folder in it is made with 0700 and a random name


def fits(base: Path) -> bool:
    """Return whether socket paths below it are absolute and short enough."""
    longest = len(os.fsencode(base)) + 1 + _FOLDER_NAME_BYTES + 1 + len(_LONGEST_SOCKET_NAME)
    return base.is_absolute() and longest <= LONGEST_SOCKET_PATH


def _is_private(folder: str) -> bool:
    """Return whether it is a folder of ours that no one else can enter."""
    if sys.platform == "win32" or not os.path.isabs(folder):  # noqa: PTH117  may be empty
        return False
    try:
        status = os.stat(folder)  # noqa: PTH116
    except OSError:
        return False
    mode = status.st_mode
    return stat.S_ISDIR(mode) and status.st_uid == os.geteuid() and not stat.S_IMODE(mode) & 0o077


def _private_folder(base: Path) -> Path | None:
    """Make a folder that only we can enter; None if none can be made. Raises KernelStartError."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    except OSError:
        return None
    _refuse_umask(folder)
    return folder


def _refuse_umask(folder: Path) -> None:
    """Raise KernelStartError if a folder that was made with 0700 lacks a part of that: so will all files."""
    lacking = stat.S_IRWXU & ~folder.stat().st_mode
    if lacking and sys.platform != "win32":
        folder.rmdir()
        raise KernelStartError(
            f"the umask takes permissions from the owner of new files and folders ({lacking:04o} of 0700): "
            "a kernel could not use its own files; run pytest with another umask, such as 022"
        )


def _holds_sockets(folder: Path) -> bool:
    """Return whether the file system below takes Unix sockets; some network ones do not."""
    if sys.platform == "win32":
        return False
    path = folder / "probe"
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(str(path))
        except OSError:
            return False
    path.unlink()
    return True
