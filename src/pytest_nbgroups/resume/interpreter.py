"""The Python of a kernel, and its installed distributions."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from pytest_nbgroups.core.errors import CheckpointError
from pytest_nbgroups.core.text import plain_text

_PATIENCE_S = 60.0
_LOOK_S = 0.2

# Works in any Python that ipykernel runs on. The first of two distributions with the same name
# counts: imports find that one.
_PROGRAM = """
import hashlib, importlib.metadata, json, platform, re, sys
sys.path[:] = [entry for entry in sys.path if entry]
found = {}
for each in importlib.metadata.distributions():
    name = each.metadata["Name"]
    if not name:
        continue
    origin = each.read_text("direct_url.json")
    suffix = " " + hashlib.sha256(origin.encode()).hexdigest()[:16] if origin else ""
    found.setdefault(re.sub("[-_.]+", "-", name).lower(), str(each.version) + suffix)
version = platform.python_implementation() + " " + platform.python_version()
print(json.dumps([version + " in " + sys.prefix, sys.path, found]))
"""


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A Python and its distributions."""

    interpreter: str
    """``CPython 3.13.1 in /usr``."""
    distributions: Mapping[str, str] = field(default_factory=dict)
    """Normalized name -> version, with a digest of its origin if installed from a path or URL."""
    watched: Mapping[str, int] = field(default_factory=dict)
    """Folder of distributions, or .pth file in one -> time of its last change, in ns."""


InstallationOf: TypeAlias = Callable[[str], Installation]
"""Return the installation of a Python. Raises CheckpointError if it cannot be found out."""


class Interpreters:
    """Asks each Python once, and again when something has been installed."""

    def __init__(self) -> None:
        # Without a lock: a thread that is left behind at a folder that does not answer would
        # hold it for ever, and asking a Python twice does no harm.
        self._known: dict[str, Installation] = {}

    def installation(
        self, executable: str, check: Callable[[], None] = lambda: None
    ) -> Installation:
        """Return the installation of a Python. Raises CheckpointError, and what ``check`` raises."""
        known = self._known.get(executable)
        if known is None or any(_modified(path) != then for path, then in known.watched.items()):
            known = self._known[executable] = ask(executable, check)
        return known


def _modified(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def ask(executable: str, check: Callable[[], None] = lambda: None) -> Installation:
    """Start a Python to find out its installation.

    Raises CheckpointError. ``check`` is called while the Python runs, and can raise: it can hang.
    """
    try:
        output = _output(executable, check)
        last = output.splitlines()[-1:]  # a start-up file may print something before
        interpreter, folders, distributions = json.loads(b"".join(last))
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        message = f"{executable} does not report what is installed: {_reason(exc)}"
        raise CheckpointError(message) from exc
    return Installation(
        interpreter=interpreter,
        distributions=distributions,
        watched={path: _modified(path) for path in _watched(folders)},
    )


def _watched(folders: Iterable[str]) -> Iterator[str]:
    """Yield the folders and their .pth files.

    An editable package writes its path to a .pth file; a changed file leaves the folder's time.
    """
    for folder in folders:
        yield folder
        yield from map(str, Path(folder).glob("*.pth"))


def _output(executable: str, check: Callable[[], None]) -> bytes:
    """Run the program. Raises OSError, subprocess.SubprocessError, and what ``check`` raises."""
    command = [executable, "-c", _PROGRAM]
    end = time.monotonic() + _PATIENCE_S
    with subprocess.Popen(  # noqa: S603  the user's own kernel
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    ) as process:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    output, errors = process.communicate(timeout=_LOOK_S)
                    break
                check()
                if time.monotonic() > end:
                    raise subprocess.TimeoutExpired(command, _PATIENCE_S)
        finally:
            process.kill()  # else `with` would wait for a Python that hangs
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output, errors)
    return output


def _reason(exc: Exception) -> str:
    """Describe an error without the program: subprocess quotes all its lines."""
    match exc:
        case subprocess.CalledProcessError():
            lines = plain_text(exc.stderr.decode(errors="replace")).strip().splitlines()
            return ": ".join([f"it ended with status {exc.returncode}", *lines[-1:]])
        case subprocess.TimeoutExpired():
            return f"no answer within {exc.timeout:g} s"
        case _:
            return str(exc)
