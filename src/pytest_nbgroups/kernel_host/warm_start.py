"""Choice of the kernels that are forked from a process with ipykernel imported, with the reason for the others."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from pytest_nbgroups.core.units import format_duration
from pytest_nbgroups.kernel_host.commands import runs_ipykernel
from pytest_nbgroups.kernel_host.connection import HostConnection, NotForkedError
from pytest_nbgroups.kernel_host.descendants import lists_children

PREPARE_S = 300.0
"""Time for the imports of a server: from a cold disk on the network they take minutes."""
# They differ between notebooks: with them, each notebook would need a server of its own.
_OF_ONE_NOTEBOOK = ("NBGROUPS_EXPERIMENT", "NBGROUPS_LEASE", "NBGROUPS_NOTEBOOK")
_FLAGS_WITH_VALUE = ("-X", "-W", "--check-hash-based-pycs")
_Kind: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""Program and flags, preloaded modules."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A kernel's command in parts: ``python FLAG... -m MODULE ARGUMENT...``."""

    interpreter: tuple[str, ...]
    """The program and its flags."""
    module: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A kernel that is to be forked if that is possible."""

    command: Command
    cwd: Path
    env: Mapping[str, str]
    preload: tuple[str, ...]
    log_path: Path | None

    @property
    def kind(self) -> _Kind:
        return self.command.interpreter, self.preload

    @property
    def request(self) -> dict[str, Any]:
        """Return the parts that identify the server of these kernels."""
        return {
            "interpreter": self.command.interpreter,
            "modules": self.preload,
            "env": {n: text for n, text in self.env.items() if n not in _OF_ONE_NOTEBOOK},
            "cwd": str(self.cwd) if _depends_on_directory(self.env) else os.sep,
            "log_path": str(self.log_path or os.devnull),
        }


@dataclass(frozen=True, kw_only=True)
class ForkReadiness:
    """Answer whether a kernel can be forked now."""

    obstacle: str | None
    """None if it can; else the reason, as a clause."""
    warning: str | None = None
    """Modules that cannot be preloaded; reported once."""


class WarmStarts:
    """Has fork servers ready; remembers the kinds that cannot be had."""

    def __init__(self) -> None:
        self._obstacles: dict[_Kind, str] = {}

    async def prepare(
        self, connection: HostConnection, wanted: Wanted, timeout_s: float | None
    ) -> ForkReadiness:
        """Wait for a server that forks such a kernel, if need be without the preloaded modules.

        Raises TimeoutError if that takes longer than ``timeout_s``, KernelHostError.
        """
        was_known = wanted.kind in self._obstacles
        obstacle = await self._obstacle(connection, wanted, timeout_s)
        if obstacle is None or not wanted.preload:
            return ForkReadiness(obstacle=obstacle)
        warning = f"experiment_preload: {obstacle}; kernels are started without these modules"
        return ForkReadiness(
            obstacle=await self._obstacle(connection, replace(wanted, preload=()), timeout_s),
            warning=None if was_known else warning,
        )

    async def _obstacle(
        self, connection: HostConnection, wanted: Wanted, timeout_s: float | None
    ) -> str | None:
        known = self._obstacles.get(wanted.kind)
        if known is None and (known := await _asked(connection, wanted, timeout_s)) is not None:
            self._obstacles[wanted.kind] = known
        return known


async def _asked(connection: HostConnection, wanted: Wanted, timeout_s: float | None) -> str | None:
    answer = asyncio.wrap_future(connection.request("prepare", **wanted.request))
    longest_s = PREPARE_S if timeout_s is None else min(PREPARE_S, timeout_s)
    done, _ = await asyncio.wait({answer}, timeout=longest_s)
    if done:
        obstacle: str | None = answer.result()["obstacle"]
        return obstacle
    if longest_s != PREPARE_S:
        raise TimeoutError  # the deadline's fault, not the server's: it goes on with its imports
    connection.request("forget")
    await answer
    return f"the fork server's imports took longer than {format_duration(PREPARE_S)}"


def command_of(argv: Sequence[str]) -> Command:
    """Take the command of a kernel apart. Raises NotForkedError if it is none that can be forked."""
    if sys.platform != "linux":
        raise NotForkedError("kernels are forked only on Linux")
    if not lists_children():
        raise NotForkedError("this Linux does not list the children of a process")
    if not runs_ipykernel(argv):
        raise NotForkedError("it does not run ipykernel")
    if not _is_this_python(Path(argv[0])):
        raise NotForkedError(f"it runs in another Python, {argv[0]}")
    at = argv.index("-m")
    if not _are_flags(argv[1:at]):
        raise NotForkedError("its command runs something else before ipykernel")
    return Command(
        interpreter=tuple(argv[:at]), module=argv[at + 1], arguments=tuple(argv[at + 2 :])
    )


def _is_this_python(program: Path) -> bool:
    """The same program under whatever name, but in the same folder: a link elsewhere is another environment."""
    this = Path(sys.executable)
    return program.parent == this.parent and program.resolve() == this.resolve()


def _are_flags(words: Sequence[str]) -> bool:
    rest = iter(words)
    for word in rest:
        if word in _FLAGS_WITH_VALUE:
            next(rest, None)
        elif not word.startswith("-") or word == "-c":
            return False
    return True


def _depends_on_directory(env: Mapping[str, str]) -> bool:
    """Return whether Python looks for modules relative to the directory in which it is started."""
    path = env.get("PYTHONPATH")
    return path is not None and not all(map(os.path.isabs, path.split(os.pathsep)))
