"""Environments with a neighbour, and the lowest or the newest pytest and pytest-xdist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from checks import (
    Check,
    annotate,
    asyncio,
    cov,
    html,
    json_report,
    nbmake,
    nbval,
    nothing_more,
    order,
    randomly,
    rerunfailures,
    split,
    sugar,
    timeout,
)

Versions: TypeAlias = Mapping[str, str]
_BASE = ("pytest", "pytest-xdist")


@dataclass(frozen=True, kw_only=True)
class World:
    """Which pytest and pytest-xdist."""

    name: str
    requirements: tuple[str, ...]


WORLDS = (
    World(name="lowest", requirements=("pytest==8.4.0", "pytest-xdist==3.6.1")),
    World(name="newest", requirements=_BASE),
)


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """Another plugin."""

    distribution: str
    check: Check = nothing_more
    note: str = ""
    """What a user has to know to have both."""

    @property
    def meaning(self) -> str:
        """What is checked, in a sentence."""
        return (self.check.__doc__ or "").strip().splitlines()[0]


NEIGHBOURS = (
    Neighbour(distribution="pytest-timeout", check=timeout),
    Neighbour(distribution="pytest-rerunfailures", check=rerunfailures),
    Neighbour(distribution="pytest-randomly", check=randomly),
    Neighbour(
        distribution="pytest-cov",
        check=cov,
        note='`patch = ["subprocess"]`, see [](../how-to/coverage.md)',
    ),
    Neighbour(distribution="pytest-html", check=html),
    Neighbour(distribution="pytest-json-report", check=json_report),
    Neighbour(distribution="pytest-github-actions-annotate-failures", check=annotate),
    Neighbour(distribution="pytest-split", check=split),
    Neighbour(distribution="pytest-sugar", check=sugar),
    Neighbour(distribution="pytest-order", check=order),
    Neighbour(distribution="nbmake", check=nbmake),
    Neighbour(distribution="nbval", check=nbval),
    Neighbour(distribution="pytest-asyncio", check=asyncio),
)


class NotInstallableError(Exception):
    """The versions do not go together; the message says why."""


def install(folder: Path, requirements: Sequence[str]) -> Path:
    """Make an environment, or take up an earlier one of the same folder; give its Python.

    Raises NotInstallableError.
    """
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    uv = shutil.which("uv")
    if not python.exists():
        make = (
            [uv, "venv", "-q", "--seed", "--python", sys.executable]
            if uv
            else [sys.executable, "-m", "venv"]
        )
        subprocess.run([*make, str(folder)], check=True)
    pip = [uv, "pip", "install", "--python"] if uv else []
    command = [*pip, str(python)] if uv else [str(python), "-m", "pip", "install"]
    done = subprocess.run(
        [*command, "-q", *requirements], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotInstallableError(reason(done.stderr))
    return python


def reason(stderr: str) -> str:
    """Why versions do not go together, in a few words of the installer's own."""
    text = " ".join(stderr.split())
    found = re.search(r"[^,.]*?(?:depends on|requires)[^,]*", text.replace("Because", ""))
    return (found[0] if found else text[-200:]).strip()


def versions(python: Path, names: Sequence[str]) -> Versions:
    """What is installed."""
    program = (
        "import json, sys; from importlib.metadata import version; "
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    command = [str(python), "-c", program, *names]
    found: Versions = json.loads(subprocess.check_output(command, text=True))
    return found
